# SPDX-License-Identifier: Apache-2.0
"""Candidates around the top of a regressed quadratic, screened by a Gaussian process in 22-D."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.cem import require_elites
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.quadratic_regression import regress_optimum
from deft_cem.optimisers.screened_search import ScreenedSearch, ScreeningSettings
from deft_cem.optimisers.search_basis import COORDINATE_GROUPS
from deft_cem.optimisers.weighted_elites import softmax_weights


@dataclass(frozen=True)
class ScreenedRegressionSettings(ScreeningSettings):
    """What may be set: the screening, and the regression that the candidates come from.

    Attributes:
        ridge: lambda of the regression, how strongly its slope is held at zero.
        curvature: kappa of the regression, fall of the standardised reward at |y|^2 = d.
        radius: Largest |y| of each estimate of the optimum.
        spread: Standard deviation of the candidates. [first standard deviation]
        damping: First spread of finger directions beyond synergies, in units of sigma. At 0.5
            tasks for the whole hand are learnt a little faster, and tasks for single fingers
            hardly faster than by the paper's method.
    """

    ridge: float = field(default=30.0, metadata={'minimum': 1e-3, 'maximum': 1e6})
    curvature: float = field(default=1.0, metadata={'minimum': 1e-3, 'maximum': 1e3})
    radius: float = field(default=6.0, metadata={'minimum': 0.1, 'maximum': 100.0})
    spread: float = field(default=0.7, metadata={'minimum': 0.01, 'maximum': 10.0})
    damping: float = field(default=0.6, metadata={'minimum': 0.01, 'maximum': 10.0})


class ScreenedRegression(ScreenedSearch):
    """Three estimates of the optimum, and episodes where one of them looks best to another.

    All three work in the coordinates of hand synergies and use every rated episode:

    - y_q, the top of a quadratic of known curvature (`quadratic_regression`): right early, when
      episodes are few, and blind to everything but the slope;
    - y_g, the top of the posterior mean of a Gaussian process over all 22 coordinates;
    - y_e, the softmax-weighted mean of the elites: never far from what was tried and worked.

    Candidates are drawn from N(y_q, spread^2 I), and the one of largest posterior mean plus
    `optimism` standard deviations is tried. The recommendation is (y_q + y_g + y_e) / 3: their
    errors are little alike, so that the mean is as good as the best of them late, and better than
    each early.
    """

    method: ClassVar[str] = 'screened_regression'

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        settings: ScreenedRegressionSettings | None = None,
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
        self._settings = settings or ScreenedRegressionSettings()
        require_elites(elites)
        super().__init__(
            initial_std,
            rng,
            self._settings,
            warm_up=warm_up,
            basis='synergies',
            groups=COORDINATE_GROUPS,
            damping=self._settings.damping,
        )
        self._elites = elites

    def _learn(self, residuals: FloatArray, rewards: FloatArray) -> None:
        settings = self._settings
        y = self._basis.to_search(residuals)
        regressed = regress_optimum(
            y,
            rewards,
            ridge=settings.ridge,
            curvature=settings.curvature,
            radius=settings.radius,
        )
        order, weights = softmax_weights(rewards, self._elites)
        elite = weights @ y[order]
        process = self._process(residuals, rewards)
        top = process.top([elite, regressed], settings.radius)
        self._recommend((regressed + top + elite) / 3.0)
        if len(rewards) >= self._warm_up:
            self._set_search(regressed, np.full(self.dimension, settings.spread))

    def _parameters(self) -> dict[str, Any]:
        return {**asdict(self._settings), 'elites': self._elites}
