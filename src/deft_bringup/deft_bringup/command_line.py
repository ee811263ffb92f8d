# SPDX-License-Identifier: Apache-2.0
"""The `deft` command.

Only the module of the command that was asked for is imported, so that `deft --help` answers at
once and `deft launch` does not load what trains.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deft_bringup import __version__
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError

_INTERRUPTED: Final = 130


@dataclass(frozen=True)
class _Command:
    name: str
    module: str
    summary: str


_COMMANDS: Final = (
    _Command('demo', 'deft_bringup.commands.demo', 'a whole session on the simulated robot'),
    _Command('launch', 'deft_bringup.commands.launch', 'start the nodes of a launch file'),
    _Command('train', 'deft_cem.commands.train', 'train a policy from the bags of runs'),
    _Command('play', 'deft_bringup.commands.play', 'publish what a bag recorded again'),
    _Command('report', 'deft_report.commands.report', 'rebuild the report of a run'),
    _Command('compare', 'deft_report.commands.compare', 'compare the results of runs'),
    _Command('score', 'deft_cem.commands.score', 'compare a visual reward with given rewards'),
    _Command('hand', 'deft_hand_driver.commands.hand', 'look at, set up and move the hand'),
    _Command(
        'calibrate', 'deft_bringup.commands.calibrate', 'find where the camera stands, or check it'
    ),
    _Command(
        'trajectory',
        'deft_bringup.commands.trajectory',
        'the post-grasp trajectory from one human demonstration',
    ),
    _Command(
        'segment',
        'deft_bringup.commands.segment',
        'what perception makes of two pictures or of a bag',
    ),
    _Command('tasks', 'deft_bringup.commands.tasks', 'list the tasks'),
)


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Parser of the command line.

    Args:
        chosen: The command whose arguments are added; the others are only listed.
    """
    parser = argparse.ArgumentParser(
        prog='deft',
        description='Teach a soft dexterous hand a task by practice.',
        epilog='`deft COMMAND --help` explains a command.',
    )
    parser.add_argument('--version', action='version', version=f'deft {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for command in _COMMANDS:
        sub = commands.add_parser(
            command.name, help=command.summary, description=f'{command.summary.capitalize()}.'
        )
        if command.name == chosen:
            module = importlib.import_module(command.module)
            module.add_arguments(sub)
            sub.set_defaults(command_main=module.main)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `deft`.

    Args:
        arguments: Command line without the program; that of the process by default.

    Returns:
        Exit code: 0; 2 for a wrong command line, configuration or input; 3 for any other failure
        that DEFT reports; 130 after Ctrl-C; else that of the command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    names = [command.name for command in _COMMANDS]
    chosen = next((word for word in words if word in names), None)
    try:
        options = build_parser(chosen).parse_args(words)
        return int(options.command_main(options))
    except DeftError as error:
        print(f'deft: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError | InvalidInputError) else 3
    except KeyboardInterrupt:
        print('deft: stopped by Ctrl-C.', file=sys.stderr)
        return _INTERRUPTED
