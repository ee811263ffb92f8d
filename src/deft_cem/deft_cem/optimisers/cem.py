# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method of the paper (section 3.2, Algorithm 1; constants of Table 4)."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_cem.optimisers.ask_tell import Fit, ResidualOptimiser, rank, require_elites
from deft_core.validation import FloatArray

DEFAULT_ELITES: Final = 10  # E
DEFAULT_WARM_UP: Final = 10  # M
DEFAULT_EPISODES: Final = 30  # N
SIGMA_POSITION: Final = 0.02  # m
SIGMA_ROTATION: Final = 0.2  # rad, Euler angles
SIGMA_JOINT: Final = 0.05  # rad


def initial_standard_deviation(
    sigma_position: float = SIGMA_POSITION,
    sigma_rotation: float = SIGMA_ROTATION,
    sigma_joint: float = SIGMA_JOINT,
) -> FloatArray:
    """First spread of the grasp parameters. Shape (22,). [m x3, rad x3, rad x16]."""
    return np.concatenate(
        [np.full(3, sigma_position), np.full(3, sigma_rotation), np.full(16, sigma_joint)]
    )


class CrossEntropyMethod(ResidualOptimiser):
    """Diagonal Gaussian over residuals, refitted to the best episodes so far.

    Exactly Algorithm 1: D starts as N(0, sigma^2); after every rewarded episode k > M all episodes
    1..k are ranked by reward, the best E (all, while k < E) are the elites, and D becomes their
    mean and their standard deviation. What the paper leaves open is decided here:

    - The fit is diagonal: the covariance of ten points in 22 dimensions has rank 9 and would
      lock the search into a subspace.
    - The fit is the maximum-likelihood one (divides by E, no floor), the plain reading of "fit".
    - There are no bounds.

    Example:
        >>> optimiser = CrossEntropyMethod(np.ones(2), seed=0, elites=3, warm_up=5)
        >>> for _ in range(20):
        ...     sample = optimiser.ask()
        ...     optimiser.tell(sample.index, float(np.exp(-np.sum((sample.residual - 1) ** 2))))
        >>> bool(np.all(optimiser.recommendation > 0))
        True
    """

    def __init__(
        self,
        initial_std: FloatArray,
        seed: int,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from N(0, initial_std^2); after `warm_up` (M) fit to `elites` (E)."""
        require_elites(elites)
        super().__init__(initial_std, seed, warm_up=warm_up)
        self._elites = elites

    def fit(self, residuals: FloatArray, rewards: FloatArray) -> Fit:
        """The first distribution up to M episodes, then that of the elites."""
        if len(rewards) <= self.warm_up:
            zero = np.zeros(self.dimension)
            return Fit(zero, self.initial_std, zero)
        elite = residuals[rank(rewards)[: self._elites]]
        mean = elite.mean(axis=0)
        return Fit(mean, elite.std(axis=0), mean)

    def draw(self, fit: Fit, rng: np.random.Generator) -> FloatArray:
        """Sample N(mean, diag(std^2))."""
        return fit.mean + fit.std * rng.standard_normal(self.dimension)
