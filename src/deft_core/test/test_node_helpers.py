# SPDX-License-Identifier: Apache-2.0
"""Parameters and the main loop of a node, in one process and as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from deft_core.errors import ConfigurationError

rclpy = pytest.importorskip('rclpy')
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from deft_core.nodes.parameters import declare_parameters  # noqa: E402


@dataclass(frozen=True)
class Parameters:
    task: str
    rate: float = field(default=10.0, metadata={'minimum': 1.0, 'maximum': 100.0, 'unit': 'Hz'})
    sigma: tuple[float, ...] = (0.02, 0.2)


@pytest.fixture
def make_node():
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def make(**overrides):
        node = Node(
            'example',
            context=context,
            parameter_overrides=[Parameter(name, value=v) for name, v in overrides.items()],
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_values_come_from_overrides_and_defaults(make_node):
    node = make_node(task='pick_cup', sigma=[0.1, 0.2])
    assert declare_parameters(node, Parameters) == Parameters('pick_cup', 10.0, (0.1, 0.2))
    assert node.get_parameter('rate').value == 10.0
    assert node.describe_parameter('rate').read_only


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'task': 'a', 'raet': 5.0}, r"unknown parameter 'raet'; did you mean 'rate'\?"),
        ({'task': 'a', 'rate': 500.0}, 'rate must be 1.0 to 100.0 Hz, got 500.0'),
        ({'task': 'a', 'rate': 'fast'}, "rate must be float, got 'fast'"),
        ({'task': 'a', 'sigma': 'abc'}, "sigma must be a list, got 'abc'"),
        ({'task': 'a', 'rate': 10**18}, 'rate must be 1.0 to 100.0 Hz'),
        ({}, "'task' is missing"),
    ],
)
def test_wrong_parameters_are_refused(make_node, overrides, message):
    with pytest.raises(ConfigurationError, match=message):
        declare_parameters(make_node(**overrides), Parameters)


SCRIPT = """
import sys
from rclpy.node import Node
from deft_core.errors import ConfigurationError, DeviceError
from deft_core.nodes.runner import NodeFinished, run_node

class Example(Node):
    def __init__(self):
        super().__init__('example')
        if sys.argv[1] == 'misconfigured':
            raise ConfigurationError('rate must be positive, got -1; correct config/x.yaml.')
        self.create_timer(0.01, self.tick)

    def tick(self):
        print('running', flush=True)
        if sys.argv[1] == 'finishes':
            raise NodeFinished(7)
        if sys.argv[1] == 'device':
            raise DeviceError('the port is gone.')

    def close(self):
        print('safe', flush=True)

sys.exit(run_node(Example, 'example'))
"""


def start(mode: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(SCRIPT), mode, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), **environment},
    )


@pytest.mark.parametrize(
    ('mode', 'code', 'sentence'),
    [
        ('misconfigured', 2, 'error: rate must be positive, got -1; correct config/x.yaml.\n'),
        ('device', 3, 'error: the port is gone.\n'),
        ('finishes', 7, ''),
    ],
)
def test_end_of_a_node_is_an_exit_code_and_one_sentence(mode, code, sentence):
    process = start(mode)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (code, sentence)
    assert ('safe' in output) == (mode != 'misconfigured')


@pytest.mark.parametrize(
    'words', [('-p', 'x:=['), ('-r', 'a b:=c'), ('--params-file', '/nowhere')]
)
def test_what_ros_cannot_read_is_one_sentence(words):
    process = start('', '--ros-args', *words)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("error: Couldn't parse")
    assert 'Traceback' not in errors


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_lead_through_the_safe_state(number):
    process = start('spins')
    assert process.stdout is not None
    assert process.stdout.readline() == 'running\n'
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, '')
    assert output.endswith('safe\n')


RENAMED = ('--ros-args', '-r', '__node:=other')


@pytest.fixture
def first() -> Iterator[subprocess.Popen[str]]:
    process = start('spins')
    assert process.stdout is not None
    assert process.stdout.readline() == 'running\n'
    yield process
    process.kill()
    process.communicate(timeout=30)


def test_a_second_node_of_a_name_is_never_made(first):
    second = start('spins')
    output, errors = second.communicate(timeout=30)
    assert (second.returncode, output) == (2, '')
    assert 'another node /example runs in ROS domain' in errors
    assert first.poll() is None


@pytest.mark.parametrize('words', [RENAMED, ('--ros-args', '-r', '__ns:=/left')])
def test_nodes_of_other_names_run_side_by_side(first, words):
    output, errors = start('finishes', *words).communicate(timeout=30)
    assert (output, errors) == ('running\nsafe\n', '')


def test_a_name_is_free_as_soon_as_its_process_was_killed(first):
    first.kill()
    first.wait(timeout=30)
    assert start('finishes').wait(timeout=30) == 7


def test_a_node_that_claimed_nothing_here_is_seen_in_the_graph(make_node):
    make_node()  # as on another machine
    second = start('spins', ROS_STATIC_PEERS='127.0.0.1')
    output, errors = second.communicate(timeout=30)
    assert (second.returncode, output) == (2, '')
    assert 'another node /example runs' in errors


def test_a_program_of_others_keeps_the_claim(first):
    sleeper = [sys.executable, '-c', 'import time; print("here", flush=True); time.sleep(60)']

    def run(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, '-m', 'deft_core.nodes.exclusive', *sleeper, '--ros-args', *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        )

    refused = run('-r', '__node:=example')
    assert refused.communicate(timeout=30)[0] == ''
    assert refused.returncode == 2
    program = run('-r', '__node:=other')
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == 'here\n'
        second = start('spins', *RENAMED)
        assert 'another node /other runs' in second.communicate(timeout=30)[1]
    finally:
        program.kill()
        program.communicate(timeout=30)
