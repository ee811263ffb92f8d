# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, read within bounds, and nothing in them is executed.

Whatever a file holds, reading it ends soon, in a value or in one sentence: regular files of a
limited size, UTF-8, plain values, no name twice, limited depth, finite numbers of 64 bits.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deft_core.errors import ConfigurationError, RecordingError, shown

LARGEST_DOCUMENT: Final = 1_000_000  # [byte] of a text that people read and edit
LARGEST_RECORDING: Final = 50_000_000  # [byte] of numbers that a program wrote
_DEEPEST: Final = 32  # lists and mappings within one another
_MOST_VALUES: Final = 1_000_000
_MOST_EDITED: Final = 50_000  # values of a YAML file
_INTEGERS: Final = range(-(2**63), 2**64)  # of 64 bits, with or without a sign
_LONGEST_NUMBER: Final = 80  # characters
_TOO_DEEP: Final = f'it is nested more than {_DEEPEST} deep'


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file that after a kill or a power cut is the old one or the new one, never a part.

    Missing folders are made. What a kill leaves behind is `<name>.part`, which the next write
    replaces: a file has one writer.

    Raises:
        RecordingError: It cannot be written.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open('wb') as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RecordingError(
            f'Cannot write {path}: {error.strerror}; is the disk full, may you write there?'
        ) from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_file(path: Path) -> bool:
    """Whether a regular file has this name; False also for one that is too long for any."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_bytes(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> bytes:
    """Content of a regular file; what never ends (a pipe, a device) is not waited for.

    Raises:
        ConfigurationError: The file is missing, cannot be read, is none or is larger than allowed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, 'rb') as stream:  # noqa: PTH123 (of a descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f'{path} is no regular file; name one.')
            if status.st_size > maximum_bytes:
                raise ConfigurationError(
                    f'{path} is larger than {maximum_bytes / 1e6:g} MB, which no such file is; '
                    'name another one.'
                )
            data = stream.read(status.st_size + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no system takes
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f'Cannot read {path}: {reason}; correct the name or put the file there.'
        ) from error
    if len(data) != status.st_size:
        raise ConfigurationError(f'{path} changed while it was read; try again.')
    return data


def read_text(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> str:
    """Content of a UTF-8 file; raises ConfigurationError as `read_bytes`, and where it is none."""
    try:
        return read_bytes(path, maximum_bytes).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f'{path} is not UTF-8 text ({error}); save it as such.'
        ) from error


def read_json(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> dict[str, Any]:
    """Mapping at the top of a JSON file; raises ConfigurationError as `parse_json`."""
    return _top(parse_json(read_text(path, maximum_bytes), str(path)), path)


def read_yaml(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> dict[str, Any]:
    """Mapping at the top of a YAML file; raises ConfigurationError as `parse_yaml`."""
    return _top(parse_yaml(read_text(path, maximum_bytes), str(path)), path)


def parse_json(text: str, where: str) -> Any:
    """Value of a JSON text; `where` it stands begins every refusal.

    Raises:
        ConfigurationError: It is no JSON, too much or nested too deeply; a name stands twice; a
            number is not finite or has more than 64 bits.
    """
    try:
        _limit_values(text, ',[{')
        document = json.loads(
            text,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
            object_pairs_hook=_mapping,
        )
        _limit_depth(document)
        if '\\u' in text:  # half a character outside of the basic plane could not be printed
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f'{where}, line {error.lineno}, is not JSON ({error.msg}); correct it there or '
            'put the original back.'
        ) from error
    except (ValueError, RecursionError) as error:
        reason = _TOO_DEEP if isinstance(error, RecursionError) else error
        raise ConfigurationError(f'{where}: {reason}; put the original back.') from error
    return document


def parse_yaml(text: str, where: str) -> Any:
    """Value of a YAML text of plain values; `where` it stands begins every refusal.

    It is made from the events of the parser, so that nothing is expanded, repeated or executed.

    Raises:
        ConfigurationError: It is no YAML or nested too deeply; it has anchors, tags, merge keys,
            dates without quotes or more than one document; a name stands twice or is no text; a
            number is not finite or has more than 64 bits.
    """
    line, count = 1, 0
    unfinished: list[list[Any]] = [[]]  # the document, and the lists and mappings open in it
    try:
        loader = yaml.CSafeLoader(text)
        while not loader.check_event(yaml.StreamEndEvent):
            event: Any = loader.get_event()
            line = event.start_mark.line + 1
            count += 1
            if count > _MOST_EDITED:
                raise ValueError(f'it holds more than {_MOST_EDITED} values')
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                raise ValueError('anchors (&) and aliases (*) are not allowed')
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
                raise ValueError(f'the tag {shown(event.tag)} is not allowed')
            if isinstance(event, yaml.ScalarEvent):
                unfinished[-1].append(_yaml_scalar(loader, event))
            elif isinstance(event, yaml.CollectionStartEvent):
                unfinished.append([])
                if len(unfinished) > _DEEPEST + 1:
                    raise ValueError(_TOO_DEEP)
            elif isinstance(event, yaml.CollectionEndEvent):
                items = unfinished.pop()
                listed = isinstance(event, yaml.SequenceEndEvent)
                value = items if listed else _mapping(zip(items[::2], items[1::2], strict=True))
                unfinished[-1].append(value)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, 'problem_mark', None)
        line = line if mark is None else mark.line + 1
        reason = str(getattr(error, 'problem', None) or error).splitlines()[0]
        raise ConfigurationError(
            f'{where}, line {line}, is not plain YAML ({reason}); correct it there.'
        ) from error
    if len(unfinished[0]) > 1:
        raise ConfigurationError(f'{where} holds more than one document; keep one.')
    return unfinished[0][0] if unfinished[0] else None


def _yaml_scalar(loader: Any, event: yaml.ScalarEvent) -> Any:
    """Value of a scalar by the rules of YAML 1.1, of which dates and `<<` are none here."""
    text = event.value
    tag = str(loader.resolve(yaml.ScalarNode, text, event.implicit))
    kind = tag.rpartition(':')[2]
    if kind == 'str':
        return text
    if kind not in ('null', 'bool', 'int', 'float'):
        raise ValueError(f'{shown(text)} is no plain value; put it in quotes')
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f'the number {shown(text)} is too long')
    try:
        value = loader.yaml_constructors[tag](loader, yaml.ScalarNode(tag, text))
    except ValueError as error:
        raise ValueError(f'{shown(text)} is no number; put it in quotes') from error
    if kind == 'int':
        return _integer(str(value))
    return _finite(str(value)) if kind == 'float' else value


def read_table(path: Path, columns: Sequence[str]) -> list[list[float]]:
    """Numbers of some columns of a CSV file, row by row.

    Raises:
        ConfigurationError: The file cannot be read, lacks a column, or holds something else.
    """
    text = read_text(path, LARGEST_RECORDING)
    rows = csv.reader(io.StringIO(text, newline=''), strict=True)
    try:
        _limit_values(text, ',\n\r')
        heading = next(rows, [])
        missing = [name for name in columns if heading.count(name) != 1]
        if missing:
            raise ValueError(
                f'the first line must name {", ".join(columns)} once each, not so '
                f'{", ".join(missing)}'
            )
        places = [heading.index(name) for name in columns]
        return [[_finite(row[place]) for place in places] for row in rows if row]
    except (csv.Error, ValueError, IndexError) as error:
        reason = 'the row is too short' if isinstance(error, IndexError) else error
        raise ConfigurationError(
            f'{path}, line {max(1, rows.line_num)}: {reason}; correct it there.'
        ) from error


def _integer(text: str) -> int:
    value = int(text) if len(text) <= _LONGEST_NUMBER else None
    if value is None or value not in _INTEGERS:
        raise ValueError(f'the number {shown(text)} has more than 64 bits')
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{shown(text)} is not a finite number')
    return value


def _mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise ValueError(f'the name {shown(name)} is no text; put it in quotes')
        if name in mapping:
            raise ValueError(f'the name {shown(name)} stands there twice')
        mapping[name] = value
    return mapping


def _limit_values(text: str, separators: str) -> None:
    """Refuse what would need far more memory than its text, before it is unpacked."""
    if sum(map(text.count, separators)) > _MOST_VALUES:
        raise ValueError(f'it holds more than {_MOST_VALUES} values')


def _limit_depth(document: Any) -> None:
    parts: list[Iterable[Any]] = [[document]]
    for _ in range(_DEEPEST + 1):
        nested = [v for part in parts for v in part if isinstance(v, dict | list)]
        parts = [v.values() if isinstance(v, dict) else v for v in nested]
    if parts:
        raise ValueError(_TOO_DEEP)


def _top(document: Any, path: Path) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ConfigurationError(
            f'{path} must hold a mapping of names to values, got a {type(document).__name__}.'
        )
    return document
