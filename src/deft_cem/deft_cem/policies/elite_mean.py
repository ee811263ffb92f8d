# SPDX-License-Identifier: Apache-2.0
"""The mean of the elites, whatever the scene: what a policy has to beat (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from deft_cem.policies.interface import FloatArray, PolicyFit, PracticeData
from deft_core.grasp import GRASP_DIMENSION


@dataclass(frozen=True)
class EliteMeanSettings:
    """There is nothing to set."""


@dataclass(frozen=True, eq=False)
class EliteMeanModel:
    """A constant.

    Attributes:
        mean: Shape (22,). [first spread]
    """

    mean: FloatArray

    def predict(
        self, _condition: FloatArray, _prior: FloatArray, _rng: np.random.Generator
    ) -> FloatArray:
        """The mean of the elites. Shape (22,)."""
        return self.mean

    def tensors(self) -> Mapping[str, FloatArray]:
        """The mean."""
        return {'mean': self.mean}


@dataclass(frozen=True)
class EliteMean:
    """delta = mean of Omega."""

    kind: ClassVar[str] = 'elite_mean'
    settings: EliteMeanSettings = field(default_factory=EliteMeanSettings)

    def fit(self, data: PracticeData, _rng: np.random.Generator) -> PolicyFit:
        """Average the elites; a left-out elite is predicted by the mean of the others."""
        elites = data.elite_residual
        count = len(elites)
        others = (elites.sum(axis=0) - elites) / (count - 1)
        return PolicyFit(
            EliteMeanModel(elites.mean(axis=0)), np.mean((elites - others) ** 2, axis=1)
        )

    def shapes(self, _condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor."""
        return {'mean': [GRASP_DIMENSION]}

    def restore(self, tensors: Mapping[str, FloatArray]) -> EliteMeanModel:
        """The policy that gave these tensors."""
        return EliteMeanModel(tensors['mean'])
