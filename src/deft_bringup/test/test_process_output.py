# SPDX-License-Identifier: Apache-2.0
"""What becomes of the output of real processes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from deft_bringup.launching.supervisor import wants_colour

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
