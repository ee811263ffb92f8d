# SPDX-License-Identifier: Apache-2.0
"""What the tags do; scoping as in upstream launch of ROS 2 Jazzy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deft_bringup.process import ProcessPlan
from deft_core.errors import ConfigurationError

Interpret = Callable[..., tuple[ProcessPlan, ...]]
Write = Callable[..., Path]


def words(plans: tuple[ProcessPlan, ...]) -> list[str]:
    """The second words of all commands: what `echo` would say."""
    return [plan.command[1] for plan in plans]


def parameters(plan: ProcessPlan) -> list[dict[str, Any]]:
    command = plan.command
    files = [command[i + 1] for i, word in enumerate(command) if word == '--params-file']
    return [yaml.safe_load(Path(file).read_text()) for file in files]


def test_argument_default_and_value(interpret: Interpret) -> None:
    body = '<arg name="a" default="one"/><executable cmd="echo $(var a)"/>'
    assert words(interpret(body)) == ['one']
    assert words(interpret(body, a='two')) == ['two']


def test_default_may_use_an_earlier_argument(interpret: Interpret) -> None:
    body = '<arg name="a" default="x"/><arg name="b" default="$(var a)y"/>'
    assert words(interpret(body + '<executable cmd="echo $(var b)"/>')) == ['xy']


def test_second_declaration_changes_nothing(interpret: Interpret) -> None:
    body = '<arg name="a" default="x"/><arg name="a" default="y"/>'
    assert words(interpret(body + '<executable cmd="echo $(var a)"/>')) == ['x']


def test_missing_argument(interpret: Interpret) -> None:
    body = '<arg name="run" description="folder of the run"/>'
    with pytest.raises(ConfigurationError, match=r"'run' is required \(folder of the run\)"):
        interpret(body)


def test_choices(interpret: Interpret) -> None:
    body = (
        '<arg name="a" default="sim"><choice value="sim"/><choice value="real"/></arg>\n'
        '<executable cmd="echo $(var a)"/>'
    )
    assert words(interpret(body, a='real')) == ['real']
    with pytest.raises(ConfigurationError, match=r":2: .*'a' cannot be 'reel'.*'real'"):
        interpret(body, a='reel')


def test_let_sets_and_overwrites(interpret: Interpret) -> None:
    body = '<arg name="a" default="x"/><let name="a" value="$(var a)y"/>'
    assert words(interpret(body + '<executable cmd="echo $(var a)"/>')) == ['xy']


@pytest.mark.parametrize(('attribute', 'expected'), [('', 'outer'), ('scoped="false"', 'inner')])
def test_group_scope(interpret: Interpret, attribute: str, expected: str) -> None:
    body = f"""
      <let name="a" value="outer"/>
      <group {attribute}>
        <let name="a" value="inner"/>
        <executable cmd="echo $(var a)"/>
      </group>
      <executable cmd="echo $(var a)"/>"""
    assert words(interpret(body)) == ['inner', expected]


def test_argument_declared_in_a_group_is_forgotten(interpret: Interpret) -> None:
    body = '<group><arg name="a" default="x"/></group><executable cmd="echo $(var a)"/>'
    with pytest.raises(ConfigurationError, match="'a' does not exist"):
        interpret(body)


@pytest.mark.parametrize(
    ('condition', 'runs'),
    [
        ('if="true"', True),
        ('if="0"', False),
        ('unless="true"', False),
        ('unless="False"', True),
        ('if="$(equals $(var robot) sim)"', True),
        ('unless="$(equals $(var robot) sim)"', False),
    ],
)
@pytest.mark.parametrize(
    'tag',
    [
        '<executable cmd="echo" {}/>',
        '<group {}><executable cmd="echo"/></group>',
        '<node pkg="robot" exec="arm" {}/>',
    ],
)
def test_condition(interpret: Interpret, tag: str, condition: str, runs: bool) -> None:
    body = '<arg name="robot" default="sim"/>' + tag.format(condition)
    assert len(interpret(body)) == int(runs)


def test_skipped_group_is_not_evaluated(interpret: Interpret) -> None:
    assert interpret('<group if="false"><let name="a" value="$(var missing)"/></group>') == ()


def test_condition_on_let_and_argument(interpret: Interpret) -> None:
    body = """
      <arg name="a" default="x"/>
      <let name="a" value="y" if="false"/>
      <arg name="b" default="z" unless="true"/>
      <executable cmd="echo $(var a)$(var b -)"/>"""
    assert words(interpret(body)) == ['x-']


def test_include_passes_arguments(interpret: Interpret, write: Write) -> None:
    write('<arg name="a"/><executable cmd="echo $(var a)"/>', 'other.launch.xml')
    body = (
        '<arg name="b" default="x"/>'
        '<include file="$(dirname)/other.launch.xml"><arg name="a" value="$(var b)y"/></include>'
    )
    assert words(interpret(body)) == ['xy']


def test_include_needs_the_argument_even_when_it_is_set_outside(
    interpret: Interpret, write: Write
) -> None:
    write('<arg name="a"/>', 'other.launch.xml')
    include = '<include file="$(dirname)/other.launch.xml"/>'
    with pytest.raises(ConfigurationError, match=r"'a' is required"):
        interpret(f'<let name="a" value="x"/>{include}')
    with pytest.raises(ConfigurationError, match=r":3: .*'a' is required"):
        interpret(f'<let name="a" value="x"/>\n{include}', a='x')


def test_outer_value_wins_over_the_default_of_an_include(
    interpret: Interpret, write: Write
) -> None:
    write('<arg name="a" default="d"/><executable cmd="echo $(var a)"/>', 'other.launch.xml')
    body = '<let name="a" value="x"/><include file="$(dirname)/other.launch.xml"/>'
    assert words(interpret(body)) == ['x']


@pytest.mark.parametrize(('grouped', 'expected'), [(False, 'inner'), (True, 'outer')])
def test_include_leaks_unless_grouped(
    interpret: Interpret, write: Write, grouped: bool, expected: str
) -> None:
    write('<let name="a" value="inner"/>', 'other.launch.xml')
    include = '<include file="$(dirname)/other.launch.xml"/>'
    include = f'<group>{include}</group>' if grouped else include
    body = f'<let name="a" value="outer"/>{include}<executable cmd="echo $(var a)"/>'
    assert words(interpret(body)) == [expected]


def test_dirname_follows_the_last_include(interpret: Interpret, write: Write) -> None:
    folder = write('<executable cmd="echo $(dirname)"/>', 'sub/other.launch.xml').parent
    body = """
      <executable cmd="echo $(dirname)"/>
      <include file="$(dirname)/sub/other.launch.xml"/>
      <executable cmd="echo $(dirname)"/>"""
    # The last one is where upstream surprises: it has not gone back.
    assert words(interpret(body)) == [str(folder.parent), str(folder), str(folder)]


@pytest.mark.parametrize(
    ('file', 'reason'),
    [
        ('/nowhere/other.launch.xml', 'does not exist'),
        ('/nowhere/other.launch.py', 'only XML launch files'),
        ('$(dirname)/test.launch.xml', 'included too deeply'),
    ],
)
def test_include_refusals(interpret: Interpret, file: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f':2: .*{reason}'):
        interpret(f'<include file="{file}"/>')


def test_node_command(interpret: Interpret, prefix: Path) -> None:
    body = """
      <node pkg="robot" exec="arm" name="left" namespace="/side" args="--speed 2 $(env A)"
          ros_args="--log-level debug">
        <remap from="state" to="/arm/state"/>
        <remap from="command" to="/arm/command"/>
      </node>"""
    (plan,) = interpret(body, environment={'A': 'two words'})
    assert plan.command == (
        f'{prefix}/lib/robot/arm',
        *('--speed', '2', 'two words'),
        *('--ros-args', '--log-level', 'debug'),
        *('--ros-args', '-r', '__node:=left', '-r', '__ns:=/side'),
        *('-r', 'state:=/arm/state', '-r', 'command:=/arm/command'),
    )


def test_node_without_name_keeps_its_own(interpret: Interpret) -> None:
    (plan,) = interpret('<node pkg="robot" exec="arm"/>')
    assert plan.command[1:] == ('--ros-args',)


@pytest.mark.parametrize(
    ('namespace', 'expected'),
    [('left', '/left'), ('/left/', '/left'), ('/', '/'), ('/a/b', '/a/b')],
)
def test_namespace_becomes_absolute(interpret: Interpret, namespace: str, expected: str) -> None:
    (plan,) = interpret(f'<node pkg="robot" exec="arm" namespace="{namespace}"/>')
    assert plan.command[-1] == f'__ns:={expected}'


def test_labels_count_over_all_processes(interpret: Interpret) -> None:
    body = """
      <node pkg="robot" exec="arm" name="left"/>
      <node pkg="robot" exec="arm" exec_name="elbow"/>
      <executable cmd="/bin/echo x"/>
      <executable cmd="/bin/echo x" name="voice"/>"""
    assert [plan.label for plan in interpret(body)] == ['arm-1', 'elbow-2', 'echo-3', 'voice-4']


def test_parameters_keep_their_order_and_types(interpret: Interpret, tmp_path: Path) -> None:
    file = tmp_path / 'arm.yaml'
    file.write_text('/**:\n  ros__parameters:\n    speed: 1.0\n')
    body = f"""
      <arg name="speed" default="2"/>
      <node pkg="robot" exec="arm" name="left" namespace="/">
        <param name="first" value="true"/>
        <param from="{file}"/>
        <param name="speed" value="$(var speed)" type="float"/>
        <param name="task" value="$(var speed)" type="str"/>
      </node>"""
    (plan,) = interpret(body)
    assert parameters(plan) == [
        {'/left': {'ros__parameters': {'first': True}}},
        {'/**': {'ros__parameters': {'speed': 1.0}}},
        {'/left': {'ros__parameters': {'speed': 2.0}}},
        {'/left': {'ros__parameters': {'task': '2'}}},
    ]


def test_parameters_of_a_nameless_node_are_for_any_name(interpret: Interpret) -> None:
    (plan,) = interpret('<node pkg="robot" exec="arm"><param name="a" value="1"/></node>')
    assert parameters(plan) == [{'/**': {'ros__parameters': {'a': 1}}}]


def test_options_of_a_process(interpret: Interpret) -> None:
    body = """
      <arg name="again" default="true"/>
      <node pkg="robot" exec="arm" output="both" on_exit="shutdown" cwd="/tmp"
          respawn="$(var again)" respawn_delay="0.5" respawn_max_retries="3">
        <env name="MODE" value="$(var again)"/>
      </node>"""
    (plan,) = interpret(body)
    assert plan.output == 'both'
    assert plan.required
    assert plan.cwd == '/tmp'
    assert plan.environment == {'MODE': 'true'}
    assert (plan.respawn, plan.respawn_delay, plan.respawn_max_retries) == (True, 0.5, 3)


def test_options_left_out(interpret: Interpret) -> None:
    (plan,) = interpret('<node pkg="robot" exec="arm"/>')
    assert (plan.output, plan.required, plan.respawn) == ('log', False, False)


@pytest.mark.parametrize(
    ('command', 'expected'),
    [
        ('echo a b', ('echo', 'a', 'b')),
        ("echo 'a b'", ('echo', 'a b')),
        ('echo $(env TWO)', ('echo', 'two words')),
        ('echo x$(env TWO)y z', ('echo', 'xtwo wordsy', 'z')),
        ('$(env ONE) $(env ONE)', ('one', 'one')),
        ('$(env ONE)$(env ONE) a', ('oneone', 'a')),
    ],
)
def test_command_words(interpret: Interpret, command: str, expected: tuple[str, ...]) -> None:
    body = f'<executable cmd="{command}"/>'
    (plan,) = interpret(body, environment={'ONE': 'one', 'TWO': 'two words'})
    assert plan.command == expected


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        ('<timer period="1"/>', 'cannot hold the tag <timer>'),
        ('<nod pkg="robot" exec="arm"/>', "<nod>; did you mean 'node'"),
        ('<node pkg="robot" exec="arm" nmae="x"/>', "attribute 'nmae'; did you mean 'name'"),
        ('<node pkg="robot"/>', "needs the attribute 'exec'"),
        ('<node pkg="rowbot" exec="arm"/>', "package 'rowbot' is not installed"),
        ('<node pkg="robot" exec="amr"/>', "no executable 'amr'; did you mean 'arm'"),
        ('<node pkg="robot" exec="notes.txt"/>', 'is not executable'),
        ('<node pkg="robot" exec="arm" name="a/b"/>', 'is not a node name'),
        ('<node pkg="robot" exec="arm" namespace="/1"/>', 'is not a namespace'),
        ('<node pkg="robot" exec="arm" on_exit="restart"/>', "on_exit can only be 'shutdown'"),
        ('<node pkg="robot" exec="arm" output="screem"/>', "did you mean 'screen'"),
        ('<node pkg="robot" exec="arm" respawn="maybe"/>', 'true, 1, false or 0'),
        ('<node pkg="robot" exec="arm" respawn_max_retries="x"/>', 'a whole number'),
        ('<node pkg="robot" exec="arm"><param name="a"/></node>', "the attribute 'value'"),
        ('<node pkg="robot" exec="arm"><param from="/no.yaml"/></node>', 'does not exist'),
        ('<node pkg="robot" exec="arm"><remap from="a"/></node>', "the attribute 'to'"),
        ('<node pkg="robot" exec="arm"><arg name="a"/></node>', 'cannot hold the tag <arg>'),
        ('<arg name="a" value="b"/>', "does not know the attribute 'value'"),
        ('<let name="a" value="b"><let/></let>', 'takes no nested tags'),
        ('<group if="true" unless="true"/>', 'cannot be used together'),
        ('<group scoped="perhaps"/>', 'true, 1, false or 0'),
        ('<executable cmd="echo \'x"/>', 'unbalanced quotes'),
        ('words', "text outside of a tag: 'words'"),
        ('<let name="a"', 'not well-formed XML'),
    ],
)
def test_refusal(interpret: Interpret, body: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r'test\.launch\.xml:[0-9]+: ') as caught:
        interpret(f'<!-- a comment is fine -->\n{body}')
    assert reason in str(caught.value)


def test_other_root_tag(tmp_path: Path, write: Write, interpret: Interpret) -> None:
    other = tmp_path / 'other.launch.xml'
    other.write_text('<robot/>')
    with pytest.raises(ConfigurationError, match=r'other.launch.xml:1: the root tag must be'):
        interpret(f'<include file="{other}"/>')


def test_entities_are_refused(tmp_path: Path, interpret: Interpret) -> None:
    other = tmp_path / 'other.launch.xml'
    other.write_text('<!DOCTYPE launch [<!ENTITY a "aaaa">]><launch/>')
    with pytest.raises(ConfigurationError, match='document type is not allowed'):
        interpret(f'<include file="{other}"/>')
