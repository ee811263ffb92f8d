# SPDX-License-Identifier: Apache-2.0
"""`deft hand`: look at the motors of a hand, set them up and move them, without ROS.

The hand driver must not run at the same time: a port belongs to one program.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from deft_hand_driver.calibration.poses import LEVELS, POSTURES
from deft_hand_driver.commands import motors, pose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand`."""
    parser.description = (
        'Look at the motors of a hand, set them up and move them. Stop the hand driver before: a '
        'port belongs to one program. docs/hand.md goes from a box of motors to a working hand.'
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=summary, description=f'{summary.capitalize()}.')
        sub.add_argument('--port', help='serial port (default: the only one in /dev/serial/by-id)')
        sub.add_argument('--hand', default='dash', help='file in config/hands (%(default)s)')
        return sub

    motors.add_scan(action('scan', 'who is on the bus'))
    motors.add_status(action('status', 'what every motor measures and how it is set'))
    pose.add_arguments(action('pose', 'move the hand to a named pose'))
    calibrate = action('calibrate', 'find taut tendons and limits, or learn the map to the joints')
    _add_calibrate(calibrate)
    motors.add_set_id(action('set-id', 'give a motor its id and the baud rate of the hand'))
    motors.add_reboot(action('reboot', 'restart motors, which clears hardware errors'))


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand`."""
    return int(arguments.action_main(arguments))


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand calibrate`."""
    parser.description = (
        'tension: find where each tendon is taut and how far it goes, by current, on the bus; the '
        'hand driver must not run. map: let the running hand driver sweep the fingers, observe '
        'the joints, and fit the map from motors to joints (docs/hand.md).'
    )
    parser.add_argument('part', choices=('tension', 'map'), help='what to calibrate')
    tension = parser.add_argument_group('tension')
    tension.add_argument(
        '--motors', nargs='+', default=[], metavar='NAME', help='only these (default: all)'
    )
    tension.add_argument(
        '--speed', type=float, default=0.4, metavar='RAD/S', help='of the spools (%(default)s)'
    )
    tension.add_argument(
        '--current', type=float, metavar='A', help='largest (default: 0.85 of each current_limit)'
    )
    tension.add_argument(
        '--loosen',
        type=float,
        default=0.6,
        metavar='RAD',
        help='how far a tendon is unwound before it is tightened (%(default)s)',
    )
    tension.add_argument(
        '--write',
        action='store_true',
        help='write zero, lower and upper into config/hands/NAME.measured.json',
    )
    learning = parser.add_argument_group('map')
    learning.add_argument(
        '--observed',
        default='/hand/observed_joint_states',
        metavar='TOPIC',
        help='sensor_msgs/JointState with the joints as they are seen (%(default)s)',
    )
    learning.add_argument(
        '--run', type=Path, metavar='DIR', help='folder for pairs and map (runs/hand_NAME_DATE)'
    )
    learning.add_argument(
        '--pairs', type=Path, metavar='FILE', help='fit these pairs again; nothing moves'
    )
    learning.add_argument(
        '--levels', type=int, default=LEVELS, metavar='N', help='of a sweep (%(default)s)'
    )
    learning.add_argument(
        '--postures', type=int, default=POSTURES, metavar='N', help='random ones (%(default)s)'
    )
    learning.add_argument(
        '--seed', type=int, default=0, metavar='N', help='of the random postures (%(default)s)'
    )
    parser.set_defaults(action_main=_calibrate)


def _calibrate(arguments: argparse.Namespace) -> int:
    """Run `deft hand calibrate`."""
    module = importlib.import_module(f'deft_hand_driver.commands.calibrate_{arguments.part}')
    return int(module.run(arguments))
