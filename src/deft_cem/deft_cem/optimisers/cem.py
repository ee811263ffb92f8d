# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method of the paper (section 3.2, Algorithm 1; constants of Table 4)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.base import AskTellOptimiser
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_core.errors import ConfigurationError


def rank(rewards: FloatArray) -> list[int]:
    """Indices by falling reward; equal rewards keep the order in which they were tried."""
    return [int(index) for index in np.argsort(-rewards, kind='stable')]


def require_elites(elites: int) -> None:
    """Refuse a number of elites whose spread is zero.

    Raises:
        ConfigurationError: Fewer than two.
    """
    if elites < 2:
        raise ConfigurationError(
            f'elites is {elites}, expected at least 2: the spread of one point is zero'
        )


class CrossEntropyMethod(AskTellOptimiser):
    """Diagonal Gaussian over residuals, refitted to the best episodes so far.

    Exactly Algorithm 1: D starts as N(0, sigma^2); after every rated episode k > M all episodes
    1..k are ranked by reward, the best E (all, while k < E) are the elites, and D becomes their
    mean and their standard deviation. What the paper leaves open is decided here:

    - The fit is diagonal: the covariance of ten points in 22 dimensions has rank 9 and would
      lock the search into a subspace.
    - The fit is the maximum-likelihood one (divides by E, no floor), the plain reading of "fit".
    - There are no bounds.

    Example:
        >>> optimiser = CrossEntropyMethod(np.ones(2), np.random.default_rng(0),
        ...                                elites=3, warm_up=5)
        >>> for _ in range(20):
        ...     sample = optimiser.ask()
        ...     optimiser.tell(sample.index, float(np.exp(-np.sum((sample.residual - 1) ** 2))))
        >>> bool(np.all(optimiser.recommendation > 0))
        True
    """

    method: ClassVar[str] = 'cem'

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from N(0, initial_std^2).

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples, a PCG64.
            elites: E, number of episodes the distribution is fitted to.
            warm_up: M, number of rated episodes drawn from the first distribution.

        Raises:
            ConfigurationError: A size that Algorithm 1 cannot run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
        """
        require_elites(elites)
        super().__init__(initial_std, rng, warm_up=warm_up)
        self._elites = elites

    @property
    def elite_indices(self) -> tuple[int, ...]:
        """Proposal numbers of the best E rated episodes, best first (Omega of Algorithm 1)."""
        rated = [(i, reward) for i, reward in enumerate(self._rewards) if reward is not None]
        order = rank(np.array([reward for _, reward in rated]))
        return tuple(rated[place][0] for place in order[: self._elites])

    def _draw(self) -> FloatArray:
        return self._mean + self._std * self._rng.standard_normal(self.dimension)

    def _learn(self, residuals: FloatArray, rewards: FloatArray) -> None:
        if len(rewards) <= self._warm_up:
            return
        elite = residuals[rank(rewards)[: self._elites]]
        self._mean = elite.mean(axis=0)
        self._std = elite.std(axis=0)
        self._recommendation = self._mean.copy()

    def _parameters(self) -> dict[str, Any]:
        return {'elites': self._elites}
