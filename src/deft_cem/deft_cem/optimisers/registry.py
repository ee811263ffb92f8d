# SPDX-License-Identifier: Apache-2.0
"""Optimisers by name, with parameters that are checked before a session starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from deft_cem.optimisers.cem import CrossEntropyMethod
from deft_cem.optimisers.gaussian_process_screening import (
    GaussianProcessScreening,
    GaussianProcessScreeningSettings,
)
from deft_cem.optimisers.interface import FloatArray, ResidualOptimiser
from deft_cem.optimisers.quadratic_regression import (
    QuadraticRegression,
    QuadraticRegressionSettings,
)
from deft_cem.optimisers.screened_regression import (
    ScreenedRegression,
    ScreenedRegressionSettings,
)
from deft_cem.optimisers.softmax_cem import SoftmaxCem, SoftmaxCemSettings
from deft_core.configuration import build, nearest
from deft_core.errors import ConfigurationError


@dataclass(frozen=True)
class Practice:
    """What every method is told about the session.

    Attributes:
        elites: E.
        warm_up: M.
    """

    elites: int
    warm_up: int


@dataclass(frozen=True)
class NoSettings:
    """Of a method with nothing to set beyond E and M."""


Make = Callable[[FloatArray, np.random.Generator, Practice, Any], ResidualOptimiser]


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        settings: Dataclass of its parameters, with their ranges.
        make: Builds it from the first spread, a generator, E and M, and its settings.
    """

    settings: type[Any]
    make: Make


CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        'cem': Entry(
            NoSettings,
            lambda std, rng, practice, _: CrossEntropyMethod(
                std, rng, elites=practice.elites, warm_up=practice.warm_up
            ),
        ),
        'softmax_cem': Entry(
            SoftmaxCemSettings,
            lambda std, rng, practice, settings: SoftmaxCem(
                std, rng, settings, elites=practice.elites, warm_up=practice.warm_up
            ),
        ),
        'quadratic_regression': Entry(
            QuadraticRegressionSettings,
            lambda std, rng, practice, settings: QuadraticRegression(
                std, rng, settings, warm_up=practice.warm_up
            ),
        ),
        'gaussian_process_screening': Entry(
            GaussianProcessScreeningSettings,
            lambda std, rng, practice, settings: GaussianProcessScreening(
                std, rng, settings, elites=practice.elites, warm_up=practice.warm_up
            ),
        ),
        'screened_regression': Entry(
            ScreenedRegressionSettings,
            lambda std, rng, practice, settings: ScreenedRegression(
                std, rng, settings, elites=practice.elites, warm_up=practice.warm_up
            ),
        ),
    }
)
DEFAULT_METHOD: Final = 'screened_regression'


@dataclass(frozen=True)
class OptimiserSettings:
    """Which method searches, and with what.

    Attributes:
        method: Name in the catalogue; 'cem' is the paper's.
        parameters: Of this method; what is left out keeps its default.
    """

    method: str = DEFAULT_METHOD
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no optimiser can be made from, when the file is read.

        Raises:
            ConfigurationError: An unknown method, or parameters that are not its own.
        """
        self._settings()

    def make(
        self, initial_std: FloatArray, rng: np.random.Generator, practice: Practice
    ) -> ResidualOptimiser:
        """The optimiser.

        Args:
            initial_std: First spread per parameter. Shape (22,). [m | rad | rad]
            rng: Source of the samples, a PCG64.
            practice: E and M.

        Raises:
            ConfigurationError: Numbers the method cannot run with.
        """
        return CATALOGUE[self.method].make(initial_std, rng, practice, self._settings())

    def _settings(self) -> Any:
        """Parameters as the method's own dataclass."""
        if self.method not in CATALOGUE:
            raise ConfigurationError(
                f'optimiser method {self.method!r} is unknown; {nearest(self.method, CATALOGUE)}'
            )
        where = f'optimiser {self.method}'
        return build(CATALOGUE[self.method].settings, self.parameters, where)
