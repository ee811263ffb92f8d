# SPDX-License-Identifier: Apache-2.0
"""The tags of a launch file as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deft_bringup.launch_xml.document import Element, read_document
from deft_bringup.launch_xml.substitutions import Template, parse
from deft_bringup.launch_xml.values import (
    ParameterValue,
    attribute_number,
    attribute_truth,
    parse_value,
)

_CONDITIONS: Final = frozenset({'if', 'unless'})
_PROCESS: Final = frozenset(
    {'output', 'on_exit', 'respawn', 'respawn_delay', 'respawn_max_retries', 'cwd', *_CONDITIONS}
)
_TAGS: Final = frozenset({'arg', 'let', 'group', 'include', 'node', 'executable'})


@dataclass(frozen=True)
class Condition:
    """`if` or, negated, `unless`."""

    predicate: Template
    negated: bool


@dataclass(frozen=True)
class Action:
    """What all tags share."""

    element: Element
    condition: Condition | None


@dataclass(frozen=True)
class Argument(Action):
    """`<arg>` that declares a launch argument; `choices` is empty where anything goes."""

    name: str
    default: Template | None
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Let(Action):
    """`<let>`: sets a launch configuration."""

    name: Template
    value: Template


@dataclass(frozen=True)
class Group(Action):
    """`<group>`: when scoped, what it sets is forgotten at its end."""

    scoped: bool
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Include(Action):
    """`<include>` of another XML launch file, with arguments."""

    file: Template
    arguments: tuple[tuple[Template, Template], ...]


@dataclass(frozen=True)
class ParameterFile:
    """`<param from="..."/>`."""

    file: Template
    element: Element


@dataclass(frozen=True)
class Parameter:
    """`<param name="..." value="..."/>`."""

    name: Template
    value: ParameterValue


@dataclass(frozen=True)
class ProcessOptions:
    """What `<node>` and `<executable>` share.

    Attributes:
        output: Where the output goes: screen, log or both.
        required: `on_exit="shutdown"`: its end ends the whole launch.
        respawn: Start again when it ends; a template because it may be an argument.
        respawn_delay: Pause before that. [s]
        respawn_max_retries: How often; negative means without bound.
        cwd: Working directory.
        environment: Names and values of additional environment variables.
    """

    output: Template
    required: bool
    respawn: Template
    respawn_delay: float
    respawn_max_retries: int
    cwd: Template | None
    environment: tuple[tuple[Template, Template], ...]


@dataclass(frozen=True)
class Executable(Action):
    """`<executable>`: any command."""

    command: Template
    label: Template | None
    options: ProcessOptions


@dataclass(frozen=True)
class Node(Action):
    """`<node>`: a ROS node in a process of its own."""

    package: Template
    executable: Template
    label: Template | None
    name: Template | None
    namespace: Template | None
    arguments: Template | None
    ros_arguments: Template | None
    parameters: tuple[Parameter | ParameterFile, ...]
    remappings: tuple[tuple[Template, Template], ...]
    options: ProcessOptions


def parse_file(file: Path) -> tuple[Action, ...]:
    """Actions of a launch file, in its order.

    Raises:
        ConfigurationError: The file cannot be read or holds something unknown.
    """
    root = read_document(file)
    root.expect(frozenset(), children=_TAGS)
    return tuple(_action(child) for child in root.children)


def _action(element: Element) -> Action:
    if element.tag == 'arg':
        return _argument(element)
    if element.tag == 'let':
        element.expect({'name', 'value'}, _CONDITIONS)
        return Let(
            element, _condition(element), _template('name', element), _template('value', element)
        )
    if element.tag == 'group':
        element.expect(frozenset(), {'scoped', *_CONDITIONS}, _TAGS)
        scoped = attribute_truth('scoped', element, default=True)
        actions = tuple(_action(child) for child in element.children)
        return Group(element, _condition(element), scoped, actions)
    if element.tag == 'include':
        element.expect({'file'}, _CONDITIONS, {'arg'})
        pairs = _pairs(element, 'arg', 'name', 'value')
        return Include(element, _condition(element), _template('file', element), pairs)
    if element.tag == 'executable':
        element.expect({'cmd'}, {'name', *_PROCESS}, {'env'})
        return Executable(
            element,
            _condition(element),
            _template('cmd', element),
            _optional('name', element),
            _options(element),
        )
    return _node(element)


def _argument(element: Element) -> Argument:
    element.expect({'name'}, {'default', 'description', *_CONDITIONS}, {'choice'})
    for child in element.children:
        child.expect({'value'})
    name = element.attributes['name']
    if not name:
        raise element.error('an argument needs a name.')
    choices = tuple(child.attributes['value'] for child in element.children)
    description = element.attributes.get('description')
    # Word for word as upstream, so that --show-args prints the same.
    if description is None:
        description = f'One of: {list(choices)}' if choices else 'no description given'
    elif choices:
        full_stop = '' if description.endswith('.') else '.'
        description += f'{full_stop} Valid choices are: {list(choices)}'
    return Argument(
        element, _condition(element), name, _optional('default', element), description, choices
    )


def _node(element: Element) -> Node:
    element.expect(
        {'pkg', 'exec'},
        {'name', 'namespace', 'exec_name', 'args', 'ros_args', *_PROCESS},
        {'param', 'remap', 'env'},
    )
    return Node(
        element,
        _condition(element),
        package=_template('pkg', element),
        executable=_template('exec', element),
        label=_optional('exec_name', element),
        name=_optional('name', element),
        namespace=_optional('namespace', element),
        arguments=_optional('args', element),
        ros_arguments=_optional('ros_args', element),
        parameters=tuple(_parameter(child) for child in element.named('param')),
        remappings=_pairs(element, 'remap', 'from', 'to'),
        options=_options(element),
    )


def _parameter(element: Element) -> Parameter | ParameterFile:
    if 'from' in element.attributes:
        element.expect({'from'})
        return ParameterFile(_template('from', element), element)
    element.expect({'name', 'value'}, {'type'})
    return Parameter(_template('name', element), parse_value(element))


def _options(element: Element) -> ProcessOptions:
    on_exit = element.attributes.get('on_exit')
    if on_exit not in (None, 'shutdown'):
        raise element.error(f"on_exit can only be 'shutdown', got {on_exit!r}.")
    retries = element.attributes.get('respawn_max_retries', '-1')
    try:
        respawn_max_retries = int(retries)
    except ValueError as error:
        raise element.error(
            f'respawn_max_retries must be a whole number, got {retries!r}.'
        ) from error
    return ProcessOptions(
        # The defaults are those of upstream, where `log` shows standard error only.
        output=parse(element.attributes.get('output', 'log'), element),
        required=on_exit == 'shutdown',
        respawn=parse(element.attributes.get('respawn', 'false'), element),
        respawn_delay=attribute_number('respawn_delay', element) or 0.0,
        respawn_max_retries=respawn_max_retries,
        cwd=_optional('cwd', element),
        environment=_pairs(element, 'env', 'name', 'value'),
    )


def _condition(element: Element) -> Condition | None:
    if 'if' in element.attributes and 'unless' in element.attributes:
        raise element.error("'if' and 'unless' cannot be used together.")
    for name in ('if', 'unless'):
        if name in element.attributes:
            return Condition(_template(name, element), negated=name == 'unless')
    return None


def _template(name: str, element: Element) -> Template:
    return parse(element.attributes[name], element)


def _optional(name: str, element: Element) -> Template | None:
    return _template(name, element) if name in element.attributes else None


def _pairs(
    element: Element, tag: str, first: str, second: str
) -> tuple[tuple[Template, Template], ...]:
    children = element.named(tag)
    for child in children:
        child.expect({first, second})
    return tuple((_template(first, child), _template(second, child)) for child in children)
