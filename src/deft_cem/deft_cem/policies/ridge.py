# SPDX-License-Identifier: Apache-2.0
"""Linear regression of the residual on the condition, shrunk to the mean of the elites.

With X the conditions of the elites minus their mean c_0 and D their residuals minus their mean m,

    B = (X' X + lambda I)^-1 X' D,    delta(c) = m + B' (c - c_0)

(Hoerl and Kennard, Technometrics 1970). It is also the posterior mean of a linear Gaussian model
whose slopes have the prior variance s^2 / lambda, s^2 the variance of the residuals around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from deft_cem.policies.interface import FloatArray, PolicyFit, PracticeData
from deft_core.grasp import GRASP_DIMENSION


@dataclass(frozen=True)
class RidgeSettings:
    """How far the regression is shrunk.

    Attributes:
        penalty: lambda. The condition has about unit spread, so ten elites weigh against
            lambda / 10 of a squared slope; benchmarks/policies.py compares values.
    """

    penalty: float = field(default=20.0, metadata={'minimum': 1e-6, 'maximum': 1e9})


@dataclass(frozen=True, eq=False)
class RidgeModel:
    """An affine map.

    Attributes:
        mean: m. Shape (22,). [first spread]
        centre: c_0. Shape (c,).
        slope: B. Shape (c, 22).
    """

    mean: FloatArray
    centre: FloatArray
    slope: FloatArray

    def predict(
        self, condition: FloatArray, _prior: FloatArray, _rng: np.random.Generator
    ) -> FloatArray:
        """delta(c). Shape (22,)."""
        return self.mean + (condition - self.centre) @ self.slope

    def tensors(self) -> Mapping[str, FloatArray]:
        """Mean, centre and slope."""
        return {'mean': self.mean, 'centre': self.centre, 'slope': self.slope}


@dataclass(frozen=True)
class Ridge:
    """delta = m + B' (c - c_0)."""

    kind: ClassVar[str] = 'ridge'
    settings: RidgeSettings = field(default_factory=RidgeSettings)

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Solve once for all elites and once without each."""
        left_out = []
        for row in data.elites:
            model = self._solve(data.without(int(row)))
            predicted = model.predict(data.condition[row], data.prior[row], rng)
            left_out.append(np.mean((predicted - data.residual[row]) ** 2))
        return PolicyFit(self._solve(data), np.array(left_out))

    def _solve(self, data: PracticeData) -> RidgeModel:
        mean, centre = data.elite_residual.mean(axis=0), data.elite_condition.mean(axis=0)
        x = data.elite_condition - centre
        system = x.T @ x + self.settings.penalty * np.eye(x.shape[1])
        return RidgeModel(
            mean, centre, np.linalg.solve(system, x.T @ (data.elite_residual - mean))
        )

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor."""
        return {
            'mean': [GRASP_DIMENSION],
            'centre': [condition],
            'slope': [condition, GRASP_DIMENSION],
        }

    def restore(self, tensors: Mapping[str, FloatArray]) -> RidgeModel:
        """The policy that gave these tensors."""
        return RidgeModel(tensors['mean'], tensors['centre'], tensors['slope'])
