# SPDX-License-Identifier: Apache-2.0
"""Message definitions without ROS: from the .msg text that the packages install."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from deft_core.errors import ConfigurationError

# Packages whose definitions the Jazzy store of rosbags does not hold.
OWN_PACKAGES: Final = ('deft_msgs',)


def definition_directory(package: str) -> Path:
    """Folder of the .msg files of a package: the installed share folder, else the source tree.

    Raises:
        ConfigurationError: The package is neither installed nor beside this one.
    """
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        installed = Path(prefix) / 'share' / package / 'msg'
        if prefix and installed.is_dir():
            return installed
    for parent in Path(__file__).resolve().parents:
        source = parent / 'src' / package / 'msg'
        if source.is_dir():
            return source
    raise ConfigurationError(
        f'no message definitions of {package} found: build the workspace and source its setup file'
    )


def message_typestore() -> Typestore:
    """Type store with all ROS 2 Jazzy types and the project's own.

    Raises:
        ConfigurationError: A definition is missing or cannot be parsed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for package in OWN_PACKAGES:
        types = {}
        for path in sorted(definition_directory(package).glob('*.msg')):
            try:
                text = path.read_text(encoding='utf-8')
                types.update(get_types_from_msg(text, f'{package}/msg/{path.stem}'))
            except (OSError, UnicodeDecodeError, TypesysError) as error:
                raise ConfigurationError(f'{path} is not a message definition: {error}') from error
        store.register(types)
    return store
