# SPDX-License-Identifier: Apache-2.0
"""Reading JSON that somebody may have edited: sizes, kinds and finiteness are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.validation import FloatArray, finite_array

_LARGEST_FILE: Final = 50_000_000  # bytes


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        ConfigurationError: It is missing, too large or no text.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f'{path} is too large for {what} (50 MB).')
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'Cannot read {what} {path}: {error}') from error


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """A JSON object.

    Args:
        text: One JSON document.
        where: File or line, for the message.

    Raises:
        ConfigurationError: It is no JSON object.
    """
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f'{where} is not JSON: {error}') from error
    if not isinstance(found, dict):
        raise ConfigurationError(f'{where} must be a JSON object.')
    return found


def numbers(values: Mapping[str, Any], key: str, shape: tuple[int, ...], where: str) -> FloatArray:
    """An array of finite numbers.

    Args:
        values: A JSON object.
        key: Entry of it.
        shape: Expected; -1 matches any length.
        where: File or line, for the message.

    Raises:
        ConfigurationError: The entry is missing, of another shape or not finite.
    """
    if key not in values:
        raise ConfigurationError(f'{where}: entry {key!r} is missing.')
    try:
        return finite_array(f'{where}: {key}', values[key], shape)
    except InvalidInputError as error:
        raise ConfigurationError(str(error)) from error


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """One finite number; see `numbers`."""
    return float(numbers(values, key, (), where))


def text(values: Mapping[str, Any], key: str, where: str) -> str:
    """A text.

    Raises:
        ConfigurationError: The entry is missing or no text.
    """
    found = values.get(key)
    if not isinstance(found, str):
        raise ConfigurationError(f'{where}: entry {key!r} must be text, got {found!r}.')
    return found


def plain(array: FloatArray) -> Any:
    """Nested lists of plain numbers."""
    return np.asarray(array).tolist()
