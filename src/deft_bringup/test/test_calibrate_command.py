# SPDX-License-Identifier: Apache-2.0
"""`deft calibrate`: from words to arguments of the launch file; the board; solving again."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from deft_bringup.command_line import main
from deft_bringup.commands.calibrate import add_arguments, assignments
from deft_bringup.launching.interpreter import (
    check_known,
    declared_arguments,
    parse_assignments,
)
from deft_core.errors import ConfigurationError

LAUNCH_FILE = Path(__file__).parents[3] / 'launch' / 'calibrate.launch.xml'


def given(*words: str) -> dict[str, str]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    found = parse_assignments(assignments(parser.parse_args(words)))
    return dict(found)


def test_every_argument_is_one_of_the_launch_file() -> None:
    for words in (['camera'], ['check', 'simulated_cell']):
        check_known(given(*words), declared_arguments(LAUNCH_FILE, os.environ))


def test_the_simulated_arm_is_driven_and_a_real_one_is_moved_by_a_person() -> None:
    simulated = given('camera', '--name', 'mine')
    assert (simulated['motion'], simulated['camera_serial']) == ('drive', 'simulated')
    assert (simulated['output'], simulated['start']) == ('mine', 'calibrate')
    assert simulated['run'].endswith('runs/mine')
    real = given('camera', '--robot', 'hardware', '--camera-serial', '819312')
    assert (real['motion'], real['camera_serial']) == ('operator', '_819312')
    assert real['output'].startswith('camera_819312_')
    assert not {'speed', 'robot_ip'} & set(real)
    asked = given(
        'camera', '--robot', 'hardware', '--camera-serial', '1', '--robot-ip', '10.0.0.2'
    )
    assert asked['robot_ip'] == '10.0.0.2'
    driven = given('camera', '--robot', 'hardware', '--camera-serial', '_1', '--motion', 'drive')
    assert (driven['motion'], driven['camera_serial']) == ('drive', '_1')


def test_a_check_names_its_calibration() -> None:
    check = given('check', 'simulated_cell')
    assert (check['start'], check['calibration']) == ('check', 'simulated_cell')
    with pytest.raises(ConfigurationError, match="did you mean 'simulated_cell'"):
        given('check', 'simulated_call')


def test_a_real_camera_needs_its_serial_number() -> None:
    with pytest.raises(ConfigurationError, match='--camera-serial is needed'):
        given('camera', '--robot', 'hardware')


def test_the_board_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['calibrate', 'board', str(tmp_path / 'board.png')]) == 0
    assert (tmp_path / 'board.png').read_bytes().startswith(b'\x89PNG')
    assert '200.0 x 150.0 mm' in capsys.readouterr().out


def test_solving_without_views_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['calibrate', 'solve', str(tmp_path), '--name', 'again']) == 3
    assert 'Cannot read the views' in capsys.readouterr().err
