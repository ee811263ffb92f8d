# SPDX-License-Identifier: Apache-2.0
"""What the tags do; scoping as in upstream launch of ROS 2 Jazzy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deft_bringup.launching.interpreter import ProcessPlan
from deft_core.errors import ConfigurationError

Interpret = Callable[..., tuple[ProcessPlan, ...]]
Write = Callable[..., Path]

NODE = '<node pkg="robot" exec="arm" name="left" namespace="/" output="screen" {}>{}</node>'


def say(text: str) -> str:
    """A node whose only parameter is a text."""
    return NODE.format('', f'<param name="said" value="{text}" type="str"/>')


def parameters(plan: ProcessPlan) -> list[dict[str, Any]]:
    command = plan.command
    files = [command[i + 1] for i, word in enumerate(command) if word == '--params-file']
    return [yaml.safe_load(Path(file).read_text()) for file in files]


def said(plans: tuple[ProcessPlan, ...]) -> list[str]:
    return [parameters(plan)[0]['/left']['ros__parameters']['said'] for plan in plans]


A = '<arg name="a" default="x"/>'
LET = '<let name="a" value="{}"/>'
SAY = say('$(var a)')


@pytest.mark.parametrize(
    ('body', 'expected'),
    [
        (A + SAY, ['x']),
        (A + '<arg name="b" default="$(var a)y"/>' + say('$(var b)'), ['xy']),
        (A + '<arg name="a" default="y"/>' + SAY, ['x']),  # a second declaration changes nothing
        (A + LET.format('$(var a)y') + SAY, ['xy']),
        (LET.format('out') + f'<group>{LET.format("in")}{SAY}</group>' + SAY, ['in', 'out']),
        (A + '<let name="a" value="y" if="false"/>' + SAY, ['x']),
        ('<arg name="b" default="z" unless="true"/>' + say('$(var b -)'), ['-']),
        ('<group if="false"><let name="a" value="$(var missing)"/></group>', []),
    ],
)
def test_scope(interpret: Interpret, body: str, expected: list[str]) -> None:
    assert said(interpret(body)) == expected


def test_value_wins_over_the_default(interpret: Interpret) -> None:
    assert said(interpret(A + SAY, a='two')) == ['two']


def test_missing_argument(interpret: Interpret) -> None:
    body = '<arg name="run" description="folder of the run"/>'
    with pytest.raises(ConfigurationError, match=r"'run' is required \(folder of the run\)"):
        interpret(body)


def test_choices(interpret: Interpret) -> None:
    body = (
        '<arg name="a" default="sim"><choice value="sim"/><choice value="real"/></arg>\n'
        f'{say("$(var a)")}'
    )
    assert said(interpret(body, a='real')) == ['real']
    with pytest.raises(ConfigurationError, match=r":2: .*'a' cannot be 'reel'.*'real'"):
        interpret(body, a='reel')


def test_argument_declared_in_a_group_is_forgotten(interpret: Interpret) -> None:
    body = '<group><arg name="a" default="x"/></group>' + say('$(var a)')
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
@pytest.mark.parametrize('tag', ['<group {}>' + NODE.format('', '') + '</group>', NODE])
def test_condition(interpret: Interpret, tag: str, condition: str, runs: bool) -> None:
    body = '<arg name="robot" default="sim"/>' + tag.format(condition, '')
    assert len(interpret(body)) == int(runs)


def test_include_passes_arguments(interpret: Interpret, write: Write) -> None:
    other = write('<arg name="a"/>' + say('$(var a)'), 'other.launch.xml')
    body = (
        '<arg name="b" default="x"/>'
        f'<include file="{other}"><arg name="a" value="$(var b)y"/></include>'
    )
    assert said(interpret(body)) == ['xy']


def test_outer_value_wins_over_the_default_of_an_include(
    interpret: Interpret, write: Write
) -> None:
    other = write('<arg name="a" default="d"/>' + say('$(var a)'), 'other.launch.xml')
    body = f'<let name="a" value="x"/><include file="{other}"/>'
    assert said(interpret(body)) == ['x']


@pytest.mark.parametrize(('grouped', 'expected'), [(False, 'inner'), (True, 'outer')])
def test_include_leaks_unless_grouped(
    interpret: Interpret, write: Write, grouped: bool, expected: str
) -> None:
    other = write('<let name="a" value="inner"/>', 'other.launch.xml')
    include = f'<include file="{other}"/>'
    include = f'<group>{include}</group>' if grouped else include
    body = f'<let name="a" value="outer"/>{include}{say("$(var a)")}'
    assert said(interpret(body)) == [expected]


@pytest.mark.parametrize(
    ('file', 'reason'),
    [
        ('/nowhere/other.launch.xml', 'does not exist'),
        ('/nowhere/other.launch.py', 'only XML launch files'),
        ('$(env FOLDER)/test.launch.xml', 'included too deeply'),
    ],
)
def test_include_refusals(interpret: Interpret, tmp_path: Path, file: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f':2: .*{reason}'):
        interpret(f'<include file="{file}"/>', environment={'FOLDER': str(tmp_path)})


def test_node_command(interpret: Interpret, prefix: Path) -> None:
    body = """
      <node pkg="robot" exec="arm" name="left" namespace="/side" output="screen">
        <remap from="state" to="/arm/state"/>
        <remap from="command" to="$(env A)"/>
      </node>"""
    (plan,) = interpret(body, environment={'A': '/arm/command'})
    assert plan.command == (
        f'{prefix}/lib/robot/arm',
        *('--ros-args', '-r', '__node:=left', '-r', '__ns:=/side'),
        *('-r', 'state:=/arm/state', '-r', 'command:=/arm/command'),
    )


def test_prefix_of_a_command(interpret: Interpret, prefix: Path) -> None:
    (plan,) = interpret(NODE.format('launch-prefix="python3 -m \'a b\' $(env A)"', ''), {'A': 'x'})
    assert plan.command[:5] == ('python3', '-m', 'a b', 'x', f'{prefix}/lib/robot/arm')
    assert plan.label == 'arm-1'


def test_labels_count_over_all_processes(interpret: Interpret) -> None:
    body = NODE.format('', '') + NODE.format('on_exit="shutdown"', '')
    plans = interpret(body)
    assert [plan.label for plan in plans] == ['arm-1', 'arm-2']
    assert [plan.required for plan in plans] == [False, True]


def test_parameters_keep_their_order_and_types(interpret: Interpret, tmp_path: Path) -> None:
    file = tmp_path / 'arm.yaml'
    file.write_text('/**:\n  ros__parameters:\n    speed: 1.0\n')
    body = '<arg name="speed" default="2"/>' + NODE.format(
        '',
        f"""
        <param name="first" value="true"/>
        <param from="{file}"/>
        <param name="speed" value="$(var speed)" type="float"/>
        <param name="task" value="$(var speed)" type="str"/>""",
    )
    (plan,) = interpret(body)
    assert parameters(plan) == [
        {'/left': {'ros__parameters': {'first': True}}},
        {'/**': {'ros__parameters': {'speed': 1.0}}},
        {'/left': {'ros__parameters': {'speed': 2.0}}},
        {'/left': {'ros__parameters': {'task': '2'}}},
    ]


def test_texts_reach_a_node_as_texts(interpret: Interpret) -> None:
    """As ROS' own reader takes them, for which 1e5, 0819312, y and nan are no texts."""
    rclpy = pytest.importorskip('rclpy')
    texts = ['cell_a', '1e5', '0819312', '0x10', 'y', 'N', 'off', 'true', 'nan', '.inf', '1e-3']
    texts += ['', '~', "it's", 'a: b', '# x', '[1]', 'ä', '-', '!!int 5', 'two\tparts']
    params = ''.join(
        f'<param name="p{i}" value="{text.replace(chr(9), "&#9;")}" type="str"/>'
        for i, text in enumerate(texts)
    )
    params += '<param name="number" value="1e-5" type="float"/><param name="count" value="7"/>'
    (plan,) = interpret(NODE.format('', params))
    context = rclpy.Context()
    rclpy.init(args=[*plan.command], context=context)
    node = rclpy.create_node(
        'left',
        context=context,
        automatically_declare_parameters_from_overrides=True,
        enable_rosout=False,
        start_parameter_services=False,
    )
    try:
        read = {name: node.get_parameter(name).value for name in node._parameters}
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert [read[f'p{i}'] for i in range(len(texts))] == texts
    assert (read['number'], read['count']) == (1e-5, 7)


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        ('<timer period="1"/>', 'cannot hold the tag <timer>'),
        ('<nod pkg="robot" exec="arm"/>', "<nod>; did you mean 'node'"),
        (NODE.format('nmae="x"', ''), "attribute 'nmae'; did you mean 'name'"),
        (NODE.format('', '').replace('exec="arm"', ''), "needs the attribute 'exec'"),
        (NODE.format('', '').replace('"robot"', '"robt"'), "package 'robt' is not installed"),
        (NODE.format('', '').replace('arm', 'amr'), "no executable 'amr'; did you mean 'arm'"),
        (NODE.format('', '').replace('"arm"', '"notes.txt"'), 'is not executable'),
        (NODE.format('', '').replace('left', 'a/b'), 'is not a node name'),
        (NODE.format('', '').replace('"/"', '"/1"'), 'is not a namespace'),
        (NODE.format('on_exit="restart"', ''), "on_exit can only be 'shutdown'"),
        (NODE.format('', '').replace('screen', 'log'), "output can only be 'screen'"),
        (NODE.format('', '<param name="a"/>'), "the attribute 'value'"),
        (NODE.format('', '<param from="/no.yaml"/>'), 'does not exist'),
        (NODE.format('', '<remap from="a"/>'), "the attribute 'to'"),
        (NODE.format('', '<arg name="a"/>'), 'cannot hold the tag <arg>'),
        ('<arg name="a" value="b"/>', "does not know the attribute 'value'"),
        ('<let name="a" value="b"><let/></let>', 'takes no nested tags'),
        ('<group if="true" unless="true"/>', 'cannot be used together'),
        ('words', "text outside of a tag: 'words'"),
        ('<let name="a"', 'not well-formed XML'),
    ],
)
def test_refusal(interpret: Interpret, body: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r'test\.launch\.xml:[0-9]+: ') as caught:
        interpret(f'<!-- a comment is fine -->\n{body}')
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ('document', 'reason'),
    [
        ('<robot/>', r'other.launch.xml:1: the root tag must be'),
        ('<!DOCTYPE launch [<!ENTITY a "aaaa">]><launch/>', 'document type is not allowed'),
    ],
)
def test_document_is_refused(
    tmp_path: Path, interpret: Interpret, document: str, reason: str
) -> None:
    other = tmp_path / 'other.launch.xml'
    other.write_text(document)
    with pytest.raises(ConfigurationError, match=reason):
        interpret(f'<include file="{other}"/>')
