# SPDX-License-Identifier: Apache-2.0
"""`deft tasks`: what the robot can be taught."""

from __future__ import annotations

import argparse

from deft_core.configuration import config_directory, nearest
from deft_core.errors import ConfigurationError
from deft_core.task import load_task


def task_names() -> list[str]:
    """Names of the tasks in the configuration, sorted.

    Raises:
        ConfigurationError: There is no configuration or it holds no task.
    """
    folder = config_directory() / 'tasks'
    names = sorted(path.stem for path in folder.glob('*.yaml'))
    if not names:
        raise ConfigurationError(f'{folder} holds no task; each is a file <name>.yaml.')
    return names


def check_task(name: str) -> str:
    """The name of a task that exists.

    Raises:
        ConfigurationError: It does not; the known ones are named.
    """
    names = task_names()
    if name not in names:
        hint = nearest(name, names)
        listing = '' if hint.startswith('known') else f' Known: {", ".join(names)}.'
        raise ConfigurationError(f'Unknown task {name!r}; {hint}{listing}')
    return name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`deft tasks` takes no arguments."""
    parser.description = 'List the tasks of config/tasks with their instructions.'


def main(arguments: argparse.Namespace) -> int:
    """Print one line for each task."""
    del arguments  # `deft tasks` takes none.
    names = task_names()
    width = max(len(name) for name in names)
    for name in names:
        print(f'{name:{width}}  {load_task(name, config_directory()).instruction}')
    return 0
