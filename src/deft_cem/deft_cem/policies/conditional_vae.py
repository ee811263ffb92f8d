# SPDX-License-Identifier: Apache-2.0
"""The policy of the paper: a conditional VAE q(z | delta, c), p(delta | z, c) (section 3.2).

The bound that is maximised per elite (Sohn et al., NeurIPS 2015; Kingma and Welling, 2013):

    E_q[ log N(delta; f(z, c), s^2 I) ] - beta KL( q(z | delta, c) || N(0, I) )

with one sample of z per step. `networks.py` says what keeps it from memorising ten points.
"""

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
from deft_core.errors import ConfigurationError
from deft_core.grasp import GRASP_DIMENSION, WRIST
from deft_core.validation import FloatArray

PROBES = 64  # draws of z that an expected error is averaged over


@dataclass(frozen=True)
class VaeSettings(NetworkSettings):
    """Size and training of the network.

    Attributes:
        latent: Length of z. The elites are one shrunken Gaussian: more would sample noise.
        hidden: Units of the one hidden layer of encoder and decoder.
        kl_weight: beta, factor of the Kullback-Leibler term; 1 is the evidence bound.
        z: 'sample' draws z ~ N(0, I) at test time as the paper does, 'mean' decodes z = 0.
    """

    latent: int = field(default=2, metadata={'minimum': 1, 'maximum': 16})
    hidden: int = field(default=32, metadata={'minimum': 1, 'maximum': 1024})
    kl_weight: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    z: str = 'sample'

    def __post_init__(self) -> None:
        """Refuse an unknown way to choose z."""
        if self.z not in {'sample', 'mean'}:
            raise ConfigurationError(f"z is {self.z!r}, expected 'sample' or 'mean'")


def weight_shapes(settings: VaeSettings, condition: int, target: int) -> dict[str, list[int]]:
    """Name and shape of every tensor of one network with c and delta of these lengths."""
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
    """q(z | delta, c): mean and log variance, of (m, n, d) and (m, n, c), each (m, n, latent)."""
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


def fit_conditional_vae(
    target: FloatArray, condition: FloatArray, settings: VaeSettings, rng: np.random.Generator
) -> Weights:
    """Train on rows (n, d) and (n, c): member 0 on all, member j + 1 on all but row j."""
    count, dimension = target.shape
    shapes = weight_shapes(settings, condition.shape[1], dimension)
    deltas = torch.tensor(target).expand(count + 1, count, dimension)
    conditions = torch.tensor(condition).expand(count + 1, count, condition.shape[1])

    def forward(weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = encode(weights, deltas, conditions)
        noise = torch.tensor(rng.standard_normal((count, settings.latent)))
        z = mean + torch.exp(0.5 * log_variance) * noise
        divergence = settings.kl_weight * kl_divergence(mean, log_variance)
        return decode(weights, z, conditions), divergence

    start = partial(initial_weights, shapes, 'decoder_2', rng=rng)
    return train(target, leave_one_out(count), settings, start, forward)


def left_out_predictions(
    weights: Weights, condition: FloatArray, settings: VaeSettings, rng: np.random.Generator
) -> FloatArray:
    """What members that did not see a row predict, for k draws of z. Shape (n, k, d)."""
    z = np.zeros((1, settings.latent))
    if settings.z == 'sample':
        z = rng.standard_normal((PROBES, settings.latent))
    count, draws = len(condition), len(z)
    own = torch.tensor(condition)[:, None, :].expand(count, draws, condition.shape[1])
    return decode(left_out(weights), torch.tensor(z).expand(count, *z.shape), own).numpy()


@dataclass(frozen=True)
class ResidualVae:
    """pi(I_0, xi): z ~ N(0, I), delta = f(z, c). Trained on pairs (c, delta) of the elites."""

    kind: ClassVar[str] = 'residual_vae'
    settings: VaeSettings = field(default_factory=VaeSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once."""
        delta, condition = data.elite_residual, data.elite_condition
        weights = fit_conditional_vae(delta, condition, self.settings, rng)
        predicted = left_out_predictions(weights, condition, self.settings, rng)
        errors = np.mean((predicted - delta[:, None, :]) ** 2, axis=(1, 2))
        return PolicyFit(deployed(weights), errors)

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Encoder and decoder."""
        return weight_shapes(self.settings, condition, GRASP_DIMENSION)

    def predict(
        self, tensors: Tensors, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Decode a sample of z, or z = 0; then `rng` is not touched. Shape (22,)."""
        del prior
        return self.decoded(tensors, condition, rng)

    def decoded(
        self, tensors: Tensors, condition: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """f(z, c) for one scene. Shape (22,)."""
        z = np.zeros(self.settings.latent)
        if self.settings.z == 'sample':
            z = rng.standard_normal(self.settings.latent)
        z_tensor, c = torch.tensor(z)[None, None], torch.tensor(condition)[None, None]
        return decode(single(tensors), z_tensor, c)[0, 0].numpy()


@dataclass(frozen=True)
class Direct(ResidualVae):
    """Ablation of Table 3: the same VAE estimates the grasp itself, not what to add to the prior.

    It reconstructs xi + epsilon of the elites. Its answer minus the prior of the scene is the
    residual, so it has to learn from ten examples where the object is, which the prior knows.
    """

    kind: ClassVar[str] = 'direct'

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train all members at once; errors are those of the residual that would be added."""
        prior, condition = data.prior[data.elites], data.elite_condition
        grasp = prior + data.elite_residual
        # Angles as near as possible to those of the best episode: no jump between equal grasps.
        grasp = wrap_wrist(grasp, grasp[0], data.euler_period)
        weights = fit_conditional_vae(grasp, condition, self.settings, rng)
        predicted = left_out_predictions(weights, condition, self.settings, rng)
        around = prior[:, None, :]
        residual = wrap_wrist(predicted, around, data.euler_period) - around
        errors = np.mean((residual - data.elite_residual[:, None, :]) ** 2, axis=(1, 2))
        return PolicyFit({**deployed(weights), 'euler_period': data.euler_period}, errors)

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Encoder, decoder and the size of a turn."""
        return {**super().shapes(condition), 'euler_period': [3]}

    def predict(
        self, tensors: Tensors, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Estimated grasp minus xi. Shape (22,)."""
        grasp = self.decoded(tensors, condition, rng)
        return wrap_wrist(grasp, prior, tensors['euler_period']) - prior


def wrap_wrist(grasp: FloatArray, around: FloatArray, period: FloatArray) -> FloatArray:
    """The grasps (..., 22) with wrist angles less than half a turn from those of another."""
    wrapped = np.array(np.broadcast_arrays(grasp, around)[0])
    turns = np.round((wrapped - around)[..., WRIST] / period)
    wrapped[..., WRIST] -= turns * period
    return wrapped
