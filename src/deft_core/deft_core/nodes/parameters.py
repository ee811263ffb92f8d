# SPDX-License-Identifier: Apache-2.0
"""A frozen dataclass is the parameter list of a node.

Field metadata: `doc` (text), `unit`, `minimum`, `maximum`. All parameters are read-only at run
time; a parameter that nobody declares is refused, since ROS would ignore it silently.
"""

from __future__ import annotations

import dataclasses
import typing
from array import array
from typing import Any, Final, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from deft_core.configuration import build, nearest
from deft_core.errors import ConfigurationError

T = TypeVar('T')
_ALWAYS_DECLARED: Final = frozenset({'use_sim_time', 'start_type_description_service'})
_TYPES: Final[dict[Any, Parameter.Type]] = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
    tuple[int, ...]: Parameter.Type.INTEGER_ARRAY,
}


def declare_parameters(node: Node, kind: type[T]) -> T:
    """Declare a parameter for every field of a dataclass of plain values and read the values.

    Raises:
        ConfigurationError: A parameter is unknown, missing, of the wrong type or out of range.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    where = f'parameters of node {node.get_name()}'
    for name in node._parameter_overrides:
        if name not in fields and name not in _ALWAYS_DECLARED:
            raise ConfigurationError(
                f'{where}: unknown parameter {name!r}; {nearest(name, fields)}'
            )
    values: dict[str, Any] = {}
    for name in fields:
        override = node._parameter_overrides.get(name)
        if override is not None:
            value = override.value
            values[name] = list(value) if isinstance(value, array) else value
    instance = build(kind, values, where)
    for name, field in fields.items():
        value = getattr(instance, name)
        unit = field.metadata.get('unit')
        description = field.metadata.get('doc', '') + (f' [{unit}]' if unit else '')
        node.declare_parameter(
            name,
            list(value) if isinstance(value, tuple) else value,
            ParameterDescriptor(
                type=_TYPES[hints[name]].value, read_only=True, description=description
            ),
            ignore_override=True,
        )
    return instance
