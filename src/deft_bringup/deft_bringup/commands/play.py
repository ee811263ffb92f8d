# SPDX-License-Identifier: Apache-2.0
"""`deft play BAG`: publish what a bag recorded again, with or without rosbag2."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from deft_bringup.commands.launch import node_environment
from deft_bringup.packages import executable_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft play`."""
    parser.description = (
        'Publish the messages of a bag with their types, their quality of service and their '
        'spacing in time, also those of a bag that was cut off. Where rosbag2 is installed, '
        '`ros2 bag play` does the same with a bag that was closed.'
    )
    parser.add_argument(
        'bag', type=Path, metavar='BAG', help='folder of a run, of a bag, or an .mcap file'
    )
    parser.add_argument(
        '--rate',
        type=float,
        default=1.0,
        metavar='X',
        help='recorded seconds in one second (%(default)s)',
    )
    parser.add_argument(
        '--topics', nargs='+', default=[], metavar='TOPIC', help='only these (default: all)'
    )
    parser.add_argument(
        '--delay',
        type=float,
        default=1.0,
        metavar='S',
        help='seconds before the first message, for listeners to find the topics (%(default)s)',
    )
    parser.add_argument(
        '--train',
        action='store_true',
        help='ask the node replay_trainer to train when all was played, and wait for its answer',
    )


def main(arguments: argparse.Namespace) -> int:
    """Become the node `bag_player`; does not return."""
    command = player_command(arguments)
    sys.stdout.flush()
    os.execve(command[0], command, node_environment(os.environ))  # noqa: S606


def player_command(arguments: argparse.Namespace) -> list[str]:
    """The command line of the node."""
    parameters: dict[str, object] = {
        'bag': str(arguments.bag),
        'rate': arguments.rate,
        'delay': arguments.delay,
        'train': arguments.train,
    }
    if arguments.topics:  # ROS has no empty list: it would not know of what
        parameters['topics'] = arguments.topics
    command = [str(executable_path('deft_bag', 'bag_player')), '--ros-args']
    for name, value in parameters.items():
        # JSON is YAML, which is how ROS reads a value: a text stays a text.
        command += ['-p', f'{name}:={json.dumps(value)}']
    return command
