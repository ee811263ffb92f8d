# SPDX-License-Identifier: Apache-2.0
"""Search in coordinates y of a basis with an independent Gaussian: N(m, diag(s^2))."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from deft_cem.optimisers.base import AskTellOptimiser
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.saved_state import finite_numbers
from deft_cem.optimisers.search_basis import (
    DEFAULT_DAMPING,
    SearchBasis,
    identity_basis,
    synergy_basis,
)
from deft_core.errors import ConfigurationError, InvalidInputError

BASES: Final = ('parameters', 'synergies')


def require_basis(name: str) -> None:
    """Refuse an unknown name of a basis.

    Raises:
        ConfigurationError: It is unknown.
    """
    if name not in BASES:
        raise ConfigurationError(f'basis is {name!r}, expected {" or ".join(map(repr, BASES))}')


def make_basis(name: str, sigma: FloatArray, damping: float = DEFAULT_DAMPING) -> SearchBasis:
    """Search coordinates by name.

    Args:
        name: 'parameters' (each by itself) or 'synergies' (of the hand).
        sigma: First standard deviation per parameter. Shape (d,). [m | rad | rad]
        damping: Of finger directions beyond synergies.

    Raises:
        ConfigurationError: Another name.
        InvalidInputError: Synergies of something that is no grasp.
    """
    require_basis(name)
    if name == 'parameters':
        return identity_basis(sigma)
    return synergy_basis(sigma, damping=damping)


class GaussianSearch(AskTellOptimiser):
    """Keeps y ~ N(m, diag(s^2)) and reports it as a distribution of residuals.

    Until M episodes are rated, y is drawn from N(0, I). Subclasses call `_set_search`.
    """

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        *,
        warm_up: int,
        limit: float,
        basis: str,
        damping: float = DEFAULT_DAMPING,
    ) -> None:
        """Start from y ~ N(0, I); see `AskTellOptimiser` and `make_basis` for the arguments."""
        super().__init__(initial_std, rng, warm_up=warm_up, limit=limit)
        self._basis = make_basis(basis, self._initial_std, damping)
        self._search_mean = np.zeros(self.dimension)
        self._search_std = np.ones(self.dimension)
        self._std = self._basis.marginal_std(1.0)

    def _draw(self) -> FloatArray:
        y = self._search_mean + self._search_std * self._rng.standard_normal(self.dimension)
        return self._basis.to_residual(y)

    def _set_search(self, mean: FloatArray, std: FloatArray) -> None:
        """Sample from another distribution from now on. Shape (d,) each, search coordinates."""
        self._search_mean, self._search_std = mean, std
        self._mean = self._clip(self._basis.to_residual(mean))
        self._std = self._basis.marginal_std(std)

    def _recommend(self, y: FloatArray) -> None:
        """Recommend the residual of search coordinates. Shape (d,)."""
        self._recommendation = self._clip(self._basis.to_residual(y))

    def _search_state(self) -> dict[str, Any]:
        return {
            'search_mean': self._search_mean.tolist(),
            'search_std': self._search_std.tolist(),
        }

    def _restore_search_state(self, state: dict[str, Any]) -> None:
        mean = finite_numbers(state['search_mean'], 'search_mean', self.dimension)
        std = finite_numbers(state['search_std'], 'search_std', self.dimension)
        if np.any(std < 0.0):
            raise InvalidInputError('optimiser state: search_std must not be negative')
        self._search_mean, self._search_std = mean, std
