# SPDX-License-Identifier: Apache-2.0
"""Ablation of Table 3: a transformer told the reward it should reach (Chen et al., 2021).

It is trained on all rewarded practice, failures too, to give the residual that was tried from the
condition and the reward it earned. At test time the highest reward of practice is asked for.

Every number is a token, its value times one learned vector plus another, and one more token
gathers the answer:

    tokens [gather, R, c_1, ..., c_k] -> encoder layers -> norm -> delta = W gather + b
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from deft_cem.policies.interface import PolicyFit, PracticeData, Tensors
from deft_cem.policies.networks import (
    NetworkSettings,
    Weights,
    deployed,
    leave_one_out,
    left_out,
    single,
    train,
)
from deft_core.errors import ConfigurationError
from deft_core.grasp import GRASP_DIMENSION
from deft_core.validation import FloatArray


@dataclass(frozen=True)
class TransformerSettings(NetworkSettings):
    """Size and training of the network.

    Attributes:
        width: Length of a token.
        heads: Attention heads; divides the width.
        layers: Encoder layers.
    """

    width: int = field(default=16, metadata={'minimum': 2, 'maximum': 256})
    heads: int = field(default=2, metadata={'minimum': 1, 'maximum': 16})
    layers: int = field(default=1, metadata={'minimum': 1, 'maximum': 8})
    weight_penalty: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 1e6})
    learning_rate: float = field(default=3e-3, metadata={'minimum': 1e-6, 'maximum': 1.0})
    steps: int = field(default=200, metadata={'minimum': 1, 'maximum': 100_000})

    def __post_init__(self) -> None:
        """Refuse heads that do not share the width evenly."""
        if self.width % self.heads:
            raise ConfigurationError(
                f'width {self.width} must be a multiple of heads {self.heads}'
            )


class Network(nn.Module):
    """From condition and reward to residual; only its structure, the values come from outside."""

    def __init__(self, settings: TransformerSettings, condition: int) -> None:
        """Build it for a condition of that length."""
        super().__init__()
        shape = (condition + 1, settings.width)
        self.value_weight = nn.Parameter(torch.zeros(shape))
        self.place_weight = nn.Parameter(torch.zeros(shape))
        self.gather_weight = nn.Parameter(torch.zeros(1, settings.width))
        layer = nn.TransformerEncoderLayer(
            settings.width,
            settings.heads,
            2 * settings.width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(settings.width)
        self.output = nn.Linear(settings.width, GRASP_DIMENSION)

    def forward(self, condition: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        """(n, c) and (n,) -> (n, 22)."""
        numbers = torch.cat([reward[:, None], condition], dim=1)
        tokens = numbers[:, :, None] * self.value_weight + self.place_weight
        gather = self.gather_weight.expand(len(tokens), 1, -1)
        encoded = self.encoder(torch.cat([gather, tokens], dim=1))
        answer: torch.Tensor = self.output(self.norm(encoded[:, 0]))
        return answer


def _structure(settings: TransformerSettings, condition: int) -> Network:
    # On the meta device nothing is stored and no global random number is drawn. Training mode
    # without dropout is the same function and keeps off the fused path, which wants real tensors.
    with torch.device('meta'):
        return Network(settings, condition).double()


def _apply(
    network: Network, weights: Weights, condition: torch.Tensor, reward: torch.Tensor
) -> torch.Tensor:
    """Every member on its own rows: (m, n, c) and (m, n) -> (m, n, 22)."""

    def one(tensors: Weights, c: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = torch.func.functional_call(network, tensors, (c, r))
        return answer

    # The plain formula is the one that can be batched over members.
    with sdpa_kernel(SDPBackend.MATH):
        answers: torch.Tensor = torch.vmap(one)(weights, condition, reward)
    return answers


def _initial_weights(network: Network, mean: torch.Tensor, rng: np.random.Generator) -> Weights:
    """Equal members; each gives its own mean of shape (m, 22) whatever the tokens are."""
    weights: Weights = {}
    for name, like in network.state_dict().items():
        if 'norm' in name:
            values = np.full(like.shape, float(name.endswith('weight')))
        elif like.dim() == 2 and name != 'output.weight':
            values = rng.standard_normal(like.shape) / np.sqrt(like.shape[1])
        else:
            values = np.zeros(like.shape)
        weights[name] = torch.tensor(values).repeat([len(mean)] + [1] * like.dim())
    weights['output.bias'] = mean.clone()
    return weights


@dataclass(frozen=True)
class Transformer:
    """Trained on (c, R, epsilon) of all rewarded practice."""

    kind: ClassVar[str] = 'transformer'
    settings: TransformerSettings = field(default_factory=TransformerSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once; each left-out elite is asked for with the others' best."""
        members = leave_one_out(len(data.elites))
        seen = np.ones((len(members), len(data.reward)))  # what is no elite is seen by all
        seen[:, data.elites] = members
        network = _structure(self.settings, data.condition.shape[1])
        condition = torch.tensor(data.condition).expand(len(members), *data.condition.shape)
        reward = torch.tensor(data.reward).expand(len(members), -1)
        weights = train(
            data.residual,
            seen,
            self.settings,
            partial(_initial_weights, network, rng=rng),
            lambda weights: (_apply(network, weights, condition, reward), 0.0),
        )
        asked = np.max(np.where(seen > 0.0, data.reward, -np.inf), axis=1)
        own = torch.tensor(data.elite_condition)[:, None, :]
        goals = torch.tensor(asked[1:, None])
        predicted = _apply(network, left_out(weights), own, goals)[:, 0].numpy()
        errors = np.mean((predicted - data.elite_residual) ** 2, axis=1)
        return PolicyFit({**deployed(weights), 'asked_reward': asked[:1]}, errors)

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """All weights, and the reward that is asked for."""
        network = _structure(self.settings, condition)
        shapes = {name: list(like.shape) for name, like in network.state_dict().items()}
        return {**shapes, 'asked_reward': [1]}

    def predict(
        self, tensors: Tensors, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Delta for the highest reward of practice. Shape (22,)."""
        del prior, rng
        weights = single(tensors)
        reward = weights.pop('asked_reward')
        network = _structure(self.settings, condition.size)
        return _apply(network, weights, torch.tensor(condition)[None, None], reward)[0, 0].numpy()
