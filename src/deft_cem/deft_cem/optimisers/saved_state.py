# SPDX-License-Identifier: Apache-2.0
"""Checks on a saved optimiser state: what a file holds is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deft_cem.optimisers.interface import FloatArray
from deft_core.errors import InvalidInputError


def require_keys(state: object, expected: Mapping[str, Any], name: str) -> None:
    """Refuse a state that is no mapping with exactly the expected keys.

    Raises:
        InvalidInputError: It is not.
    """
    if not isinstance(state, dict):
        raise InvalidInputError(f'{name} must be a mapping, got {type(state).__name__}')
    if set(state) != set(expected):
        raise InvalidInputError(
            f'{name} has the keys {sorted(map(str, state))}, expected {sorted(expected)}'
        )


def require_equal(key: str, found: object, own: object) -> None:
    """Refuse a state that was saved by an optimiser with another configuration.

    Raises:
        InvalidInputError: The entry differs.
    """
    if found != own:
        raise InvalidInputError(
            f'optimiser state has {key} = {found!r}, this optimiser has {own!r}; '
            'resume with the configuration the session was started with'
        )


def finite_numbers(values: object, name: str, dimension: int) -> FloatArray:
    """Convert JSON numbers to a finite array.

    Args:
        values: What the state holds.
        name: Of the entry, for the message.
        dimension: How many numbers are expected.

    Returns:
        Shape (dimension,).

    Raises:
        InvalidInputError: Another number of them, or not finite.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = f'optimiser state: {name} must be {dimension} numbers, got {values!r}'
        raise InvalidInputError(message) from error
    if array.shape != (dimension,) or not np.all(np.isfinite(array)):
        raise InvalidInputError(
            f'optimiser state: {name} must be {dimension} finite numbers, got shape {array.shape}'
        )
    return array


def generator_state(state: object) -> dict[str, Any]:
    """State of a PCG64 generator, proven by restoring one.

    Raises:
        InvalidInputError: It cannot be restored.
    """
    generator = np.random.PCG64()
    try:
        generator.state = state  # type: ignore[assignment]
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise InvalidInputError(
            f'optimiser state: the random generator cannot be restored ({error})'
        ) from error
    return dict(generator.state)
