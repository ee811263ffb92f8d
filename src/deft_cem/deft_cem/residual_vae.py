# SPDX-License-Identifier: Apache-2.0
"""The conditional VAE of section 3.2: q(z | delta, c) and p(delta | z, c).

Residuals are whitened by the spread practice started with (Table 4), so every parameter counts
alike. Ten points are very few for a network; three things keep it from memorising them:

- Decoding starts from the mean of the elites (output weights start at zero) and a squared
  penalty on the weights pulls back to it.
- The noise of p(delta | z, c) is tied to the scatter of the elites, so only what clearly stands
  out of it is explained by z and c, and the rest is not reproduced when a residual is sampled.
  (A learned noise shrinks as the network memorises, which frees it to memorise more.)
- The condition is low-dimensional (`condition.py`).

One copy of the network per left-out elite is trained beside the deployed one: the error on
residuals that were not seen is known for every policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from deft_core.errors import TrainingError

FloatArray = npt.NDArray[np.float64]
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class VaeSettings:
    """Size and training of the network.

    Attributes:
        latent: Length of z. The elites are one shrunken Gaussian: more would sample noise.
        hidden: Units of the one hidden layer of encoder and decoder.
        kl_weight: Factor of the Kullback-Leibler term; 1 is the evidence bound.
        weight_penalty: Factor of the sum of squared weights (not biases) in the bound of all
            elites: the weights have the prior N(0, 1 / (2 weight_penalty)).
        noise_ratio: Standard deviation of p(delta | z, c) over that of the elites. [-]
        learning_rate: Step size of Adam.
        steps: Training steps; each takes all elites.
    """

    latent: int = field(default=2, metadata={'minimum': 1, 'maximum': 16})
    hidden: int = field(default=32, metadata={'minimum': 1, 'maximum': 1024})
    kl_weight: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    weight_penalty: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1e6})
    noise_ratio: float = field(default=0.9, metadata={'minimum': 0.01, 'maximum': 10.0})
    learning_rate: float = field(default=5e-3, metadata={'minimum': 1e-6, 'maximum': 1.0})
    steps: int = field(default=300, metadata={'minimum': 1, 'maximum': 100_000})


@dataclass(frozen=True, eq=False)
class VaeFit:
    """A trained network and how well it predicts elites it has not seen.

    Attributes:
        weights: Name to tensor; what `decode` takes.
        left_out_error: Mean over elites of |delta - prediction|^2 / d, prediction with z = 0 by
            the network that did not see the elite. [initial variance]
        sampled_error: The same, expected over z ~ N(0, I). [initial variance]
        constant_error: The same for the mean of the other elites. [initial variance]
    """

    weights: Weights
    left_out_error: float
    sampled_error: float
    constant_error: float


def weight_shapes(settings: VaeSettings, condition: int, residual: int) -> dict[str, list[int]]:
    """Name and shape of every tensor of one network.

    Args:
        settings: Sizes.
        condition: Length of c.
        residual: Length of delta.
    """
    hidden, latent = settings.hidden, settings.latent
    return {
        'encoder_1_weight': [residual + condition, hidden],
        'encoder_1_bias': [hidden],
        'encoder_2_weight': [hidden, 2 * latent],
        'encoder_2_bias': [2 * latent],
        'decoder_1_weight': [latent + condition, hidden],
        'decoder_1_bias': [hidden],
        'decoder_2_weight': [hidden, residual],
        'decoder_2_bias': [residual],
    }


def _layer(weights: Weights, name: str, inputs: torch.Tensor) -> torch.Tensor:
    """Affine map of every member: (m, n, in) -> (m, n, out)."""
    return torch.baddbmm(weights[f'{name}_bias'][:, None, :], inputs, weights[f'{name}_weight'])


def encode(
    weights: Weights, delta: torch.Tensor, condition: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """q(z | delta, c): mean and log variance.

    Args:
        weights: Tensors with a leading member axis.
        delta: Shape (m, n, d). Whitened residuals.
        condition: Shape (m, n, c).

    Returns:
        Two tensors of shape (m, n, latent).
    """
    inputs = torch.cat([delta, condition], dim=-1)
    hidden = torch.tanh(_layer(weights, 'encoder_1', inputs))
    mean, log_variance = _layer(weights, 'encoder_2', hidden).chunk(2, dim=-1)
    return mean, log_variance.clamp(-8.0, 4.0)


def decode(weights: Weights, z: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Mean of p(delta | z, c): (m, n, latent) and (m, n, c) -> (m, n, d), whitened."""
    hidden = torch.tanh(_layer(weights, 'decoder_1', torch.cat([z, condition], dim=-1)))
    return _layer(weights, 'decoder_2', hidden)


def _loss(
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
    reconstruction = 0.5 * (error**2).sum(dim=-1)
    divergence = kl_divergence(mean, log_variance)
    bound = reconstruction + settings.kl_weight * divergence
    squares = torch.stack(
        [(tensor**2).sum() for name, tensor in weights.items() if name.endswith('_weight')]
    )
    # Divided by the number of elites so that the step size means the same for any number.
    return ((bound * seen).sum() + settings.weight_penalty * squares.sum()) / seen.shape[1]


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) summed over the last axis."""
    return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)


def _initial_weights(
    settings: VaeSettings,
    condition: int,
    starting_mean: torch.Tensor,
    rng: np.random.Generator,
) -> Weights:
    """Equal networks for all members; each decodes its own mean of seen elites."""
    members, residual = starting_mean.shape
    weights: Weights = {}
    for name, shape in weight_shapes(settings, condition, residual).items():
        values = np.zeros(shape)
        if name.endswith('_weight') and name != 'decoder_2_weight':
            values = rng.standard_normal(shape) / math.sqrt(shape[0])
        weights[name] = torch.tensor(values, dtype=torch.float64).repeat(
            members, *[1] * len(shape)
        )
    weights['decoder_2_bias'] = starting_mean.clone()
    for tensor in weights.values():
        tensor.requires_grad_(True)
    return weights


def fit_residual_vae(
    delta: FloatArray,
    condition: FloatArray,
    settings: VaeSettings,
    rng: np.random.Generator,
) -> VaeFit:
    """Train the network and measure it on left-out elites, in one pass.

    Member 0 sees all elites and is kept; member j + 1 does not see elite j. All start from the
    same numbers and get the same noise, so one run gives the leave-one-out error of every step.

    Args:
        delta: Shape (n, d). Elite residuals over the initial standard deviation. [-]
        condition: Shape (n, c). Conditions of the elites. [-]
        settings: Size and training.
        rng: Source of initial weights and noise.

    Returns:
        The network and its errors.

    Raises:
        TrainingError: Fewer than three elites, shapes that do not fit, or numbers not finite.
    """
    if delta.ndim != 2 or condition.ndim != 2 or len(delta) != len(condition):
        raise TrainingError(
            f'residuals {delta.shape} and conditions {condition.shape} must be two tables '
            'with one row per elite'
        )
    count, dimension = delta.shape
    if count < 3:
        raise TrainingError(f'a policy needs at least 3 elite episodes, got {count}')
    if not (np.all(np.isfinite(delta)) and np.all(np.isfinite(condition))):
        raise TrainingError('residuals and conditions must be finite')
    seen = torch.ones((count + 1, count), dtype=torch.float64)
    seen[1:] -= torch.eye(count, dtype=torch.float64)
    target = torch.tensor(delta, dtype=torch.float64)
    targets = target.expand(count + 1, count, dimension)
    conditions = torch.tensor(condition, dtype=torch.float64).expand(count + 1, count, -1)
    means = seen @ target / seen.sum(dim=1, keepdim=True)
    scatter = ((targets - means[:, None, :]) ** 2).mean(dim=-1) * seen
    # Equal elites have no scatter; the floor (1 % of the initial spread) keeps the bound finite.
    spread = torch.sqrt(scatter.sum(dim=1) / seen.sum(dim=1)).clamp(min=0.01)
    noise_std = settings.noise_ratio * spread
    weights = _initial_weights(settings, condition.shape[1], means, rng)
    optimiser = torch.optim.Adam(list(weights.values()), lr=settings.learning_rate)
    for step in range(settings.steps):
        noise = torch.tensor(rng.standard_normal((count, settings.latent)), dtype=torch.float64)
        optimiser.zero_grad()
        loss = _loss(weights, targets, conditions, seen, noise, noise_std, settings)
        if not torch.isfinite(loss):
            raise TrainingError(
                f'training diverged at step {step}; lower learning_rate ({settings.learning_rate})'
            )
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    probe = torch.tensor(rng.standard_normal((64, settings.latent)), dtype=torch.float64)
    left_out, sampled = _left_out_errors(weights, target, conditions, probe)
    return VaeFit(
        {name: tensor[:1].detach().clone() for name, tensor in weights.items()},
        left_out,
        sampled,
        float(((target - means[1:]) ** 2).mean()),
    )


def _left_out_errors(
    weights: Weights, target: torch.Tensor, conditions: torch.Tensor, probe: torch.Tensor
) -> tuple[float, float]:
    """Squared error per parameter on the left-out elites: with z = 0 and expected over z."""
    count = len(target)
    with torch.no_grad():
        members = {name: tensor[1:] for name, tensor in weights.items()}
        index = torch.arange(count)
        own = conditions[0, index][:, None, :]  # (count, 1, c): each member's left-out elite
        zero = torch.zeros((count, 1, probe.shape[1]), dtype=torch.float64)
        plain = ((decode(members, zero, own)[:, 0] - target) ** 2).mean()
        draws = probe.expand(count, *probe.shape)
        predicted = decode(members, draws, own.expand(count, len(probe), -1))
        sampled = ((predicted - target[:, None, :]) ** 2).mean()
    return float(plain), float(sampled)
