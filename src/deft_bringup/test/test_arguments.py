# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deft_bringup.launching.interpreter import (
    check_known,
    declared_arguments,
    listing,
    parse_assignments,
)
from deft_core.errors import ConfigurationError

Write = Callable[..., Path]


def test_assignments_last_wins_and_values_may_hold_anything() -> None:
    texts = ['a:=1', 'b:=x:=y', 'a:=2', 'path:=/tmp/a b']
    assert parse_assignments(texts) == {'a': '2', 'b': 'x:=y', 'path': '/tmp/a b'}


@pytest.mark.parametrize('text', ['a', 'a=1', ':=1', 'a:=', ''])
def test_malformed_assignment(text: str) -> None:
    with pytest.raises(ConfigurationError, match='expected the form <name>:=<value>'):
        parse_assignments([text])


def test_listing(write: Write) -> None:
    file = write("""
      <arg name="plain"/>
      <arg name="task" default="pick_cup" description="What to do
                                                       today"/>
      <group if="true">
        <arg name="robot" default="$(env R sim)" description="Which robot">
          <choice value="sim"/><choice value="hardware"/>
        </arg>
      </group>""")
    assert listing(declared_arguments(file, {})) == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        '\n'
        "    'plain':\n"
        '        no description given\n'
        '\n'
        "    'task':\n"
        '        What to do today\n'
        "        (default: 'pick_cup')\n"
        '\n'
        "    'robot':\n"
        '        Which robot\n'
        "        one of: ['sim', 'hardware']\n"
        "        (default: '$(env R sim)')"
    )


def test_listing_of_a_file_without_arguments(write: Write) -> None:
    assert listing(declared_arguments(write(''), {})).endswith('\n\n  No arguments.')


def test_arguments_of_includes_belong_to_the_file(write: Write) -> None:
    other = write('<arg name="inner" default="1"/><arg name="both" default="2"/>', 'other.xml')
    file = write(
        f'<arg name="both" default="0"/><include file="{other}"/><include file="$(var unknown)"/>'
    )
    found = {name: element.file.name for name, element in declared_arguments(file, {}).items()}
    assert found == {'both': 'test.launch.xml', 'inner': 'other.xml'}


def test_file_that_includes_itself_can_be_listed(write: Write, tmp_path: Path) -> None:
    file = write(f'<arg name="a" default="1"/><include file="{tmp_path}/test.launch.xml"/>')
    assert list(declared_arguments(file, {})) == ['a']


def test_unknown_argument_names_the_nearest(write: Write) -> None:
    declared = declared_arguments(write('<arg name="episodes" default="30"/>'), {})
    check_known({'episodes': '3'}, declared)
    with pytest.raises(ConfigurationError, match="'episode'; did you mean 'episodes'"):
        check_known({'episode': '3'}, declared)


def test_unknown_argument_of_a_file_without_any(write: Write) -> None:
    with pytest.raises(ConfigurationError, match='the file takes none'):
        check_known({'a': '1'}, declared_arguments(write(''), {}))
