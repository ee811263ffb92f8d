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
from typing import Final

from deft_bringup import __version__
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError

_INTERRUPTED: Final = 130


# Command: its module and what it does.
_COMMANDS: Final = {
    'demo': ('deft_bringup.commands.demo', 'a whole session on the simulated robot'),
    'launch': ('deft_bringup.commands.launch', 'start the nodes of a launch file'),
    'train': ('deft_cem.commands.train', 'train a policy from the bags of runs'),
    'play': ('deft_bringup.commands.play', 'publish what a bag recorded again'),
    'report': ('deft_report.commands.report', 'rebuild the report of a run'),
    'compare': ('deft_report.commands.compare', 'compare the results of runs'),
    'score': ('deft_cem.commands.score', 'compare a visual reward with given rewards'),
    'hand': ('deft_hand_driver.commands.hand', 'look at, set up and move the hand'),
    'calibrate': ('deft_bringup.commands.calibrate', 'find where the camera stands, or check it'),
    'trajectory': (
        'deft_bringup.commands.trajectory',
        'the post-grasp trajectory from one human demonstration',
    ),
    'segment': (
        'deft_bringup.commands.segment',
        'what perception makes of two pictures or of a bag',
    ),
    'tasks': ('deft_bringup.commands.tasks', 'list the tasks'),
}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Parser of the command line; only the command `chosen` gets its arguments."""
    parser = argparse.ArgumentParser(
        prog='deft',
        description='Teach a soft dexterous hand a task by practice.',
        epilog='`deft COMMAND --help` explains a command.',
    )
    parser.add_argument('--version', action='version', version=f'deft {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, (module_name, summary) in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=f'{summary.capitalize()}.')
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(sub)
            sub.set_defaults(command_main=module.main)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `deft`.

    Returns:
        Exit code: 0; 2 for a wrong command line, configuration or input; 3 for any other failure
        that DEFT reports; 130 after Ctrl-C; else that of the command.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in words if word in _COMMANDS), None)
    try:
        options = build_parser(chosen).parse_args(words)
        return int(options.command_main(options))
    except DeftError as error:
        print(f'deft: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError | InvalidInputError) else 3
    except KeyboardInterrupt:
        print('deft: stopped by Ctrl-C.', file=sys.stderr)
        return _INTERRUPTED
