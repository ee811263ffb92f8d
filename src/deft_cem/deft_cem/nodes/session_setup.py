# SPDX-License-Identifier: Apache-2.0
"""From parameters to a session that can begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deft_cem.nodes.session_parameters import SessionParameters
from deft_cem.session_core import SessionCore, with_overrides
from deft_cem.settings import LEARNING_FILE, load_learning_settings
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.task import Task, load_task
from deft_core.trajectory import WristTrajectory


@dataclass(frozen=True)
class SessionSetup:
    """What stays the same during a session.

    Attributes:
        core: Book-keeping.
        task: What is taught.
        trajectory: What follows every grasp.
        settings_file: Learning settings, for the training.
    """

    core: SessionCore
    task: Task
    trajectory: WristTrajectory
    settings_file: Path


def make_setup(parameters: SessionParameters, task_name: str, run: str, seed: int) -> SessionSetup:
    """Read the task and the settings and claim the run folder.

    Args:
        parameters: Of the node.
        task_name: File in config/tasks.
        run: Folder of the run.
        seed: Seed of all random choices.

    Raises:
        ConfigurationError: Task, settings or run folder are wrong.
        RecordingError: The run folder cannot be written.
    """
    if not run:
        raise ConfigurationError('the parameter run is empty; name the folder of the run')
    directory = config_directory()
    settings_file = Path(parameters.settings) if parameters.settings else directory / LEARNING_FILE
    settings = with_overrides(
        load_learning_settings(settings_file),
        episodes=parameters.episodes,
        warm_up=parameters.warm_up,
        evaluation_trials=parameters.evaluation_trials,
    )
    task = load_task(task_name, directory)
    trajectory = task.load_trajectory(directory)
    run_directory = Path(run).absolute()
    stamp = datetime.now(UTC).strftime('%Y%m%dT%H%M%S')
    core = SessionCore(
        run_directory,
        session_id=f'{run_directory.name}-{stamp}',
        task=task_name,
        seed=seed,
        settings=settings,
    )
    return SessionSetup(core, task, trajectory, settings_file)
