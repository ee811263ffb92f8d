# SPDX-License-Identifier: Apache-2.0
"""Ablation of Table 3: the same VAE estimates the grasp itself, not what to add to the prior.

The network reconstructs xi + epsilon of the elites. Its answer minus the prior of the scene is the
residual, so it has to learn from ten examples where the object is, which the prior knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from deft_cem.policies.conditional_vae import (
    VaeSettings,
    fit_conditional_vae,
    left_out_predictions,
    weight_shapes,
)
from deft_cem.policies.ensemble import Weights, member, single
from deft_cem.policies.interface import FloatArray, PolicyFit, PracticeData
from deft_cem.policies.residual_vae import decode_one, probes
from deft_core.grasp import GRASP_DIMENSION, WRIST


def wrap_wrist(grasp: FloatArray, around: FloatArray, period: FloatArray) -> FloatArray:
    """The same grasps with wrist angles less than half a turn from those of another.

    Args:
        grasp: Shape (..., 22). [first spread]
        around: Shape (..., 22). [first spread]
        period: A full turn. Shape (3,). [first spread]
    """
    wrapped = np.array(np.broadcast_arrays(grasp, around)[0])
    turns = np.round((wrapped - around)[..., WRIST] / period)
    wrapped[..., WRIST] -= turns * period
    return wrapped


@dataclass(frozen=True, eq=False)
class DirectModel:
    """Estimates the whole grasp.

    Attributes:
        weights: An ensemble of one.
        settings: Sizes, and how z is chosen.
        euler_period: A full turn of each wrist angle. Shape (3,). [first spread]
    """

    weights: Weights
    settings: VaeSettings
    euler_period: FloatArray

    def predict(
        self, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Estimated grasp minus xi. Shape (22,)."""
        grasp = decode_one(self.weights, self.settings, condition, rng)
        return wrap_wrist(grasp, prior, self.euler_period) - prior

    def tensors(self) -> Mapping[str, FloatArray]:
        """Encoder, decoder and the size of a turn."""
        return {**member(self.weights, 0), 'euler_period': self.euler_period}


@dataclass(frozen=True)
class Direct:
    """Trained on pairs (c, xi + epsilon) of the elites."""

    kind: ClassVar[str] = 'direct'
    settings: VaeSettings = field(default_factory=VaeSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once; errors are those of the residual that would be added."""
        prior, condition = data.prior[data.elites], data.elite_condition
        grasp = prior + data.elite_residual
        # Angles as near as possible to those of the best episode: no jump between equal grasps.
        grasp = wrap_wrist(grasp, grasp[0], data.euler_period)
        weights = fit_conditional_vae(grasp, condition, self.settings, rng)
        predicted = left_out_predictions(weights, condition, probes(self.settings, rng))
        around = prior[:, None, :]
        residual = wrap_wrist(predicted, around, data.euler_period) - around
        return PolicyFit(
            DirectModel(single(member(weights, 0)), self.settings, data.euler_period),
            np.mean((residual - data.elite_residual[:, None, :]) ** 2, axis=(1, 2)),
        )

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor."""
        return {**weight_shapes(self.settings, condition, GRASP_DIMENSION), 'euler_period': [3]}

    def restore(self, tensors: Mapping[str, FloatArray]) -> DirectModel:
        """The policy that gave these tensors."""
        network = {name: values for name, values in tensors.items() if name != 'euler_period'}
        return DirectModel(single(network), self.settings, tensors['euler_period'])
