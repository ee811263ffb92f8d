# SPDX-License-Identifier: Apache-2.0
"""Softmax CEM whose candidates a Gaussian process screens in eight dimensions (SPS-8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.cem import require_elites
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.screened_search import ScreenedSearch, ScreeningSettings
from deft_cem.optimisers.search_basis import ARM_COORDINATES, SYNERGY_COORDINATES
from deft_cem.optimisers.weighted_elites import fit_elites


@dataclass(frozen=True)
class GaussianProcessScreeningSettings(ScreeningSettings):
    """What may be set: the screening, and the softmax CEM that proposes the candidates.

    Attributes:
        length_scale: Of the eight coordinates, in units of sqrt(8).
        pseudo_count: X, elites at the first variance that are mixed in.
    """

    length_scale: float = field(default=1.0, metadata={'minimum': 0.01, 'maximum': 100.0})
    pseudo_count: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1000.0})


class GaussianProcessScreening(ScreenedSearch):
    """Draws many candidates as the softmax CEM would, and tries the most promising one.

    The process sees six arm coordinates and two hand synergies. The recommendation is the
    weighted mean of the elites, which the process does not touch. What single fingers need beyond
    synergies is found by the softmax CEM alone.
    """

    method: ClassVar[str] = 'gaussian_process_screening'

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        settings: GaussianProcessScreeningSettings | None = None,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from the first distribution.

        Args:
            initial_std: Shape (22,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples, a PCG64.
            settings: Of the method; None takes the defaults.
            elites: E.
            warm_up: M.

        Raises:
            ConfigurationError: A number the method cannot run with.
            InvalidInputError: A spread that is not positive, another number of parameters, or
                another kind of generator.
        """
        self._settings = settings or GaussianProcessScreeningSettings()
        require_elites(elites)
        super().__init__(
            initial_std,
            rng,
            self._settings,
            warm_up=warm_up,
            basis='synergies',
            groups=(ARM_COORDINATES + SYNERGY_COORDINATES,),
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
