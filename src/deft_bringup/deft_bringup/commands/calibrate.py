# SPDX-License-Identifier: Apache-2.0
"""`deft calibrate`: find where the camera stands, check it, and draw the board for it."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from deft_bringup.commands.launch import find_launch_file, launch
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_perception.calibration.board import BoardConfiguration, load_board, save_board_page
from deft_perception.calibration.calibration_file import SIMULATED_SERIAL, load_named_calibration
from deft_perception.calibration.report import FIGURE, calibrate_stored
from deft_perception.calibration.settings import CalibrationSettings
from deft_perception.calibration.views import load_views

_SIMULATED_SPEED = 0.8  # [rad/s] nobody stands beside the simulated arm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft calibrate`."""
    parser.description = (
        'Find where the camera stands in the base frame of the arm. docs/calibration.md takes '
        'you through a new cell.'
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    camera = actions.add_parser('camera', help='look at the board from many postures and solve')
    _add_robot(camera)
    camera.add_argument(
        '--name', help='of the calibration to write (camera_<serial>_<date>)', default=''
    )
    camera.add_argument(
        '--views', type=int, default=20, metavar='N', help='views to take (%(default)s)'
    )
    check = actions.add_parser('check', help='check a calibration with one look at the board')
    _add_robot(check)
    check.add_argument('calibration', help='a file in config/calibration')
    board = actions.add_parser('board', help='draw the board for printing')
    board.add_argument('output', type=Path, help='PNG to write; print it without scaling')
    board.add_argument(
        '--board', default='charuco_7x5', help='file in config/boards (%(default)s)'
    )
    solve = actions.add_parser('solve', help='solve again from the views of an earlier run')
    solve.add_argument('run', type=Path, help='folder of the run')
    solve.add_argument('--name', required=True, help='of the calibration to write')


def _add_robot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--robot', choices=('sim', 'hardware'), default='sim', help='(%(default)s)'
    )
    parser.add_argument(
        '--camera-serial',
        default='',
        metavar='SERIAL',
        help='serial number of the camera; needed on a robot',
    )
    parser.add_argument(
        '--board', default='charuco_7x5', help='file in config/boards (%(default)s)'
    )
    parser.add_argument(
        '--motion',
        choices=('operator', 'drive'),
        help='who moves the arm: you, or this program through --postures '
        '(drive in simulation, operator on a robot)',
    )
    parser.add_argument(
        '--robot-ip',
        default='',
        metavar='ADDRESS',
        help="of the arm's controller, where you move it; without, its driver runs already",
    )
    parser.add_argument(
        '--postures', default='simulated_cell', help='file in config/postures (%(default)s)'
    )
    parser.add_argument(
        '--run', type=Path, metavar='DIR', help='folder for views and pictures (runs/<name>)'
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft calibrate`."""
    if arguments.action == 'board':
        return _draw(load_board(arguments.board, config_directory()), arguments.output)
    if arguments.action == 'solve':
        return _solve(arguments.run, arguments.name)
    return launch(find_launch_file('calibrate.launch.xml'), assignments(arguments))


def assignments(arguments: argparse.Namespace) -> list[str]:
    """Arguments of the launch file for `camera` and `check`.

    Raises:
        ConfigurationError: The serial number of a real camera is missing, or a name is unknown.
    """
    simulated = arguments.robot == 'sim'
    serial = arguments.camera_serial.removeprefix('_')
    if not serial and not simulated:
        raise ConfigurationError(
            'On a robot --camera-serial is needed, so that the calibration is never used with '
            'another camera; `rs-enumerate-devices -s` lists it.'
        )
    given = {
        'robot': arguments.robot,
        'board': arguments.board,
        'camera_serial': SIMULATED_SERIAL if simulated else f'_{serial}',
        'motion': arguments.motion or ('drive' if simulated else 'operator'),
        'postures': arguments.postures,
    }
    if arguments.robot_ip:
        given['robot_ip'] = arguments.robot_ip
    if arguments.action == 'check':
        load_named_calibration(arguments.calibration, config_directory())
        name = f'check_{arguments.calibration}'
        given |= {'start': 'check', 'calibration': arguments.calibration}
    else:
        today = datetime.datetime.now().astimezone().date().isoformat()
        name = arguments.name or f'camera_{serial or SIMULATED_SERIAL}_{today}'
        given |= {
            'start': 'calibrate',
            'output': name,
            'view_count': str(arguments.views),
        }
    if simulated:
        given['speed'] = str(_SIMULATED_SPEED)
    run = arguments.run or Path('runs') / name
    given['run'] = str(run.absolute())
    return [f'{key}:={value}' for key, value in given.items()]


def _draw(board: BoardConfiguration, output: Path) -> int:
    width, height = save_board_page(board, output)
    print(f'wrote {output}: print it at {1000.0 * width:.1f} x {1000.0 * height:.1f} mm (100%),')
    print('glue it on something flat, measure its squares and write their length into')
    print(f'config/boards/{board.name}.yaml.')
    return 0


def _solve(run: Path, name: str) -> int:
    stored = load_views(run)
    file, lines = calibrate_stored(
        stored, CalibrationSettings(), name=name, folder=run, configuration=config_directory()
    )
    for line in lines:
        print(line)
    print(f'wrote {file} and {run / FIGURE}')
    return 0
