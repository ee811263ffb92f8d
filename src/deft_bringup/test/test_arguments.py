# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deft_bringup.launch_xml.arguments import (
    check_known,
    declarations,
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


def test_listing_is_that_of_ros2_launch(write: Write) -> None:
    file = write("""
      <arg name="plain"/>
      <arg name="task" default="pick_cup" description="What to do"/>
      <arg name="robot" default="sim"><choice value="sim"/><choice value="hardware"/></arg>
      <group if="true">
        <arg name="factor" default="$(env F 1)" description="Speed."><choice value="1"/></arg>
      </group>""")
    assert listing(declarations(file, {})) == (
        "Arguments (pass arguments as '<name>:=<value>'):\n"
        '\n'
        "    'plain':\n"
        '        no description given\n'
        '\n'
        "    'task':\n"
        '        What to do\n'
        "        (default: 'pick_cup')\n"
        '\n'
        "    'robot':\n"
        "        One of: ['sim', 'hardware']\n"
        "        (default: 'sim')\n"
        '\n'
        "    'factor':*\n"
        "        Speed. Valid choices are: ['1']\n"
        "        (default: EnvVar('F'))\n"
        '\n'
        '* argument(s) which are only used if specific conditions occur'
    )


def test_listing_of_a_file_without_arguments(write: Write) -> None:
    assert listing(declarations(write(''), {})).endswith('\n\n  No arguments.')


def test_arguments_of_includes_belong_to_the_file(write: Write) -> None:
    write('<arg name="inner" default="1"/><arg name="both" default="2"/>', 'other.launch.xml')
    file = write(
        '<arg name="both" default="0"/><include file="$(dirname)/other.launch.xml"/>'
        '<include file="$(var unknown)"/>'
    )
    found = {d.argument.name: d.argument.element.file.name for d in declarations(file, {})}
    assert found == {'both': 'test.launch.xml', 'inner': 'other.launch.xml'}


def test_condition_counts_for_what_it_holds_directly(write: Write) -> None:
    write('<arg name="inner" default="1"/>', 'other.launch.xml')
    file = write(
        '<group if="true"><arg name="a"/><group><arg name="b" if="1"/><arg name="c"/></group>'
        '<include file="$(dirname)/other.launch.xml"/></group>'
    )
    found = {d.argument.name: d.conditional for d in declarations(file, {})}
    assert found == {'a': True, 'b': True, 'c': False, 'inner': False}


def test_file_that_includes_itself_can_be_listed(write: Write) -> None:
    file = write('<arg name="a" default="1"/><include file="$(dirname)/test.launch.xml"/>')
    assert [d.argument.name for d in declarations(file, {})] == ['a']


def test_unknown_argument_names_the_nearest(write: Write) -> None:
    declared = declarations(write('<arg name="episodes" default="30"/>'), {})
    check_known({'episodes': '3'}, declared)
    with pytest.raises(ConfigurationError, match="'episode'; did you mean 'episodes'"):
        check_known({'episode': '3'}, declared)


def test_unknown_argument_of_a_file_without_any(write: Write) -> None:
    with pytest.raises(ConfigurationError, match='the file takes none'):
        check_known({'a': '1'}, declarations(write(''), {}))
