# SPDX-License-Identifier: Apache-2.0
"""Real processes and signals. Every wait is for a line, an end or a process that is gone."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from deft_bringup.launching.supervisor import wants_colour

PATIENCE_S = 30.0
QUICK = {'sigterm_s': 0.3, 'sigkill_s': 0.6}

# Small nodes. They write to the pipe in one step, because a child may share it, and sleep in small
# steps, because a signal just before `signal.pause` would wait for the next one.
OBEYS = """
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
os.write(1, b'ready\\n')
while True:
    time.sleep(0.05)
"""
IGNORES_SIGINT = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(1, b'ready\\n')
while True:
    time.sleep(0.05)
"""
IGNORES_ALL = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'ready\\n')
while True:
    time.sleep(0.05)
"""
PLAIN = "os.write(1, b'ready\\n')\ntime.sleep(1000)\n"


Start = Callable[..., Any]
Node = Callable[..., dict[str, Any]]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(folder: Path, label: str) -> None:
    pid = int((folder / f'{label}.pid').read_text())
    deadline = time.monotonic() + PATIENCE_S
    while is_running(pid):
        assert time.monotonic() < deadline, f'{label} is an orphan'
        time.sleep(0.01)


def guardian_of(launch: Any, folder: Path) -> int:
    """The child of a launch that is no node."""
    nodes = {int(file.read_text()) for file in folder.glob('*.pid')}
    (guardian,) = {child.pid for child in psutil.Process(launch.process.pid).children()} - nodes
    return guardian


def until_exists(path: Path, then: str) -> str:
    """Body of a node that goes on when a file is there."""
    return f'while not os.path.exists({str(path)!r}): time.sleep(0.01)\n{then}'


def with_child(node: Node, folder: Path, child: str, then: str) -> str:
    """Body of a node that starts a child, waits until it runs and goes on."""
    command = node('child', child)['command']
    return f'import subprocess\nsubprocess.Popen({command!r})\n' + until_exists(
        folder / 'child.pid', then
    )


def test_all_end_well(start: Start, node: Node) -> None:
    launch = start(node('a-1', "print('hello')"), node('b-2', ''))
    assert launch.wait() == 0
    assert '[a-1] hello' in launch.lines
    assert launch.lines[-1] == 'result: '
    assert '[launch] b-2: process has ended, exit code 0' in launch.lines


def test_end_of_a_required_node_stops_the_others(start: Start, node: Node, tmp_path: Path) -> None:
    short = until_exists(tmp_path / 'go', 'sys.exit(0)')
    launch = start(node('long-1', OBEYS), node('short-2', short, required=True))
    launch.wait_for('[long-1] ready')
    (tmp_path / 'go').touch()
    assert launch.wait() == 0
    assert '[launch] long-1: process has ended, exit code 0' in launch.lines
    wait_until_gone(tmp_path, 'long-1')


def test_end_of_another_node_stops_nothing(start: Start, node: Node) -> None:
    launch = start(node('long-1', OBEYS), node('short-2', ''))
    launch.wait_for('short-2: process has ended')
    launch.wait_for('[long-1] ready')
    assert launch.process.poll() is None
    launch.process.send_signal(signal.SIGINT)
    assert launch.wait() == 130


@pytest.mark.parametrize(
    ('body', 'code', 'words'),
    [
        ('sys.exit(3)', 3, 'exit code 3.'),
        (
            "raise RuntimeError('broken')",
            1,
            'exit code 1. Its last words: RuntimeError: broken',
        ),
        ('os.kill(os.getpid(), signal.SIGSEGV)', 139, 'killed by SIGSEGV (exit code 139).'),
        ('os.kill(os.getpid(), signal.SIGKILL)', 137, 'killed by SIGKILL (exit code 137).'),
    ],
)
def test_failure_is_named_last(
    start: Start, node: Node, tmp_path: Path, body: str, code: int, words: str
) -> None:
    bad = until_exists(tmp_path / 'go', body)
    launch = start(node('good-1', OBEYS), node('bad-2', bad, required=True))
    launch.wait_for('[good-1] ready')
    (tmp_path / 'go').touch()
    assert launch.wait() == code
    assert launch.lines[-1] == f'result: bad-2 failed: {words}'
    wait_until_gone(tmp_path, 'good-1')


def test_first_failure_counts(start: Start, node: Node, tmp_path: Path) -> None:
    fails_late = OBEYS.replace('sys.exit(0)', 'sys.exit(9)')
    fails_first = until_exists(tmp_path / 'go', 'sys.exit(4)')
    launch = start(node('late-1', fails_late), node('first-2', fails_first, required=True))
    launch.wait_for('[late-1] ready')
    (tmp_path / 'go').touch()
    assert launch.wait() == 4
    assert launch.lines[-1] == 'result: first-2 failed: exit code 4.'


def test_failure_while_stopping_counts(start: Start, node: Node, tmp_path: Path) -> None:
    fails_late = OBEYS.replace('sys.exit(0)', 'sys.exit(9)')
    good = until_exists(tmp_path / 'go', 'sys.exit(0)')
    launch = start(node('late-1', fails_late), node('good-2', good, required=True))
    launch.wait_for('[late-1] ready')
    (tmp_path / 'go').touch()
    assert launch.wait() == 9
    assert launch.lines[-1] == 'result: late-1 failed: exit code 9.'


def test_what_a_foreign_driver_ends_with_when_asked_to_stop_does_not_count(
    start: Start, node: Node, tmp_path: Path
) -> None:
    """The driver of xarm_ros2 ends with 255 on SIGINT; a failure before that counts."""
    driver = node(
        'driver-1', OBEYS.replace('sys.exit(0)', 'sys.exit(255)'), required=True, foreign=True
    )
    for code in (0, 4):
        (tmp_path / 'go').unlink(missing_ok=True)
        session = until_exists(tmp_path / 'go', f'sys.exit({code})')
        launch = start(driver, node('session-2', session, required=True))
        launch.wait_for('[driver-1] ready')
        (tmp_path / 'go').touch()
        assert launch.wait() == code
        assert '[launch] driver-1: process has ended, exit code 255' in launch.lines
    launch = start(node('lost-1', 'sys.exit(255)', required=True, foreign=True))
    assert launch.wait() == 255


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_stops_all(
    start: Start, node: Node, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    launch = start(node('a-1', OBEYS), node('b-2', PLAIN))
    launch.wait_for('] ready', count=2)
    launch.process.send_signal(number)
    assert launch.wait() == code
    assert launch.lines[-1] == f'result: The launch was stopped by {number.name}.'
    for label in ('a-1', 'b-2'):
        wait_until_gone(tmp_path, label)


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        (IGNORES_SIGINT, 'killed by SIGTERM (exit code 143)'),
        (IGNORES_ALL, 'killed by SIGKILL (exit code 137)'),
    ],
)
def test_deaf_node_is_killed(
    start: Start, node: Node, tmp_path: Path, body: str, words: str
) -> None:
    launch = start(node('deaf-1', body), limits=QUICK)
    launch.wait_for('[deaf-1] ready')
    launch.process.send_signal(signal.SIGINT)
    assert launch.wait() == 130
    assert f'[launch] deaf-1: process has ended, {words}' in launch.lines
    wait_until_gone(tmp_path, 'deaf-1')


def test_deaf_node_spoils_an_orderly_end(start: Start, node: Node, tmp_path: Path) -> None:
    good = until_exists(tmp_path / 'go', 'sys.exit(0)')
    launch = start(node('deaf-1', IGNORES_ALL), node('good-2', good, required=True), limits=QUICK)
    launch.wait_for('[deaf-1] ready')
    (tmp_path / 'go').touch()
    assert launch.wait() == 137
    assert launch.lines[-1].startswith('result: deaf-1 failed: killed by SIGKILL')


def test_second_interrupt_changes_nothing(start: Start, node: Node, tmp_path: Path) -> None:
    slow = (
        'def stop(*_):\n'
        "    os.write(1, b'stopping\\n')\n"
        '    signal.sigwait({signal.SIGUSR1})\n'
        '    sys.exit(0)\n'
        'signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n'
        'signal.signal(signal.SIGINT, stop)\n'
        "os.write(1, b'ready\\n')\n"
        'while True:\n'
        '    time.sleep(0.05)\n'
    )
    launch = start(node('slow-1', slow))
    launch.wait_for('[slow-1] ready')
    launch.process.send_signal(signal.SIGINT)
    launch.wait_for('[slow-1] stopping')
    launch.process.send_signal(signal.SIGINT)
    launch.wait_for('SIGINT again: still stopping')
    os.kill(int((tmp_path / 'slow-1.pid').read_text()), signal.SIGUSR1)
    assert launch.wait() == 130
    assert '[launch] slow-1: process has ended, exit code 0' in launch.lines


def test_children_of_a_crashed_node_are_stopped(start: Start, node: Node, tmp_path: Path) -> None:
    body = with_child(node, tmp_path, IGNORES_SIGINT, 'os.kill(os.getpid(), signal.SIGKILL)')
    launch = start(node('parent-1', body, required=True), limits=QUICK)
    assert launch.wait() == 137
    wait_until_gone(tmp_path, 'child')


def test_children_of_a_node_that_ended_are_stopped(
    start: Start, node: Node, tmp_path: Path
) -> None:
    launch = start(node('parent-1', with_child(node, tmp_path, PLAIN, 'sys.exit(0)')))
    assert launch.wait() == 0
    wait_until_gone(tmp_path, 'child')


def test_killed_launch_leaves_no_orphan(start: Start, node: Node, tmp_path: Path) -> None:
    parent = with_child(node, tmp_path, IGNORES_ALL, OBEYS)
    labels = ('obeys-1', 'deaf-2', 'parent-3')
    launch = start(
        node(labels[0], OBEYS), node(labels[1], IGNORES_ALL), node(labels[2], parent), limits=QUICK
    )
    launch.wait_for('] ready', count=4)
    launch.process.kill()
    assert launch.process.wait(timeout=PATIENCE_S) == -signal.SIGKILL
    for label in (*labels, 'child'):
        wait_until_gone(tmp_path, label)


def test_killed_launch_lets_nodes_finish(start: Start, node: Node, tmp_path: Path) -> None:
    closed = tmp_path / 'closed'
    body = OBEYS.replace('sys.exit(0)', f'(open({str(closed)!r}, "w").close(), sys.exit(0))')
    launch = start(node('recorder-1', body))
    launch.wait_for('[recorder-1] ready')
    launch.process.kill()
    wait_until_gone(tmp_path, 'recorder-1')
    assert closed.exists()


def test_program_that_cannot_start(start: Start, node: Node, tmp_path: Path) -> None:
    missing = {'label': 'missing-2', 'command': ['/no/such/program']}
    launch = start(node('a-1', PLAIN), missing)
    assert launch.wait() == 2
    expected = 'error: Cannot start missing-2 (/no/such/program): No such file or directory.'
    assert launch.lines[-1] == expected
    assert any('a-1: process has ended' in line for line in launch.lines)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_guardian_is_followed_by_another(
    start: Start, node: Node, tmp_path: Path, number: signal.Signals
) -> None:
    """It guards as the first one did, whether the launch is killed or told to stop."""
    parent = with_child(node, tmp_path, IGNORES_ALL, OBEYS)
    launch = start(node('deaf-1', IGNORES_ALL), node('parent-2', parent), limits=QUICK)
    launch.wait_for('] ready', count=3)
    for count in (1, 2):
        os.kill(guardian_of(launch, tmp_path), signal.SIGKILL)
        launch.wait_for('the guardian of the nodes was killed; another one took over', count)
    launch.process.send_signal(number)
    assert launch.process.wait(timeout=PATIENCE_S) == (-9 if number == signal.SIGKILL else 130)
    for label in ('deaf-1', 'parent-2', 'child'):
        wait_until_gone(tmp_path, label)


def test_a_guardian_killed_at_its_work_takes_the_nodes_along(
    start: Start, node: Node, tmp_path: Path
) -> None:
    launch = start(node('deaf-1', IGNORES_ALL))
    launch.wait_for('[deaf-1] ready')
    guardian = guardian_of(launch, tmp_path)
    launch.process.send_signal(signal.SIGINT)
    launch.wait_for('received SIGINT')
    os.kill(guardian, signal.SIGKILL)
    assert launch.wait() == 130
    wait_until_gone(tmp_path, 'deaf-1')


def test_launch_and_guardian_killed_at_once_let_nodes_finish(
    start: Start, node: Node, tmp_path: Path
) -> None:
    closed = tmp_path / 'closed'
    body = OBEYS.replace('sys.exit(0)', f'(open({str(closed)!r}, "w").close(), sys.exit(0))')
    launch = start(node('recorder-1', body))
    launch.wait_for('[recorder-1] ready')
    guardian = guardian_of(launch, tmp_path)
    launch.process.send_signal(
        signal.SIGSTOP
    )  # so that it cannot follow what is done to the other
    os.kill(guardian, signal.SIGKILL)
    launch.process.kill()
    wait_until_gone(tmp_path, 'recorder-1')
    assert closed.exists()


def test_output_is_whole_lines_of_both_streams(start: Start, node: Node) -> None:
    body = (
        "sys.stdout.write('one\\ntwo\\r\\nla'); sys.stdout.flush()\n"
        "sys.stderr.write('error\\n'); sys.stderr.flush()\n"
        "sys.stdout.buffer.write(b'st \\xff\\n'); sys.stdout.write('no end')\n"
    )
    launch = start(node('a-1', body))
    assert launch.wait() == 0
    shown = [line for line in launch.lines if line.startswith('[a-1]')]
    assert sorted(shown) == sorted(
        f'[a-1] {text}' for text in ('one', 'two', 'error', 'last �', 'no end')
    )


def test_much_output_is_complete(start: Start, node: Node) -> None:
    launch = start(node('a-1', 'for i in range(20000): print(i, "x" * 50)'))
    assert launch.wait() == 0
    shown = [int(line.split()[1]) for line in launch.lines if line.startswith('[a-1]')]
    assert shown == list(range(20000))


def test_input_is_empty(start: Start, node: Node) -> None:
    launch = start(node('a-1', "print(sys.stdin.read() == '')"))
    assert launch.wait() == 0
    assert '[a-1] True' in launch.lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ('stream', 'environment', 'expected'),
    [
        (Terminal(), {}, True),
        (Terminal(), {'NO_COLOR': ''}, True),
        (Terminal(), {'NO_COLOR': '1'}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colour_only_where_it_is_welcome(
    stream: io.StringIO, environment: dict[str, str], expected: bool
) -> None:
    assert wants_colour(stream, environment) is expected
