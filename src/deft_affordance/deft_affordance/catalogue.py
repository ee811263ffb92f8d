# SPDX-License-Identifier: Apache-2.0
"""The grasp predictors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from deft_affordance.geometric_prior import GeometricPrior
from deft_affordance.heuristic_prior import HeuristicPrior
from deft_affordance.predictor import GraspPredictor
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

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
