# SPDX-License-Identifier: Apache-2.0
"""Strict reading of YAML files into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final, TypeVar

from deft_core.errors import ConfigurationError, InvalidInputError, shown
from deft_core.files import read_yaml

T = TypeVar('T')
# Comparing long names takes the square of their length.
_LONGEST_NAME: Final = 100
_MOST_COMPARED: Final = 1000


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known one, else all of them."""
    choices = sorted(known)
    likely = [choice for choice in choices[:_MOST_COMPARED] if len(choice) <= _LONGEST_NAME]
    match = difflib.get_close_matches(name[:_LONGEST_NAME], likely, n=1)
    return f'did you mean {match[0]!r}?' if match else f'known: {", ".join(choices)}.'


def bounds(minimum: float, maximum: float | None = None, unit: str = '') -> dict[str, Any]:
    """Metadata of a dataclass field whose value must lie between two numbers, both allowed."""
    return {'minimum': minimum, 'maximum': maximum, 'unit': unit}


def config_directory() -> Path:
    """Folder of the configuration files.

    `DEFT_CONFIG` wins, then the installed share folder of `deft_bringup`, then the `config`
    folder of the source tree.

    Raises:
        ConfigurationError: None of them exists.
    """
    override = os.environ.get('DEFT_CONFIG')
    if override is not None:
        if not Path(override).is_dir():
            raise ConfigurationError(
                f'DEFT_CONFIG names {override!r}, which is not a folder; correct or unset it.'
            )
        return Path(override)
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        installed = Path(prefix) / 'share' / 'deft_bringup' / 'config'
        if prefix and installed.is_dir():
            return installed
    for parent in Path(__file__).resolve().parents:
        if (parent / 'config' / 'tasks').is_dir():
            return parent / 'config'
    raise ConfigurationError(
        'No configuration folder found: build the workspace or set DEFT_CONFIG.'
    )


def load_yaml(path: Path, kind: type[T]) -> T:
    """Read a YAML file into the dataclass `kind`; see `build`."""
    return build(kind, read_yaml(path), str(path))


def load_named(kind: type[T], folder: Path, name: str, key: str = 'name') -> T:
    """Read `<name>.yaml` of a folder, whose entry `key` must be that name; see `build`.

    Raises:
        ConfigurationError: There is no such file (the nearest name is told), or it is wrong.
    """
    names = sorted(path.stem for path in folder.glob('*.yaml'))
    if name not in names:
        what = re.sub('(?<=.)(?=[A-Z])', ' ', kind.__name__).lower()
        raise ConfigurationError(
            f'Unknown {what} {name!r}: it is not in {folder}; {nearest(name, names)}'
        )
    found = load_yaml(folder / f'{name}.yaml', kind)
    if getattr(found, key) != name:
        raise ConfigurationError(
            f'{folder / name}.yaml calls itself {getattr(found, key)!r}; {key} and file name '
            'must agree.'
        )
    return found


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from plain values, refusing what is unknown, missing or out of range.

    Field metadata may hold `minimum` and `maximum` (numbers) and `unit` (for the message).
    Nested dataclasses, tuples, lists and dicts of them are built from their plain form.

    Raises:
        ConfigurationError: An entry is unknown, missing, of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigurationError(f'{where} must be a mapping, got {shown(values)}.')
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise ConfigurationError(
                f'{where}: unknown entry {shown(name)}; {nearest(str(name), fields)}'
            )
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        entry = f'{where}: {name}'
        if name in values:
            arguments[name] = _convert(values[name], hints[name], entry)
            _check_range(arguments[name], field.metadata, entry)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigurationError(f'{where}: entry {name!r} is missing.')
    try:
        return kind(**arguments)
    except InvalidInputError as error:
        raise ConfigurationError(f'{where}: {error}') from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin in (tuple, list):
        return _convert_sequence(value, origin, arguments, where)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ConfigurationError(f'{where} must be a mapping, got {shown(value)}.')
        return {str(k): _convert(v, arguments[1], f'{where}.{k}') for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, where)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # also of an integer beyond every float
            raise ConfigurationError(f'{where} must be a finite number, got {shown(value)}.')
        return float(value)
    if hint is Any or (type(value) is hint):
        return value
    raise ConfigurationError(f'{where} must be {hint.__name__}, got {shown(value)}.')


def _convert_sequence(value: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f'{where} must be a list, got {shown(value)}.')
    if origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        hints = [arguments[0]] * len(value)
    elif len(arguments) != len(value):
        raise ConfigurationError(f'{where} must have {len(arguments)} values, got {len(value)}.')
    else:
        hints = list(arguments)
    pairs = zip(value, hints, strict=True)
    return origin(_convert(v, hint, f'{where}[{i}]') for i, (v, hint) in enumerate(pairs))


def _check_range(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    """Refuse a number outside of the bounds, alone or in (nested) lists."""
    low, high = metadata.get('minimum'), metadata.get('maximum')
    if value is None or (low is None and high is None):
        return
    if isinstance(value, list | tuple):
        for part in value:
            _check_range(part, metadata, where)
    elif not ((low is None or value >= low) and (high is None or value <= high)):
        limits = f'{"-inf" if low is None else low} to {"inf" if high is None else high}'
        unit = metadata.get('unit', '')
        raise ConfigurationError(
            f'{where} must be {limits} {unit}'.rstrip() + f', got {shown(value)}.'
        )
