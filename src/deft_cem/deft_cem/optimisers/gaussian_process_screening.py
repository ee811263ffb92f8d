# SPDX-License-Identifier: Apache-2.0
"""Softmax CEM whose candidates are screened by a Gaussian process in eight dimensions (SPS-8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.cem import require_elites
from deft_cem.optimisers.gaussian_process import (
    GaussianProcess,
    default_priors,
    fit_hyper_parameters,
)
from deft_cem.optimisers.gaussian_search import GaussianSearch
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.quadratic_regression import standardised
from deft_cem.optimisers.saved_state import finite_numbers
from deft_cem.optimisers.search_basis import ARM_COORDINATES, SYNERGY_COORDINATES
from deft_cem.optimisers.weighted_elites import fit_elites

SCREENED = ARM_COORDINATES + SYNERGY_COORDINATES


@dataclass(frozen=True)
class GaussianProcessScreeningSettings:
    """What may be set.

    Attributes:
        candidates: Residuals that are drawn and screened for one episode.
        optimism: Posterior standard deviations that are added to the posterior mean.
        bowl: q, fall of the standardised reward at |y|^2 = 8 in the prior mean.
        pseudo_count: X of the softmax CEM that proposes the candidates.
        memory: The process sees at most this many of the latest episodes.
        limit: Largest residual. [first standard deviation]
    """

    candidates: int = field(default=200, metadata={'minimum': 1, 'maximum': 100_000})
    optimism: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    bowl: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    pseudo_count: float = field(default=10.0, metadata={'minimum': 0.0, 'maximum': 1000.0})
    memory: int = field(default=120, metadata={'minimum': 10, 'maximum': 1000})
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})


class GaussianProcessScreening(GaussianSearch):
    """Draws many candidates as the softmax CEM would, and tries the most promising one.

    The process sees six arm coordinates and two hand synergies, has a length scale for each and
    expects a fall of the reward away from the prior. The recommendation is the weighted mean of
    the elites, which the process does not touch.
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
            initial_std, rng, warm_up=warm_up, limit=self._settings.limit, basis='synergies'
        )
        self._elites = elites
        self._groups = np.arange(SCREENED)
        self._priors = default_priors(np.full(SCREENED, SCREENED))
        self._theta = self._priors.mean

    def _draw(self) -> FloatArray:
        if self.rated_count < self._warm_up:
            return super()._draw()
        process = GaussianProcess(*self._data(), self._groups, self._theta)
        noise = self._rng.standard_normal((self._settings.candidates, self.dimension))
        candidates = self._search_mean + self._search_std * noise
        seen = candidates[:, :SCREENED]
        mean, std = process.predict(seen)
        promise = mean + self._bowl(seen) + self._settings.optimism * std
        return self._basis.to_residual(candidates[int(np.argmax(promise))])

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
        seen, values = self._data()
        self._theta = fit_hyper_parameters(seen, values, self._groups, self._priors, self._theta)

    def _bowl(self, seen: FloatArray) -> FloatArray:
        """Prior mean of the standardised reward. Shape (n,), for search coordinates (n, 8)."""
        return np.asarray(self._settings.bowl * (1.0 - np.sum(seen**2, axis=1) / SCREENED))

    def _data(self) -> tuple[FloatArray, FloatArray]:
        """What the process is conditioned on: screened coordinates and zero-mean values."""
        residuals, rewards = self._rated()
        seen = self._basis.to_search(residuals)[-self._settings.memory :, :SCREENED]
        rewards = rewards[-self._settings.memory :]
        return seen, standardised(rewards) - self._bowl(seen)

    def _parameters(self) -> dict[str, Any]:
        return {**asdict(self._settings), 'elites': self._elites}

    def _search_state(self) -> dict[str, Any]:
        return {**super()._search_state(), 'theta': self._theta.tolist()}

    def _restore_search_state(self, state: dict[str, Any]) -> None:
        theta = finite_numbers(state['theta'], 'theta', self._theta.size)
        super()._restore_search_state(state)
        self._theta = theta
