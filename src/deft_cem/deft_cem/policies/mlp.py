# SPDX-License-Identifier: Apache-2.0
"""Ablation of Table 3: a network with one hidden layer from condition to residual, no latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from deft_cem.policies.ensemble import (
    Weights,
    affine,
    elite_spread,
    initial_weights,
    leave_one_out,
    member,
    minimise,
    single,
    squared_weights,
)
from deft_cem.policies.interface import FloatArray, PolicyFit, PracticeData
from deft_core.grasp import GRASP_DIMENSION


@dataclass(frozen=True)
class MlpSettings:
    """Size and training of the network.

    Attributes:
        hidden: Units of the hidden layer.
        weight_penalty: Factor of the sum of squared weights in the likelihood of all elites.
        noise_ratio: Standard deviation of the output noise over that of the elites. [-]
        learning_rate: Step size of Adam.
        steps: Training steps; each takes all elites.
    """

    hidden: int = field(default=32, metadata={'minimum': 1, 'maximum': 1024})
    weight_penalty: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1e6})
    noise_ratio: float = field(default=0.9, metadata={'minimum': 0.01, 'maximum': 10.0})
    learning_rate: float = field(default=5e-3, metadata={'minimum': 1e-6, 'maximum': 1.0})
    steps: int = field(default=300, metadata={'minimum': 1, 'maximum': 100_000})


def _output(weights: Weights, condition: torch.Tensor) -> torch.Tensor:
    """(m, n, c) -> (m, n, 22)."""
    return affine(weights, 'layer_2', torch.tanh(affine(weights, 'layer_1', condition)))


@dataclass(frozen=True, eq=False)
class MlpModel:
    """delta = W_2 tanh(W_1 c + b_1) + b_2.

    Attributes:
        weights: An ensemble of one.
    """

    weights: Weights

    def predict(
        self, condition: FloatArray, _prior: FloatArray, _rng: np.random.Generator
    ) -> FloatArray:
        """Output of the network. Shape (22,)."""
        return _output(self.weights, torch.tensor(condition)[None, None])[0, 0].numpy()

    def tensors(self) -> Mapping[str, FloatArray]:
        """Both layers."""
        return member(self.weights, 0)


@dataclass(frozen=True)
class Mlp:
    """Trained on pairs (c, delta) of the elites."""

    kind: ClassVar[str] = 'mlp'
    settings: MlpSettings = field(default_factory=MlpSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once."""
        settings, count = self.settings, len(data.elites)
        delta = torch.tensor(data.elite_residual)
        seen = torch.tensor(leave_one_out(count))
        means, noise_std = elite_spread(delta, seen, settings.noise_ratio)
        shapes = self.shapes(data.condition.shape[1])
        weights = initial_weights(shapes, 'layer_2', means, rng)
        condition = torch.tensor(data.elite_condition)
        conditions = condition.expand(count + 1, *condition.shape)

        def loss() -> torch.Tensor:
            error = (delta - _output(weights, conditions)) / noise_std[:, None, None]
            penalty = settings.weight_penalty * squared_weights(weights)
            return (0.5 * ((error**2).sum(dim=-1) * seen).sum() + penalty) / count

        weights = minimise(
            weights, loss, learning_rate=settings.learning_rate, steps=settings.steps
        )
        without = {name: tensor[1:] for name, tensor in weights.items()}
        predicted = _output(without, condition[:, None, :])[:, 0].numpy()
        return PolicyFit(
            MlpModel(single(member(weights, 0))),
            np.mean((predicted - data.elite_residual) ** 2, axis=1),
        )

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor."""
        hidden = self.settings.hidden
        return {
            'layer_1_weight': [condition, hidden],
            'layer_1_bias': [hidden],
            'layer_2_weight': [hidden, GRASP_DIMENSION],
            'layer_2_bias': [GRASP_DIMENSION],
        }

    def restore(self, tensors: Mapping[str, FloatArray]) -> MlpModel:
        """The policy that gave these tensors."""
        return MlpModel(single(tensors))
