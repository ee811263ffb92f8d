# SPDX-License-Identifier: Apache-2.0
"""Ridge regression of the slope of a quadratic whose curvature is taken as known (QLR)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from deft_cem.optimisers.gaussian_search import GaussianSearch, require_basis
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.paper_parameters import DEFAULT_WARM_UP
from deft_cem.optimisers.standardised import standardised


@dataclass(frozen=True)
class QuadraticRegressionSettings:
    """What may be set.

    Attributes:
        ridge: lambda, how strongly the slope is held at zero.
        curvature: kappa, fall of the standardised reward at |y|^2 = d.
        radius: Largest |y*|.
        spread: Standard deviation around y* while fine-tuning. [first standard deviation]
        basis: Search coordinates, 'parameters' or 'synergies'.
        limit: Largest residual. [first standard deviation]
    """

    ridge: float = field(default=30.0, metadata={'minimum': 1e-3, 'maximum': 1e6})
    curvature: float = field(default=1.0, metadata={'minimum': 1e-3, 'maximum': 1e3})
    radius: float = field(default=6.0, metadata={'minimum': 0.1, 'maximum': 100.0})
    spread: float = field(default=0.7, metadata={'minimum': 0.01, 'maximum': 10.0})
    basis: str = 'synergies'
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})

    def __post_init__(self) -> None:
        """Refuse an unknown basis."""
        require_basis(self.basis)


def regress_optimum(
    y: FloatArray, rewards: FloatArray, *, ridge: float, curvature: float, radius: float
) -> FloatArray:
    """Top of the fitted quadratic.

    The model is t(y) = a + g.y - kappa (|y|^2 / d - 1): a bowl of known curvature, of which only
    the slope g is learnt, from all episodes including failures. With standardised rewards t and
    centred Y,

        t' = t + kappa (|y|^2 / d - 1), centred
        g  = (Y'Y + lambda I)^-1 Y' t'
        y* = d g / (2 kappa), shortened to the radius.

    Args:
        y: Search coordinates of all episodes. Shape (k, d).
        rewards: Shape (k,).
        ridge: lambda.
        curvature: kappa.
        radius: Largest |y*|.

    Returns:
        y*. Shape (d,).
    """
    count, dimension = y.shape
    target = standardised(rewards) + curvature * (np.sum(y**2, axis=1) / dimension - 1.0)
    target = target - target.mean()
    centred = y - y.mean(axis=0)
    # The dual form: k is smaller than d for most of a session.
    gram = centred @ centred.T + ridge * np.eye(count)
    slope = centred.T @ np.linalg.solve(gram, target)
    best = dimension / (2.0 * curvature) * slope
    length = float(np.linalg.norm(best))
    return np.asarray(best if length <= radius else best * (radius / length), dtype=np.float64)


class QuadraticRegression(GaussianSearch):
    """Samples around the top of the fitted quadratic, and recommends it."""

    method: ClassVar[str] = 'quadratic_regression'

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        settings: QuadraticRegressionSettings | None = None,
        *,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from the first distribution.

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples, a PCG64.
            settings: Of the method; None takes the defaults.
            warm_up: M.

        Raises:
            ConfigurationError: A number the method cannot run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
        """
        self._settings = settings or QuadraticRegressionSettings()
        super().__init__(
            initial_std,
            rng,
            warm_up=warm_up,
            limit=self._settings.limit,
            basis=self._settings.basis,
        )

    def _learn(self, residuals: FloatArray, rewards: FloatArray) -> None:
        best = regress_optimum(
            self._basis.to_search(residuals),
            rewards,
            ridge=self._settings.ridge,
            curvature=self._settings.curvature,
            radius=self._settings.radius,
        )
        self._recommend(best)
        if len(rewards) >= self._warm_up:
            self._set_search(best, np.full(self.dimension, self._settings.spread))

    def _parameters(self) -> dict[str, Any]:
        return asdict(self._settings)
