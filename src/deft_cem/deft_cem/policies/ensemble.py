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

import numpy as np
import numpy.typing as npt
import torch

from deft_core.errors import TrainingError

FloatArray = npt.NDArray[np.float64]
Weights = dict[str, torch.Tensor]
# Spread of equal elites, in first spreads: keeps their likelihood finite.
_MINIMUM_SPREAD = 0.01


def leave_one_out(count: int) -> FloatArray:
    """Who sees what: member 0 all, member j + 1 all but elite j. Shape (count + 1, count)."""
    return np.concatenate([np.ones((1, count)), 1.0 - np.eye(count)])


def elite_spread(
    target: torch.Tensor, seen: torch.Tensor, noise_ratio: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of the elites that each member sees, and its output noise.

    Args:
        target: Shape (n, d).
        seen: Shape (m, n).
        noise_ratio: Output noise over the scatter of the elites. [-]

    Returns:
        Means of shape (m, d) and standard deviations of shape (m,).
    """
    means = seen @ target / seen.sum(dim=1, keepdim=True)
    scatter = ((target - means[:, None, :]) ** 2).mean(dim=-1) * seen
    spread = torch.sqrt(scatter.sum(dim=1) / seen.sum(dim=1)).clamp(min=_MINIMUM_SPREAD)
    return means, noise_ratio * spread


def initial_weights(
    shapes: Mapping[str, list[int]], output: str, mean: torch.Tensor, rng: np.random.Generator
) -> Weights:
    """Equal networks for all members; each gives its own mean.

    Args:
        shapes: Name to shape; matrices get random numbers of unit gain, vectors zero.
        output: Name of the output layer: its weights are zero, its bias is the mean.
        mean: Shape (m, d).
        rng: Source of the weights.
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


def squared_weights(weights: Weights) -> torch.Tensor:
    """Sum of squares of all matrices of all members; biases and scales are vectors."""
    return torch.stack([(w**2).sum() for w in weights.values() if w.dim() == 3]).sum()


def minimise(
    weights: Weights, loss: Callable[[], torch.Tensor], *, learning_rate: float, steps: int
) -> Weights:
    """Adam (Kingma and Ba, ICLR 2015) on all members at once.

    Args:
        weights: Starting point; changed in place.
        loss: Of the present weights, summed over members: each gets only its own gradient.
        learning_rate: Step size.
        steps: Number of steps.

    Returns:
        The weights, without gradients.

    Raises:
        TrainingError: The loss is not finite.
    """
    for tensor in weights.values():
        tensor.requires_grad_(True)
    optimiser = torch.optim.Adam(list(weights.values()), lr=learning_rate)
    for step in range(steps):
        optimiser.zero_grad()
        value = loss()
        if not torch.isfinite(value):
            raise TrainingError(
                f'training diverged at step {step}; lower learning_rate ({learning_rate})'
            )
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


def member(weights: Weights, index: int) -> dict[str, FloatArray]:
    """Tensors of one member as arrays."""
    return {name: tensor[index].numpy().copy() for name, tensor in weights.items()}


def single(tensors: Mapping[str, FloatArray]) -> Weights:
    """One member as an ensemble of one."""
    return {name: torch.tensor(values)[None] for name, values in tensors.items()}
