# SPDX-License-Identifier: Apache-2.0
"""The same residual for every scene: what a conditional policy has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from deft_cem.policies.interface import PolicyFit, PracticeData, Tensors
from deft_core.grasp import GRASP_DIMENSION
from deft_core.validation import FloatArray


@dataclass(frozen=True)
class NoSettings:
    """There is nothing to set."""


@dataclass(frozen=True)
class EliteMean:
    """delta = mean of Omega (paper, section 3.2)."""

    kind: ClassVar[str] = 'elite_mean'
    settings: NoSettings = field(default_factory=NoSettings)

    def constant(self, data: PracticeData, kept: FloatArray) -> FloatArray:
        """The residual that the rows which are `kept` (n,) give. Shape (22,)."""
        return np.asarray(data.residual[[row for row in data.elites if kept[row]]].mean(axis=0))

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """From all rows; a left-out elite is predicted from the others."""
        del rng
        everything = np.ones(len(data.reward))
        errors = []
        for row in data.elites:
            others = everything.copy()
            others[row] = 0.0
            errors.append(np.mean((self.constant(data, others) - data.residual[row]) ** 2))
        return PolicyFit({'residual': self.constant(data, everything)}, np.array(errors))

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """The residual."""
        del condition
        return {'residual': [GRASP_DIMENSION]}

    def predict(
        self, tensors: Tensors, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """The residual, whatever the scene. Shape (22,)."""
        del condition, prior, rng
        return tensors['residual']


@dataclass(frozen=True)
class Recommendation(EliteMean):
    """delta = what the optimiser of the practice recommends: the baseline policy."""

    kind: ClassVar[str] = 'recommendation'

    def constant(self, data: PracticeData, kept: FloatArray) -> FloatArray:
        """What the optimiser recommends after some rows of practice. Shape (22,)."""
        seen = kept > 0.0
        return data.recommend(data.residual[seen], data.reward[seen])
