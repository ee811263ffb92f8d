# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_bringup.launch_xml.document import Element
from deft_bringup.launch_xml.substitutions import Scope, describe, evaluate, parse
from deft_core.errors import ConfigurationError

PLACE = Element('node', {}, (), Path('some.launch.xml'), 7)
SCOPE = Scope(
    {'task': 'pick_cup', 'empty': '', 'key': 'task'}, {'HOME': '/home/someone'}, Path('/launch')
)


def value_of(text: str) -> str:
    return evaluate(parse(text, PLACE), SCOPE, PLACE)


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
        ('$(dirname)/b.xml', '/launch/b.xml'),
        ('costs 5$ each', 'costs 5$ each'),
        ('(brackets) stay', '(brackets) stay'),
        ('$(equals $(var task) pick_cup)', 'true'),
        ('$(equals $(var task) Pick_cup)', 'false'),
        ('$(equals True 1)', 'true'),
        ('$(equals 1.0 1e0)', 'true'),
        ("$(equals '' '')", 'true'),
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
        ('$(var)', r'\$\(var\) takes 1 or 2 argument\(s\), got 0'),
        ('$(dirname x)', r'\$\(dirname\) takes 0 argument\(s\), got 1'),
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


def test_dirname_needs_a_file() -> None:
    scope = Scope({}, {}, None)
    with pytest.raises(ConfigurationError, match='dirname'):
        evaluate(parse('$(dirname)', PLACE), scope, PLACE)


@given(st.text(st.characters(exclude_characters='\\$'), max_size=40))
def test_text_without_dollar_stays_as_it_is(text: str) -> None:
    assert value_of(text) == text


@given(st.text('$()\'" abvr', max_size=20))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(value_of(text), str)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('30', "'30'"),
        ('$(var task)', "LaunchConfig('task')"),
        ('$(env HOME)/runs', "EnvVar('HOME') + '/runs'"),
        ('$(find-pkg-share robot)', "FindPackageShare(pkg='robot')"),
        ('$(dirname)', 'ThisLaunchFileDir()'),
    ],
)
def test_description(text: str, expected: str) -> None:
    assert describe(parse(text, PLACE)) == expected
