# SPDX-License-Identifier: Apache-2.0
"""What becomes of the output of real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Node = Callable[..., dict[str, Any]]


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


@pytest.mark.parametrize(
    ('output', 'on_screen', 'in_log'),
    [
        ('screen', {'out', 'err'}, set()),
        ('log', {'err'}, {'out', 'err'}),
        ('both', {'out', 'err'}, {'out', 'err'}),
    ],
)
def test_destination_of_the_output(
    start: Start, node: Node, tmp_path: Path, output: str, on_screen: set[str], in_log: set[str]
) -> None:
    body = "print('out'); print('err', file=sys.stderr)"
    launch = start(node('a-1', body, output=output))
    assert launch.wait() == 0
    assert {line[6:] for line in launch.lines if line.startswith('[a-1]')} == on_screen
    logs = list((tmp_path / 'logs').glob('*/launch.log'))
    lines = logs[0].read_text().splitlines() if logs else []
    assert {line.split('[a-1] ')[1] for line in lines} == in_log


def test_environment_and_folder(start: Start, node: Node, tmp_path: Path) -> None:
    body = "print(os.environ['MODE'], os.getcwd(), sys.stdin.read() == '')"
    launch = start(node('a-1', body, environment={'MODE': 'slow'}, cwd=str(tmp_path)))
    assert launch.wait() == 0
    assert f'[a-1] slow {tmp_path} True' in launch.lines
