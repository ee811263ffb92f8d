# SPDX-License-Identifier: Apache-2.0
"""Types of parameter values; the expected values were observed with upstream launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft_bringup.launch_xml.document import Element
from deft_bringup.launch_xml.substitutions import Scope
from deft_bringup.launch_xml.values import attribute_number, parse_value, truth
from deft_core.errors import ConfigurationError

SCOPE = Scope(
    {'n': '5', 'x': '0.5', 'yes': 'true', 'name': 'cup', 'empty': '', 'list': '[1, 2]'}, {}
)


def parameter(value: str, kind: str | None = None) -> Element:
    attributes = {'name': 'p', 'value': value} | ({} if kind is None else {'type': kind})
    return Element('param', attributes, (), Path('some.launch.xml'), 3)


def value_of(value: str, kind: str | None = None) -> Any:
    return parse_value(parameter(value, kind)).evaluate(SCOPE)


@pytest.mark.parametrize(
    ('value', 'kind', 'expected'),
    [
        ('5', None, 5),
        ('5', 'yaml', 5),
        ('5', 'float', 5.0),
        ('5', 'str', '5'),
        ('0.5', None, 0.5),
        ('1e-3', None, '1e-3'),  # YAML 1.1 wants a dot in a float
        ('1e-3', 'float', 1e-3),
        ('true', None, True),
        ('true', 'str', 'true'),
        ('1', 'bool', True),
        ('0', 'bool', False),
        ('on', 'bool', True),
        ('', None, ''),
        ('pick_cup', None, 'pick_cup'),
        ("'5'", None, '5'),
        ('[1, 2]', None, [1, 2]),
        ('[1.0, 2.0]', 'list_of_float', [1.0, 2.0]),
        ('[a, b]', None, ['a', 'b']),
        ('$(var n)', None, 5),
        ('$(var n)', 'int', 5),
        ('$(var n)', 'float', 5.0),
        ('$(var n)', 'str', '5'),
        ('$(var n)0', None, 50),
        ('$(var x)', None, 0.5),
        ('$(var yes)', 'bool', True),
        ('$(var empty)', None, ''),
        ('$(var list)', None, [1, 2]),
        ('[$(var n), 2]', None, [5, 2]),
        ('[$(var n), 2]', 'list_of_int', [5, 2]),
        ('/camera/$(var name)', None, '/camera/cup'),
    ],
)
def test_value(value: str, kind: str | None, expected: object) -> None:
    result = value_of(value, kind)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ('value', 'kind', 'reason'),
    [
        ('five', 'int', "'five' is not of the type int"),
        ('$(var name)', 'int', "'cup' is not of the type int"),
        ('$(var name)', 'bool', "'cup' is not of the type bool"),
        ('2', 'bool', "'2' is not of the type bool"),
        ('5', 'integer', "unknown parameter type 'integer'; did you mean 'int'"),
        ('null', None, 'neither a number'),
        ('{a: 1}', None, 'neither a number'),
        ('[1, 2.5]', None, 'must hold one type'),
        ('[1, a]', None, 'must hold one type'),
        ('[$(var name), 2]', None, 'must hold one type'),
        ('[[1], [2]]', None, 'neither a number'),
        ('$(var list)', 'list_of_int', 'not of the type list_of_int'),
        ('5', 'list_of_int', 'not of the type list_of_int'),
        ('$(var missing)', None, "launch configuration 'missing' does not exist"),
    ],
)
def test_refusal(value: str, kind: str | None, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r'^some\.launch\.xml:3: ') as caught:
        value_of(value, kind)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [('true', True), (' True ', True), ('1', True), ('FALSE', False), ('0', False)],
)
def test_condition(text: str, expected: bool) -> None:
    assert truth(text, parameter('')) is expected


@pytest.mark.parametrize('text', ['', 'yes', 'on', '2', 'sim'])
def test_condition_is_never_guessed(text: str) -> None:
    with pytest.raises(ConfigurationError, match='true, 1, false or 0'):
        truth(text, parameter(''))


@pytest.mark.parametrize('text', ['-1', 'nan', 'inf', 'soon'])
def test_pause_must_be_a_finite_time(text: str) -> None:
    element = Element('node', {'respawn_delay': text}, (), Path('f'), 1)
    with pytest.raises(ConfigurationError, match='respawn_delay'):
        attribute_number('respawn_delay', element)
