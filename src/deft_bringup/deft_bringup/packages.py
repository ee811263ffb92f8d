# SPDX-License-Identifier: Apache-2.0
"""Where installed ROS packages and their executables are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.files import is_file

_REMEDY: Final = 'build the workspace with `make setup`'


def share_directory(package: str) -> Path:
    """`<prefix>/share/<package>` of an installed package."""
    return _prefix(package) / 'share' / package


def _prefix(package: str) -> Path:
    # Imported here because `deft --help` must not wait for it.
    from ament_index_python.packages import (  # noqa: PLC0415
        PackageNotFoundError,
        get_package_prefix,
    )

    try:
        return Path(get_package_prefix(package))
    except (PackageNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f'The package {package!r} is not installed: {_REMEDY}, or install it.'
        ) from error


def executable_path(package: str, executable: str) -> Path:
    """`<prefix>/lib/<package>/<executable>`."""
    folder = _prefix(package) / 'lib' / package
    path = folder / executable
    if '/' in executable or not is_file(path):
        known = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        hint = nearest(executable, known) if known else f'{_REMEDY}.'
        raise ConfigurationError(
            f'The package {package!r} has no executable {executable!r}; {hint}'
        )
    if not os.access(path, os.X_OK):
        raise ConfigurationError(f'{path} is not executable; {_REMEDY}.')
    return path
