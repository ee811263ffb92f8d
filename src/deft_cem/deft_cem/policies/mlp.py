# SPDX-License-Identifier: Apache-2.0
"""Ablation of Table 3: a network with one hidden layer from condition to residual, no latent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from deft_cem.policies.interface import PolicyFit, PracticeData, Tensors
from deft_cem.policies.networks import (
    NetworkSettings,
    Weights,
    affine,
    deployed,
    initial_weights,
    leave_one_out,
    left_out,
    single,
    train,
)
from deft_core.grasp import GRASP_DIMENSION
from deft_core.validation import FloatArray


@dataclass(frozen=True)
class MlpSettings(NetworkSettings):
    """Size of the hidden layer, and training."""

    hidden: int = field(default=32, metadata={'minimum': 1, 'maximum': 1024})


def _output(weights: Weights, condition: torch.Tensor) -> torch.Tensor:
    """(m, n, c) -> (m, n, 22)."""
    return affine(weights, 'layer_2', torch.tanh(affine(weights, 'layer_1', condition)))


@dataclass(frozen=True)
class Mlp:
    """delta = W_2 tanh(W_1 c + b_1) + b_2, trained on pairs (c, delta) of the elites."""

    kind: ClassVar[str] = 'mlp'
    settings: MlpSettings = field(default_factory=MlpSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once."""
        count, delta = len(data.elites), data.elite_residual
        condition = torch.tensor(data.elite_condition)
        conditions = condition.expand(count + 1, *condition.shape)
        shapes = self.shapes(data.condition.shape[1])
        weights = train(
            delta,
            leave_one_out(count),
            self.settings,
            partial(initial_weights, shapes, 'layer_2', rng=rng),
            lambda weights: (_output(weights, conditions), 0.0),
        )
        predicted = _output(left_out(weights), condition[:, None, :])[:, 0].numpy()
        return PolicyFit(deployed(weights), np.mean((predicted - delta) ** 2, axis=1))

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Both layers."""
        hidden = self.settings.hidden
        return {
            'layer_1_weight': [condition, hidden],
            'layer_1_bias': [hidden],
            'layer_2_weight': [hidden, GRASP_DIMENSION],
            'layer_2_bias': [GRASP_DIMENSION],
        }

    def predict(
        self, tensors: Tensors, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Output of the network. Shape (22,)."""
        del prior, rng
        return _output(single(tensors), torch.tensor(condition)[None, None])[0, 0].numpy()
