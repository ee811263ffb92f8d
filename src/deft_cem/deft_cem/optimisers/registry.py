# SPDX-License-Identifier: Apache-2.0
"""Optimisers by name, with parameters that are checked before a session starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from deft_cem.optimisers.ask_tell import FloatArray, ResidualOptimiser
from deft_cem.optimisers.cem import CrossEntropyMethod
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.screened_regression import (
    ScreenedRegression,
    ScreenedRegressionSettings,
)
from deft_core.configuration import build, nearest
from deft_core.errors import ConfigurationError


@dataclass(frozen=True)
class NoSettings:
    """Of a method with nothing to set beyond E and M."""


# Dataclass of the parameters with their ranges, and what builds a method of them.
METHODS: Final[Mapping[str, tuple[type[Any], Callable[..., ResidualOptimiser]]]] = (
    MappingProxyType(
        {
            'cem': (
                NoSettings,
                lambda std, seed, _, **numbers: CrossEntropyMethod(std, seed, **numbers),
            ),
            'screened_regression': (ScreenedRegressionSettings, ScreenedRegression),
        }
    )
)
DEFAULT_METHOD: Final = 'screened_regression'


@dataclass(frozen=True)
class OptimiserSettings:
    """Which method searches, and with what.

    Attributes:
        method: Name in the registry; 'cem' is the paper's.
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
        self,
        initial_std: FloatArray,
        seed: int,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> ResidualOptimiser:
        """The optimiser.

        Args:
            initial_std: First spread per parameter. Shape (22,). [m | rad | rad]
            seed: Of the samples.
            elites: E.
            warm_up: M.

        Raises:
            ConfigurationError: Numbers the method cannot run with.
        """
        _, make = METHODS[self.method]
        return make(initial_std, seed, self._settings(), elites=elites, warm_up=warm_up)

    def _settings(self) -> Any:
        """Parameters as the method's own dataclass."""
        if self.method not in METHODS:
            raise ConfigurationError(
                f'optimiser method {self.method!r} is unknown; {nearest(self.method, METHODS)}'
            )
        settings, _ = METHODS[self.method]
        return build(settings, self.parameters, f'optimiser {self.method}')
