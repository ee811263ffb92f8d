# SPDX-License-Identifier: Apache-2.0
"""Substitutions and types; the expected values were observed with upstream launch."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_bringup.launching.document import Element
from deft_bringup.launching.substitutions import Scope, parameter, substitute, truth
from deft_core.errors import ConfigurationError

PLACE = Element('param', {'name': 'p'}, Path('some.launch.xml'), 7)
SCOPE = Scope(
    {'task': 'pick_cup', 'empty': '', 'key': 'task', 'words': 'x y', 'one': '1'},
    {'HOME': '/home/someone'},
)


def value_of(text: str) -> str:
    return substitute(text, SCOPE, PLACE)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', ''),
        ('plain text', 'plain text'),
        ('$(var task)', 'pick_cup'),
        ('a$(var task)/b $(var task)', 'apick_cup/b pick_cup'),
        ('$(var empty)', ''),
        ('$(var nothing fallback)', 'fallback'),
        ("$(var nothing '')", ''),
        ('$(var nothing "two words")', 'two words'),
        ("$(var nothing 'in $(var task) out')", 'in pick_cup out'),
        ('$(var nothing $(env HOME)/x)', '/home/someone/x'),
        ('$(var $(var key))', 'pick_cup'),
        ('$(env HOME)', '/home/someone'),
        ('$(env NOTHING else)', 'else'),
        ('$(env HOME else)', '/home/someone'),
        ('costs 5$ each', 'costs 5$ each'),
        ('(brackets) stay', '(brackets) stay'),
        ('$(equals $(var task) pick_cup)', 'true'),
        ('$(equals $(var task) Pick_cup)', 'false'),
        ('$(equals True 1)', 'true'),
        ('$(equals 1.0 1e0)', 'true'),
        # '' is the text [] there; only variables that are empty are equal to an empty one.
        ("$(equals $(var empty) '')", 'false'),
        ("$(equals '$(var empty)' '')", 'false'),
        ('$(equals "" $(var empty))', 'false'),
        ("$(equals $(var empty)$(var empty) '')", 'false'),
        ("$(equals '' '')", 'true'),
        ("$(equals '' [])", 'true'),
        ("$(equals $(var empty) $(env NOTHING ''))", 'true'),
        ('$(equals x$(var empty) x)', 'true'),
        ('$(equals xarm_api xarm_api)', 'true'),
        ("$(equals '$(var words)' 'x y')", 'true'),
        ('$(equals 0 false)', 'true'),
        ('$(equals 0.0 false)', 'false'),
        ("$(equals ' 1' 1)", 'true'),
        ("$(equals 'true ' true)", 'false'),
        ('$(equals 1_0 10)', 'true'),
        ('$(equals inf Infinity)', 'true'),
        ('$(equals nan nan)', 'false'),
        ('$(var task $(var nothing))', 'pick_cup'),  # only $(var) looks at a default when needed
    ],
)
def test_value(text: str, expected: str) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('$(var tsak)', "launch configuration 'tsak' does not exist; did you mean 'task'?"),
        ('$(env NOTHING)', "environment variable 'NOTHING' does not exist"),
        ('$(eval 1 + 1)', r'the substitution \$\(eval\) is not supported'),
        ('$(vra task)', r"\$\(vra\) is not supported; did you mean 'var'"),
        ('$(var)', r'\$\(var\) cannot take 0 argument'),
        ('$(equals a b c)', r'\$\(equals\) cannot take 3 argument'),
        ('$(var task', 'expected a space or a closing bracket at column 11'),
        ('$(var  task)', 'expected an argument at column 7'),
        ('$( var task)', 'a substitution needs a name at column 3'),
        ("$(var 'task)", 'missing closing quote'),
        ('$(var task $(equals a))', r'\$\(equals\) cannot take 1 argument'),
        ('$(var nothing $(var tsak))', "'tsak' does not exist"),
        ('$(env HOME $(env NOTHING))', "'NOTHING' does not exist"),
        ("$(var 'task'x)", 'expected a space or a closing bracket'),
        (r'\$(var task)', 'backslash escapes are not supported'),
        ('$(find-pkg-share no_such_package)', "The package 'no_such_package' is not installed"),
    ],
)
def test_refusal_names_file_line_and_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f'^some.launch.xml:7: .*{reason}'):
        value_of(text)


def test_package_share(prefix: Path) -> None:
    assert value_of('$(find-pkg-share robot)/config') == f'{prefix}/share/robot/config'


@given(st.text(st.characters(exclude_characters='\\$'), max_size=40))
def test_text_without_dollar_stays_as_it_is(text: str) -> None:
    assert value_of(text) == text


@given(st.text('$()\'" abvr', max_size=20))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(value_of(text), str)


def parameter_of(value: str, kind: str | None) -> Any:
    attributes = {'name': 'p', 'value': value} | ({} if kind is None else {'type': kind})
    return parameter(Element('param', attributes, Path('some.launch.xml'), 7), SCOPE)


@pytest.mark.parametrize(
    ('value', 'kind', 'expected'),
    [
        ('5', None, 5),
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
        ('', 'str', ''),
        ('pick_cup', None, 'pick_cup'),
        ("'5'", None, '5'),
        # YAML is read before substitutions are made, and again after them.
        ("'$(var one)'", None, 1),
        ("'$(equals $(var one) 1)'", 'bool', True),
        ("'$(var one)'", 'str', "'1'"),
        ('$(var one)', None, 1),
        ('$(var empty)', None, ''),
        ('$(var words)', None, 'x y'),
        ("$(var nothing '0x10')", None, 16),
        ('1_000', 'int', 1000),
        ('010', None, 8),
        ('010', 'int', 10),
        # A text that is no YAML stays as it is where nothing was substituted.
        ('[', None, '['),
        ('@x', None, '@x'),
        ('2026-13-45', None, '2026-13-45'),
    ],
)
def test_type(value: str, kind: str | None, expected: object) -> None:
    result = parameter_of(value, kind)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ('value', 'kind', 'reason'),
    [
        ('five', 'int', "the value of 'p' must be a int, got 'five'"),
        ('2.5', 'int', 'must be a int'),
        ('cup', 'bool', 'must be a bool'),
        ('2', 'bool', 'must be a bool'),
        ('', 'bool', 'must be a bool'),
        ('$(var task)', 'bool', "must be a bool, got 'pick_cup'"),
        ('5', 'integer', "unknown parameter type 'integer'; did you mean 'int'"),
        ('null', None, 'must be a plain value'),
        ('{a: 1}', None, 'must be a plain value'),
        ('[1, 2]', None, 'must be a plain value'),
        ("$(var nothing '[')", None, 'must be a plain value'),
    ],
)
def test_wrong_type(value: str, kind: str | None, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r'^some\.launch\.xml:7: ') as caught:
        parameter_of(value, kind)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [('true', True), (' True ', True), ('1', True), ('FALSE', False), ('0', False)],
)
def test_condition(text: str, expected: bool) -> None:
    assert truth(text, PLACE) is expected


@pytest.mark.parametrize('text', ['', 'yes', 'on', '2', 'sim'])
def test_condition_is_never_guessed(text: str) -> None:
    with pytest.raises(ConfigurationError, match='true, 1, false or 0'):
        truth(text, PLACE)
