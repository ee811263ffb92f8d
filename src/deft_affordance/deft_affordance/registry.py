# SPDX-License-Identifier: Apache-2.0
"""What every grasp predictor offers, and the predictors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from deft_affordance.geometric_prior import GeometricPrior
from deft_affordance.heuristic_prior import HeuristicPrior
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.grasp import GraspPrior
from deft_core.observation import ObjectObservation
from deft_core.task import Task


class GraspPredictor(Protocol):
    """Proposes a grasp for one observed object and one task."""

    def predict(
        self, observation: ObjectObservation, task: Task, generator: np.random.Generator
    ) -> GraspPrior:
        """Propose a grasp in the base frame.

        Args:
            observation: The segmented object, base frame.
            task: What is to be done with it.
            generator: The only source of randomness; a predictor may leave it untouched.

        Raises:
            InvalidInputError: The observation has no points, or numbers that make no object.
            DeftError: There is no proposal for this object.
        """


PREDICTORS: Final[Mapping[str, Callable[[], GraspPredictor]]] = MappingProxyType(
    {'geometric': GeometricPrior, 'heuristic': HeuristicPrior}
)


def make_predictor(name: str) -> GraspPredictor:
    """Build a predictor by name.

    Raises:
        ConfigurationError: There is no predictor of this name.
    """
    if name not in PREDICTORS:
        raise ConfigurationError(f'Unknown predictor {name!r}; {nearest(name, PREDICTORS)}')
    return PREDICTORS[name]()
