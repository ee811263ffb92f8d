# SPDX-License-Identifier: Apache-2.0
"""`deft hand`: look at the motors of a hand, set them up and move them, without ROS.

The hand driver must not run at the same time: a port belongs to one program.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Final

_ACTIONS: Final = {
    'scan': 'who is on the bus',
    'status': 'what every motor measures and how it is set',
    'pose': 'move the hand to a named pose',
    'calibrate': 'find taut tendons and limits, or learn the map to the joints',
    'set-id': 'give a motor its id and the baud rate of the hand',
    'reboot': 'restart motors, which clears hardware errors',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand`."""
    parser.description = (
        'Look at the motors of a hand, set them up and move them. Stop the hand driver before: a '
        'port belongs to one program. docs/hand.md goes from a box of motors to a working hand.'
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    for name, summary in _ACTIONS.items():
        sub = actions.add_parser(name, help=summary, description=f'{summary.capitalize()}.')
        sub.add_argument('--port', help='serial port (default: the only one in /dev/serial/by-id)')
        sub.add_argument('--hand', default='dash', help='file in config/hands (%(default)s)')
        module = importlib.import_module(
            f'deft_hand_driver.commands.hand_{name.replace("-", "_")}'
        )
        module.add_arguments(sub)
        sub.set_defaults(action_main=module.main)


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand`."""
    return int(arguments.action_main(arguments))
