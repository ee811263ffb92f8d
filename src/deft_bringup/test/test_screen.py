# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from pathlib import Path

import pytest

from deft_bringup.supervision.screen import Screen, log_directory, wants_colour


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


def test_every_label_keeps_its_colour(tmp_path: Path) -> None:
    stream = io.StringIO()
    screen = Screen(stream, colour=True, log_folder=tmp_path)
    for label in ('a-1', 'b-2', 'a-1'):
        screen.line(label, 'text', 'screen', is_error=False)
    first, second, third = stream.getvalue().splitlines()
    assert first == third == '\x1b[36m[a-1]\x1b[0m text'
    assert second == '\x1b[32m[b-2]\x1b[0m text'


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({'ROS_LOG_DIR': '/a', 'ROS_HOME': '/b'}, '/a'),
        ({'ROS_LOG_DIR': '', 'ROS_HOME': '/b'}, '/b/log'),
        ({}, str(Path('~/.ros/log').expanduser())),
    ],
)
def test_log_folder_is_that_of_ros(environment: dict[str, str], expected: str) -> None:
    assert log_directory(environment) == Path(expected)


def test_no_log_file_without_need(tmp_path: Path) -> None:
    screen = Screen(io.StringIO(), colour=False, log_folder=tmp_path)
    screen.line('a-1', 'text', 'screen', is_error=True)
    screen.close()
    assert list(tmp_path.iterdir()) == []
