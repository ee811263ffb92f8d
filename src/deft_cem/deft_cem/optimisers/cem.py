# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method of the paper (section 3.2, Algorithm 1; constants of Table 4)."""

from __future__ import annotations

import numpy as np

from deft_cem.optimisers.ask_tell import Fit, FloatArray, ResidualOptimiser, rank, require_elites
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP


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
        """Start from N(0, initial_std^2).

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            seed: Of the samples.
            elites: E, number of episodes the distribution is fitted to.
            warm_up: M, number of rewarded episodes drawn from the first distribution.

        Raises:
            ConfigurationError: A size that Algorithm 1 cannot run with.
            InvalidInputError: A spread that is not positive.
        """
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
