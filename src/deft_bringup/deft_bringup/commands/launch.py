# SPDX-License-Identifier: Apache-2.0
"""`deft launch`: start the nodes of a launch file, with or without `ros2 launch`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deft_bringup.launching.interpreter import (
    Interpreter,
    check_known,
    declared_arguments,
    listing,
    parse_assignments,
)
from deft_bringup.launching.supervisor import Supervisor, wants_colour
from deft_core.configuration import config_directory, nearest
from deft_core.errors import ConfigurationError
from deft_core.files import is_file

_SUFFIX: Final = '.launch.xml'
_BROKEN_PIPE: Final = 141


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft launch`."""
    parser.usage = 'deft launch [-h] [-s] FILE [NAME:=VALUE ...]'
    parser.description = (
        'Start every node of an XML launch file in a process of its own, show their output, and '
        'stop all of them on Ctrl-C or when a required node ends. Where `ros2` is installed the '
        'file is handed over to `ros2 launch`; DEFT_LAUNCH=own prevents that.'
    )
    parser.add_argument(
        '-s',
        '--show-args',
        '--show-arguments',
        action='store_true',
        help='list the arguments of the file with their defaults, and start nothing',
    )
    parser.add_argument(
        'file', metavar='FILE', help='path of a launch file, or its name in deft_bringup/launch'
    )
    parser.add_argument(
        'assignments',
        metavar='NAME:=VALUE',
        nargs='*',
        help='arguments of the launch file; of two for one name the last wins',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft launch`."""
    file = find_launch_file(arguments.file)
    if _hands_over(os.environ):
        _exec_ros2(file, arguments.assignments, show_arguments=arguments.show_args)
    declared = declared_arguments(file, os.environ)
    if arguments.show_args:
        print(listing(declared))
        return 0
    return launch(file, arguments.assignments)


def launch(file: Path, assignments: Sequence[str]) -> int:
    """Interpret a launch file and run it to its end.

    Returns:
        0; 130 after Ctrl-C; else the exit code of the node that failed first (128 + n for death
        by signal n).

    Raises:
        ConfigurationError: File or arguments are wrong; nothing was started.
    """
    values = parse_assignments(assignments)
    check_known(values, declared_arguments(file, os.environ))
    environment = node_environment(os.environ)
    with tempfile.TemporaryDirectory(prefix='deft_launch_') as scratch:
        plans = Interpreter(environment, Path(scratch)).run(file, values)
        if not plans:
            raise ConfigurationError(f'{file} starts nothing with these arguments.')
        colour = wants_colour(sys.stdout, os.environ)
        result = Supervisor(sys.stdout, colour=colour).run(plans, environment)
    if result.exit_code == _BROKEN_PIPE:
        # Nobody reads our output: without this the interpreter would fail at its last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if result.sentence:
        print(f'deft launch: {result.sentence}', file=sys.stderr)
    return result.exit_code


def node_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of the nodes.

    Messages check their fields, which ROS leaves off: an array of a wrong length would otherwise
    travel with whatever the memory behind it holds. Discovery stays on this machine unless the
    user says otherwise. Output of Python programs is not held back.
    """
    return {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        **environment,
        'ROS_PYTHON_CHECK_FIELDS': '1',
        'PYTHONUNBUFFERED': '1',
    }


def find_launch_file(name: str) -> Path:
    """Path of a launch file from a path or from its name in the launch folder.

    Raises:
        ConfigurationError: There is none; the nearest known name is given.
    """
    path = Path(name)
    if is_file(path):
        return path.absolute()
    if '/' in name:
        raise ConfigurationError(f'The launch file {name} does not exist.')
    folder = launch_directory()
    known = sorted(entry.name for entry in folder.glob(f'*{_SUFFIX}'))
    for candidate in (name, f'{name}{_SUFFIX}'):
        if candidate in known:
            return folder / candidate
    raise ConfigurationError(
        f'There is no launch file {name!r} in {folder}; {nearest(name, known)}'
    )


def launch_directory() -> Path:
    """Folder of the launch files: beside the configuration, installed or in the source tree."""
    folder = config_directory().parent / 'launch'
    if not folder.is_dir():
        raise ConfigurationError(
            f'No launch files at {folder}: build the workspace with `make setup`.'
        )
    return folder


def _hands_over(environment: Mapping[str, str]) -> bool:
    choice = environment.get('DEFT_LAUNCH')
    if choice not in (None, '', 'own'):
        raise ConfigurationError(f"DEFT_LAUNCH can only be 'own', got {choice!r}; unset it.")
    return choice != 'own' and shutil.which('ros2') is not None


def _exec_ros2(file: Path, assignments: Sequence[str], *, show_arguments: bool) -> None:
    """Replace this process by `ros2 launch`; does not return."""
    # ros2 launch takes any argument silently, so names are checked before.
    check_known(parse_assignments(assignments), declared_arguments(file, os.environ))
    options = ['--show-args'] if show_arguments else []
    sys.stdout.flush()
    os.execvpe(  # noqa: S606
        'ros2',  # noqa: S607
        ['ros2', 'launch', *options, str(file), *assignments],
        node_environment(os.environ),
    )
