# SPDX-License-Identifier: Apache-2.0
"""The policy of the paper: a conditional VAE over the residuals of the elites (section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from deft_cem.policies.conditional_vae import (
    PROBES,
    VaeSettings,
    decode,
    fit_conditional_vae,
    left_out_predictions,
    weight_shapes,
)
from deft_cem.policies.ensemble import Weights, member, single
from deft_cem.policies.interface import FloatArray, PolicyFit, PracticeData
from deft_core.grasp import GRASP_DIMENSION


@dataclass(frozen=True, eq=False)
class ResidualVaeModel:
    """pi(I_0, xi): z ~ N(0, I), delta = f(z, c).

    Attributes:
        weights: An ensemble of one.
        settings: Sizes, and how z is chosen.
    """

    weights: Weights
    settings: VaeSettings

    def predict(
        self, condition: FloatArray, _prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Decode a sample of z, or z = 0; then `rng` is not touched. Shape (22,)."""
        return decode_one(self.weights, self.settings, condition, rng)

    def tensors(self) -> Mapping[str, FloatArray]:
        """Encoder and decoder."""
        return member(self.weights, 0)


def decode_one(
    weights: Weights, settings: VaeSettings, condition: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """f(z, c) of an ensemble of one. Shape (d,)."""
    z = np.zeros(settings.latent)
    if settings.z == 'sample':
        z = rng.standard_normal(settings.latent)
    return decode(weights, torch.tensor(z)[None, None], torch.tensor(condition)[None, None])[
        0, 0
    ].numpy()


def probes(settings: VaeSettings, rng: np.random.Generator) -> FloatArray:
    """Values of z that the deployed policy may use, for its expected error. Shape (k, latent)."""
    if settings.z == 'sample':
        return rng.standard_normal((PROBES, settings.latent))
    return np.zeros((1, settings.latent))


@dataclass(frozen=True)
class ResidualVae:
    """Trained on pairs (c, delta) of the elites."""

    kind: ClassVar[str] = 'residual_vae'
    settings: VaeSettings = field(default_factory=VaeSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once."""
        delta, condition = data.elite_residual, data.elite_condition
        weights = fit_conditional_vae(delta, condition, self.settings, rng)
        predicted = left_out_predictions(weights, condition, probes(self.settings, rng))
        return PolicyFit(
            ResidualVaeModel(single(member(weights, 0)), self.settings),
            np.mean((predicted - delta[:, None, :]) ** 2, axis=(1, 2)),
        )

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor."""
        return weight_shapes(self.settings, condition, GRASP_DIMENSION)

    def restore(self, tensors: Mapping[str, FloatArray]) -> ResidualVaeModel:
        """The policy that gave these tensors."""
        return ResidualVaeModel(single(tensors), self.settings)
