# SPDX-License-Identifier: Apache-2.0
"""`deft demo`: one whole fine-tuning session on the simulated robot, with its report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from deft_bringup.commands.launch import find_launch_file, launch
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.files import read_json
from deft_core.task import load_task

# Keys of summary.json that the last lines show, with their labels.
_SUMMARY: Final[Mapping[str, str]] = {
    'success_warmup': 'success while warming up',
    'success_last10': 'success in the last ten episodes',
    'success_evaluation': 'success of the policy',
    'success_prior': 'success of the prior alone',
    'mean_reward_first10': 'mean reward, first ten',
    'mean_reward_last10': 'mean reward, last ten',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft demo`."""
    parser.description = (
        'Teach the simulated robot a task: practice episodes, training, evaluation and a report. '
        'Numbers that are not given come from config/.'
    )
    parser.add_argument('--task', default='pick_cup', help='a task of `deft tasks` (%(default)s)')
    parser.add_argument(
        '--run',
        type=Path,
        metavar='DIR',
        help='folder of the run, which must not exist or be empty (runs/<date and time>)',
    )
    parser.add_argument('--seed', type=_natural, default=0, help='random seed (%(default)s)')
    parser.add_argument(
        '--episodes', type=_natural, metavar='N', help='all practice episodes, warm-up included'
    )
    parser.add_argument(
        '--warm-up', type=_natural, metavar='N', help='episodes before the first refit'
    )
    parser.add_argument(
        '--evaluation-trials', type=_natural, metavar='N', help='trials of policy and of prior'
    )
    parser.add_argument(
        '--real-time-factor',
        type=float,
        metavar='X',
        help='simulated seconds in one second; less on a slow machine',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft demo`."""
    # Imported here because it loads the simulator.
    from deft_sim.tasks import simulated_task  # noqa: PLC0415

    load_task(arguments.task, config_directory())
    simulated_task(arguments.task)
    folder = fresh_run_folder(arguments.run)
    given = {
        'task': arguments.task,
        'run': folder,
        'seed': arguments.seed,
        'episodes': arguments.episodes,
        'warm_up': arguments.warm_up,
        'evaluation_trials': arguments.evaluation_trials,
        'real_time_factor': arguments.real_time_factor,
    }
    assignments = [f'{name}:={value}' for name, value in given.items() if value is not None]
    # Not handed over to ros2 launch, which hides the exit code of the nodes.
    code = launch(find_launch_file('fine_tune.launch.xml'), assignments)
    if code != 0:
        if not (folder / 'summary.json').is_file():
            return code
        print('The session is complete all the same; this is its report.')
    # Imported here because it loads what draws the pictures.
    from deft_report.page import build_report  # noqa: PLC0415

    report = build_report(folder)
    for line in summary_lines(folder):
        print(line)
    print(f'report: {report}')
    return 0


def _natural(text: str) -> int:
    """A whole number of at least zero, for argparse."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'must be at least 0, got {number}')
    return number


def fresh_run_folder(wish: Path | None) -> Path:
    """The absolute folder of a new run, named by the time where nobody wishes one; not created.

    Raises:
        ConfigurationError: It holds something already.
    """
    # Local time: a person looks for the run by the clock on the wall.
    stamp = datetime.now().astimezone().strftime('%Y-%m-%d_%H-%M-%S')
    folder = (Path('runs') / stamp if wish is None else wish).absolute()
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if folder.exists():
        raise ConfigurationError(
            f'The run folder {folder} is occupied; choose another one with --run or remove it.'
        )
    return folder


def summary_lines(folder: Path) -> list[str]:
    """The numbers of a run, one in a line."""
    summary = read_json(folder / 'summary.json')
    width = max(len(label) for label in _SUMMARY.values())
    return [f'{label:{width}}  {_number(summary.get(key))}' for key, label in _SUMMARY.items()]


def _number(value: object) -> str:
    return f'{value:.2f}' if isinstance(value, int | float) else '-'
