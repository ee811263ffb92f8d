# SPDX-License-Identifier: Apache-2.0
"""`deft tasks`: what the robot can be taught."""

from __future__ import annotations

import argparse

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.task import load_task, task_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`deft tasks` takes no arguments."""
    parser.description = (
        'List the tasks of config/tasks with their instructions, and whether they can be '
        'simulated.'
    )


def main(arguments: argparse.Namespace) -> int:
    """Print one line for each task."""
    del arguments  # `deft tasks` takes none.
    # Imported here because it loads the simulator.
    from deft_sim.tasks import simulated_tasks  # noqa: PLC0415

    folder = config_directory()
    names, simulated = task_names(folder), simulated_tasks()
    if not names:
        raise ConfigurationError(f'{folder / "tasks"} holds no task; each is a file <name>.yaml.')
    width = max(len(name) for name in names)
    for name in names:
        note = '' if name in simulated else '  (not in simulation)'
        print(f'{name:{width}}  {load_task(name, folder).instruction}{note}')
    return 0
