# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, read up to a size, and nothing in them is executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import yaml

from deft_core.errors import ConfigurationError, RecordingError

LARGEST_DOCUMENT: Final = 1_000_000  # [byte] of a text that people read and edit


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


def read_bytes(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> bytes:
    """Content of a file.

    Raises:
        ConfigurationError: The file is missing, cannot be read or is larger than allowed.
    """
    try:
        with path.open('rb') as stream:
            data = stream.read(maximum_bytes + 1)
    except OSError as error:
        raise ConfigurationError(
            f'Cannot read {path}: {error.strerror}; correct the name or put the file there.'
        ) from error
    if len(data) > maximum_bytes:
        raise ConfigurationError(
            f'{path} is larger than {maximum_bytes / 1e6:g} MB, which no such file is; '
            'name another one.'
        )
    return data


def read_text(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> str:
    """Content of a UTF-8 file; raises ConfigurationError as `read_bytes`, and where it is none."""
    try:
        return read_bytes(path, maximum_bytes).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f'{path} is not UTF-8 text ({error}); save it as such.'
        ) from error


def read_json(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> dict[str, Any]:
    """Mapping at the top of a JSON file; raises ConfigurationError where there is none."""
    text = read_text(path, maximum_bytes)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f'{path}, line {error.lineno}, is not JSON ({error.msg}); correct it there or '
            'put the original back.'
        ) from error
    except RecursionError as error:
        raise ConfigurationError(f'{path} is nested too deeply; put the original back.') from error
    return _mapping(document, path)


def read_yaml(path: Path, maximum_bytes: int = LARGEST_DOCUMENT) -> dict[str, Any]:
    """Mapping at the top of a YAML file; raises ConfigurationError where there is none.

    Tags that would build objects are refused.
    """
    text = read_text(path, maximum_bytes)
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:  # its text names line and column
        raise ConfigurationError(f'{path} is not plain YAML, correct it: {error}') from error
    except RecursionError as error:
        raise ConfigurationError(f'{path} is nested too deeply; put the original back.') from error
    return _mapping(document, path)


def _mapping(document: Any, path: Path) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ConfigurationError(
            f'{path} must hold a mapping of names to values, got a {type(document).__name__}.'
        )
    return document
