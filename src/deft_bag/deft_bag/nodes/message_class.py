# SPDX-License-Identifier: Apache-2.0
"""A message class by the name of its type."""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from deft_core.errors import ConfigurationError

# Bags of early ROS 2 name a type without the folder.
_TYPE: Final = re.compile(r'([a-z][a-z0-9_]*)/(?:msg/)?([A-Z][A-Za-z0-9]*)')


def message_class(type_name: str) -> Any:
    """Import the class of a message type such as 'sensor_msgs/msg/JointState'.

    Raises:
        ConfigurationError: There is no such type on this machine.
    """
    match = _TYPE.fullmatch(type_name)
    try:
        if match is None:
            raise ImportError('not the name of a message type')
        return getattr(importlib.import_module(f'{match[1]}.msg'), match[2])
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f'no message type {type_name[:200]!r} ({error})') from error
