# SPDX-License-Identifier: Apache-2.0
"""Parts of the default optimiser alone, and steps on the way to it; no session uses them.

All work in z, residuals in units of the first spread, in search coordinates y of which the first
distribution is N(0, I), and draw sample k from a generator seeded by (seed, k).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.cem import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.screened_regression import (
    BowlProcess,
    SearchBasis,
    regress_optimum,
    softmax_weights,
    standardised,
    synergy_basis,
)
from optimisation.landscapes import DIMENSION

FloatArray = npt.NDArray[np.float64]
LIMIT: Final = 4.0  # largest z
SCREENED: Final = 8  # six arm coordinates and two synergies
CANDIDATES: Final = 200
NOISE: Final = 0.3


class Ablation(ABC):
    """Draws y ~ N(m, diag(s^2)) and refits m and s to all rewarded episodes from M on."""

    def __init__(self, seed: int, *, synergies: bool) -> None:
        """Start.

        Args:
            seed: Of the draws.
            synergies: Search along hand synergies instead of single parameters.
        """
        ones = np.ones(DIMENSION)
        self._basis = synergy_basis(ones) if synergies else SearchBasis(ones, np.eye(DIMENSION))
        self._seed = seed
        self._mean, self._std = np.zeros(DIMENSION), ones
        self._tried: list[FloatArray] = []  # z
        self._rewards: list[float] = []
        self.recommendation = np.zeros(DIMENSION)  # z to deploy

    @abstractmethod
    def _fit(self, y: FloatArray, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Next m and s, of search coordinates (k, d) and rewards (k,)."""

    def _draw(self, rng: np.random.Generator) -> FloatArray:
        """Next y."""
        return self._mean + self._std * rng.standard_normal(DIMENSION)

    def _searched(self) -> tuple[FloatArray, FloatArray]:
        """What was tried, in search coordinates (k, d), and its rewards (k,)."""
        return self._basis.to_search(np.array(self._tried)), np.array(self._rewards)

    def ask(self) -> FloatArray:
        """Next z. Shape (d,)."""
        seed = np.random.SeedSequence(self._seed, spawn_key=(len(self._tried),))
        y = self._draw(np.random.default_rng(seed))
        self._tried.append(np.clip(self._basis.to_residual(y), -LIMIT, LIMIT))
        return self._tried[-1]

    def tell(self, reward: float) -> None:
        """Rate the last z."""
        self._rewards.append(reward)
        mean, std = self._fit(*self._searched())
        if len(self._rewards) >= DEFAULT_WARM_UP:
            self._mean, self._std = mean, std
            self.recommendation = np.clip(self._basis.to_residual(mean), -LIMIT, LIMIT)


class SoftmaxCem(Ablation):
    """The paper's method with two repairs: weighted elites, and ten pseudo-elites of spread one.

    The variance is (E S + X I) / (E + X): it does not collapse onto a few lucky episodes.
    """

    def _fit(self, y: FloatArray, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
        order, weights = softmax_weights(rewards, DEFAULT_ELITES)
        mean = weights @ y[order]
        variance = weights @ (y[order] - mean) ** 2
        return mean, np.sqrt((variance + 1.0) / 2.0)


class QuadraticRegression(Ablation):
    """Samples around the top of the regressed quadratic, and recommends it."""

    def _fit(self, y: FloatArray, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
        best = regress_optimum(y, rewards, ridge=30.0, curvature=1.0, radius=6.0)
        return best, np.full(DIMENSION, 0.7)


class GaussianProcessScreening(SoftmaxCem):
    """Softmax CEM whose candidates a Gaussian process screens in eight dimensions."""

    def _draw(self, rng: np.random.Generator) -> FloatArray:
        if len(self._rewards) < DEFAULT_WARM_UP:
            return super()._draw(rng)
        y, rewards = self._searched()
        scales = np.full(SCREENED, np.sqrt(SCREENED))
        process = BowlProcess(
            y[:, :SCREENED], standardised(rewards), length_scales=scales, noise=NOISE, bowl=1.0
        )
        candidates = self._mean + self._std * rng.standard_normal((CANDIDATES, DIMENSION))
        mean, std = process.predict(candidates[:, :SCREENED])
        return np.asarray(candidates[int(np.argmax(mean + std))], dtype=np.float64)


ABLATIONS: Final[Mapping[str, Callable[[int], Ablation]]] = MappingProxyType(
    {
        'softmax_cem': partial(SoftmaxCem, synergies=False),
        'quadratic_regression_22d': partial(QuadraticRegression, synergies=False),
        'quadratic_regression': partial(QuadraticRegression, synergies=True),
        'gaussian_process_screening': partial(GaussianProcessScreening, synergies=True),
    }
)
