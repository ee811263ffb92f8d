# SPDX-License-Identifier: Apache-2.0
"""Small networks trained side by side: one that sees all elites, and one per left-out elite.

Every tensor has a leading member axis. All members start from the same numbers and get the same
noise, so one run gives the deployed network (member 0) and its leave-one-out errors.

What keeps a network from memorising ten points is the same for all of them:

- The output starts at the mean of the elites that the member sees (output weights start at
  zero), and a squared penalty on the weights pulls back to it.
- The output noise is tied to the scatter of the elites, so only what clearly stands out of it is
  explained. (A learned noise shrinks as the network memorises, which frees it to memorise more.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from deft_cem.policies.interface import Tensors
from deft_core.errors import TrainingError
from deft_core.validation import FloatArray

Weights = dict[str, torch.Tensor]
# Spread of equal elites, in first spreads: keeps their likelihood finite.
_MINIMUM_SPREAD = 0.01


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is trained.

    Attributes:
        weight_penalty: Factor of the sum of squared weights (not biases) in the likelihood of all
            rows: the weights have the prior N(0, 1 / (2 weight_penalty)).
        noise_ratio: Standard deviation of the output noise over that of the elites. [-]
        learning_rate: Step size of Adam.
        steps: Training steps; each takes all rows.
    """

    weight_penalty: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1e6})
    noise_ratio: float = field(default=0.9, metadata={'minimum': 0.01, 'maximum': 10.0})
    learning_rate: float = field(default=5e-3, metadata={'minimum': 1e-6, 'maximum': 1.0})
    steps: int = field(default=300, metadata={'minimum': 1, 'maximum': 100_000})


def leave_one_out(count: int) -> FloatArray:
    """Who sees what: member 0 all, member j + 1 all but elite j. Shape (count + 1, count)."""
    return np.concatenate([np.ones((1, count)), 1.0 - np.eye(count)])


def initial_weights(
    shapes: Mapping[str, list[int]], output: str, mean: torch.Tensor, rng: np.random.Generator
) -> Weights:
    """Equal networks for all members: matrices of unit gain, vectors zero.

    The output layer has zero weights, and each member's own mean (m, d) as its bias.
    """
    weights: Weights = {}
    for name, shape in shapes.items():
        values = np.zeros(shape)
        if len(shape) == 2 and name != f'{output}_weight':
            values = rng.standard_normal(shape) / math.sqrt(shape[0])
        repeats = [len(mean)] + [1] * len(shape)
        weights[name] = torch.tensor(values, dtype=torch.float64).repeat(repeats)
    weights[f'{output}_bias'] = mean.clone()
    return weights


def affine(weights: Weights, name: str, inputs: torch.Tensor) -> torch.Tensor:
    """Affine map of every member: (m, n, in) -> (m, n, out)."""
    return torch.baddbmm(weights[f'{name}_bias'][:, None, :], inputs, weights[f'{name}_weight'])


def train(
    target: FloatArray,
    seen: FloatArray,
    settings: NetworkSettings,
    start: Callable[[torch.Tensor], Weights],
    forward: Callable[[Weights], tuple[torch.Tensor, torch.Tensor | float]],
) -> Weights:
    """Fit all members at once with Adam (Kingma and Ba, ICLR 2015).

    Minimised, over members m and the rows n that each sees, with s the noise of the member:

        sum_mn seen { |target - output|^2 / (2 s^2) + extra } + weight_penalty |w|^2

    Args:
        target: What the output should be. Shape (n, d).
        seen: 1 where member m sees row n, else 0. Shape (m, n).
        settings: Of the training.
        start: Initial weights from the mean target of each member, of shape (m, d).
        forward: Output of shape (m, n, d), and what else a row costs, of shape (m, n).

    Raises:
        TrainingError: The loss is not finite.
    """
    goal, mask = torch.tensor(target), torch.tensor(seen)
    means = mask @ goal / mask.sum(dim=1, keepdim=True)
    scatter = ((goal - means[:, None, :]) ** 2).mean(dim=-1) * mask
    spread = torch.sqrt(scatter.sum(dim=1) / mask.sum(dim=1)).clamp(min=_MINIMUM_SPREAD)
    noise = settings.noise_ratio * spread[:, None, None]
    weights = start(means)
    for tensor in weights.values():
        tensor.requires_grad_(True)
    optimiser = torch.optim.Adam(list(weights.values()), lr=settings.learning_rate)
    for step in range(settings.steps):
        optimiser.zero_grad()
        output, extra = forward(weights)
        cost = 0.5 * (((goal - output) / noise) ** 2).sum(dim=-1) + extra
        # Biases and scales are vectors: with the member axis they have two dimensions.
        squared = torch.stack([(w**2).sum() for w in weights.values() if w.dim() == 3]).sum()
        # Divided by the number of rows so that the step size means the same for any number.
        loss = ((cost * mask).sum() + settings.weight_penalty * squared) / len(goal)
        if not torch.isfinite(loss):
            raise TrainingError(
                f'training diverged at step {step}; lower learning_rate ({settings.learning_rate})'
            )
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


def deployed(weights: Weights) -> dict[str, FloatArray]:
    """Tensors of the member that saw everything."""
    return {name: tensor[0].numpy().copy() for name, tensor in weights.items()}


def left_out(weights: Weights) -> Weights:
    """The members that did not see an elite, in the order of the elites."""
    return {name: tensor[1:] for name, tensor in weights.items()}


def single(tensors: Tensors) -> Weights:
    """One network as an ensemble of one."""
    return {name: torch.tensor(values)[None] for name, values in tensors.items()}
