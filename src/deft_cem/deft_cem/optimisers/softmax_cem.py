# SPDX-License-Identifier: Apache-2.0
"""The paper's method with two repairs: weighted elites and a variance that does not collapse."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.cem import require_elites
from deft_cem.optimisers.gaussian_search import GaussianSearch, require_basis
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.weighted_elites import fit_elites


@dataclass(frozen=True)
class SoftmaxCemSettings:
    """What may be set.

    Attributes:
        pseudo_count: X, elites at the first variance that are mixed in.
        basis: Search coordinates, 'parameters' or 'synergies'.
        limit: Largest residual. [first standard deviation]
    """

    pseudo_count: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1000.0})
    basis: str = 'parameters'
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})

    def __post_init__(self) -> None:
        """Refuse an unknown basis."""
        require_basis(self.basis)


class SoftmaxCem(GaussianSearch):
    """Cross-entropy method with softmax weights and pseudo-elites (`weighted_elites`)."""

    method: ClassVar[str] = 'softmax_cem'

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        settings: SoftmaxCemSettings | None = None,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from the first distribution.

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples, a PCG64.
            settings: Of the method; None takes the defaults.
            elites: E.
            warm_up: M.

        Raises:
            ConfigurationError: A number the method cannot run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
        """
        self._settings = settings or SoftmaxCemSettings()
        require_elites(elites)
        super().__init__(
            initial_std,
            rng,
            warm_up=warm_up,
            limit=self._settings.limit,
            basis=self._settings.basis,
        )
        self._elites = elites

    def _learn(self, residuals: FloatArray, rewards: FloatArray) -> None:
        if len(rewards) < self._warm_up:
            return
        mean, std = fit_elites(
            self._basis.to_search(residuals),
            rewards,
            elites=self._elites,
            pseudo_count=self._settings.pseudo_count,
        )
        self._set_search(mean, std)
        self._recommend(mean)

    def _parameters(self) -> dict[str, Any]:
        return {**asdict(self._settings), 'elites': self._elites}
