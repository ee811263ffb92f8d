# SPDX-License-Identifier: Apache-2.0
"""Substitutions and types; the expected values were observed with upstream launch."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_bringup.launching.document import Element
from deft_bringup.launching.substitutions import Scope, substitute, truth, typed
from deft_core.errors import ConfigurationError

PLACE = Element('param', {'name': 'p'}, Path('some.launch.xml'), 7)
SCOPE = Scope({'task': 'pick_cup', 'empty': '', 'key': 'task'}, {'HOME': '/home/someone'})


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
        ("$(equals '' '')", 'true'),
        ("$(equals '$(var empty)' '')", 'true'),
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
    ],
)
def test_type(value: str, kind: str | None, expected: object) -> None:
    result = typed(value, kind, PLACE)
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
        ('5', 'integer', "unknown parameter type 'integer'; did you mean 'int'"),
        ('null', None, 'must be a plain value'),
        ('{a: 1}', None, 'must be a plain value'),
        ('[1, 2]', None, 'must be a plain value'),
        ('[', None, 'must be a plain value'),
    ],
)
def test_wrong_type(value: str, kind: str | None, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r'^some\.launch\.xml:7: ') as caught:
        typed(value, kind, PLACE)
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
