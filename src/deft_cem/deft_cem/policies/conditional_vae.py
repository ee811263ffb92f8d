# SPDX-License-Identifier: Apache-2.0
"""The conditional VAE of section 3.2: q(z | delta, c) and p(delta | z, c).

The bound that is maximised per elite (Sohn et al., NeurIPS 2015; Kingma and Welling, 2013):

    E_q[ log N(delta; f(z, c), s^2 I) ] - beta KL( q(z | delta, c) || N(0, I) )

with one sample of z per step. `ensemble.py` says what keeps it from memorising ten points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from deft_cem.policies.ensemble import (
    FloatArray,
    Weights,
    affine,
    elite_spread,
    initial_weights,
    leave_one_out,
    minimise,
    squared_weights,
)
from deft_core.errors import ConfigurationError

PROBES = 64  # draws of z that an expected error is averaged over


@dataclass(frozen=True)
class VaeSettings:
    """Size and training of the network.

    Attributes:
        latent: Length of z. The elites are one shrunken Gaussian: more would sample noise.
        hidden: Units of the one hidden layer of encoder and decoder.
        kl_weight: beta, factor of the Kullback-Leibler term; 1 is the evidence bound.
        weight_penalty: Factor of the sum of squared weights (not biases) in the bound of all
            elites: the weights have the prior N(0, 1 / (2 weight_penalty)).
        noise_ratio: s over the standard deviation of the elites. [-]
        learning_rate: Step size of Adam.
        steps: Training steps; each takes all elites.
        z: 'sample' draws z ~ N(0, I) at test time as the paper does, 'mean' decodes z = 0.
    """

    latent: int = field(default=2, metadata={'minimum': 1, 'maximum': 16})
    hidden: int = field(default=32, metadata={'minimum': 1, 'maximum': 1024})
    kl_weight: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    weight_penalty: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1e6})
    noise_ratio: float = field(default=0.9, metadata={'minimum': 0.01, 'maximum': 10.0})
    learning_rate: float = field(default=5e-3, metadata={'minimum': 1e-6, 'maximum': 1.0})
    steps: int = field(default=300, metadata={'minimum': 1, 'maximum': 100_000})
    z: str = 'sample'

    def __post_init__(self) -> None:
        """Refuse an unknown way to choose z."""
        if self.z not in {'sample', 'mean'}:
            raise ConfigurationError(f"z is {self.z!r}, expected 'sample' or 'mean'")


def weight_shapes(settings: VaeSettings, condition: int, target: int) -> dict[str, list[int]]:
    """Name and shape of every tensor of one network.

    Args:
        settings: Sizes.
        condition: Length of c.
        target: Length of delta.
    """
    hidden, latent = settings.hidden, settings.latent
    return {
        'encoder_1_weight': [target + condition, hidden],
        'encoder_1_bias': [hidden],
        'encoder_2_weight': [hidden, 2 * latent],
        'encoder_2_bias': [2 * latent],
        'decoder_1_weight': [latent + condition, hidden],
        'decoder_1_bias': [hidden],
        'decoder_2_weight': [hidden, target],
        'decoder_2_bias': [target],
    }


def encode(
    weights: Weights, delta: torch.Tensor, condition: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q(z | delta, c): mean and log variance.

    Args:
        weights: Tensors with a leading member axis.
        delta: Shape (m, n, d).
        condition: Shape (m, n, c).

    Returns:
        Two tensors of shape (m, n, latent).
    """
    inputs = torch.cat([delta, condition], dim=-1)
    hidden = torch.tanh(affine(weights, 'encoder_1', inputs))
    mean, log_variance = affine(weights, 'encoder_2', hidden).chunk(2, dim=-1)
    return mean, log_variance.clamp(-8.0, 4.0)


def decode(weights: Weights, z: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """f(z, c), the mean of p(delta | z, c): (m, n, latent) and (m, n, c) -> (m, n, d)."""
    hidden = torch.tanh(affine(weights, 'decoder_1', torch.cat([z, condition], dim=-1)))
    return affine(weights, 'decoder_2', hidden)


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) summed over the last axis."""
    return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)


def negative_bound(
    weights: Weights,
    delta: torch.Tensor,
    condition: torch.Tensor,
    seen: torch.Tensor,
    noise: torch.Tensor,
    noise_std: torch.Tensor,
    settings: VaeSettings,
) -> torch.Tensor:
    """Negative evidence bound of the seen elites plus penalty, over all members."""
    mean, log_variance = encode(weights, delta, condition)
    z = mean + torch.exp(0.5 * log_variance) * noise
    error = (delta - decode(weights, z, condition)) / noise_std[:, None, None]
    bound = 0.5 * (error**2).sum(dim=-1) + settings.kl_weight * kl_divergence(mean, log_variance)
    penalty = settings.weight_penalty * squared_weights(weights)
    # Divided by the number of elites so that the step size means the same for any number.
    return ((bound * seen).sum() + penalty) / seen.shape[1]


def fit_conditional_vae(
    target: FloatArray, condition: FloatArray, settings: VaeSettings, rng: np.random.Generator
) -> Weights:
    """Train one network on all rows and one without each row.

    Args:
        target: What is reconstructed. Shape (n, d). [first spread]
        condition: Shape (n, c). [-]
        settings: Size and training.
        rng: Source of initial weights and noise.

    Returns:
        Tensors of n + 1 members; member 0 saw all rows, member j + 1 did not see row j.

    Raises:
        TrainingError: Training diverged.
    """
    count, dimension = target.shape
    goal = torch.tensor(target)
    seen = torch.tensor(leave_one_out(count))
    means, noise_std = elite_spread(goal, seen, settings.noise_ratio)
    shapes = weight_shapes(settings, condition.shape[1], dimension)
    weights = initial_weights(shapes, 'decoder_2', means, rng)
    goals = goal.expand(count + 1, count, dimension)
    conditions = torch.tensor(condition).expand(count + 1, count, condition.shape[1])

    def loss() -> torch.Tensor:
        noise = torch.tensor(rng.standard_normal((count, settings.latent)))
        return negative_bound(weights, goals, conditions, seen, noise, noise_std, settings)

    return minimise(weights, loss, learning_rate=settings.learning_rate, steps=settings.steps)


def left_out_predictions(weights: Weights, condition: FloatArray, z: FloatArray) -> FloatArray:
    """What the members that did not see a row predict for it.

    Args:
        weights: Of `fit_conditional_vae`.
        condition: Shape (n, c).
        z: Shape (k, latent).

    Returns:
        Shape (n, k, d).
    """
    count, draws = len(condition), len(z)
    without = {name: tensor[1:] for name, tensor in weights.items()}
    own = torch.tensor(condition)[:, None, :].expand(count, draws, condition.shape[1])
    return decode(without, torch.tensor(z).expand(count, *z.shape), own).numpy()
