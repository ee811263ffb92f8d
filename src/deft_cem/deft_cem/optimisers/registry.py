# SPDX-License-Identifier: Apache-2.0
"""Optimisers by name, with parameters that are checked before a session starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from deft_cem.optimisers.ask_tell import ResidualOptimiser
from deft_cem.optimisers.cem import DEFAULT_ELITES, DEFAULT_WARM_UP, CrossEntropyMethod
from deft_cem.optimisers.screened_regression import (
    ScreenedRegression,
    ScreenedRegressionSettings,
)
from deft_core.configuration import build, nearest
from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray


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
    """Which method searches ('cem' is the paper's), and what of its parameters is not default."""

    method: str = DEFAULT_METHOD
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no optimiser can be made from, when the file is read."""
        self._settings()

    def make(
        self,
        initial_std: FloatArray,
        seed: int,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> ResidualOptimiser:
        """The optimiser with first spread (22,) [m | rad | rad], E elites and M warm-up episodes.

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
