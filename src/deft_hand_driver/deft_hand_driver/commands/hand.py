# SPDX-License-Identifier: Apache-2.0
"""`deft hand`: look at the motors of a hand, set them up and move them, without ROS.

The hand driver must not run at the same time: a port belongs to one program.
"""

from __future__ import annotations

import argparse

from deft_hand_driver.commands import hand_calibrate, motors, pose


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
    hand_calibrate.add_arguments(calibrate)
    calibrate.set_defaults(action_main=hand_calibrate.main)
    motors.add_set_id(action('set-id', 'give a motor its id and the baud rate of the hand'))
    motors.add_reboot(action('reboot', 'restart motors, which clears hardware errors'))


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand`."""
    return int(arguments.action_main(arguments))
