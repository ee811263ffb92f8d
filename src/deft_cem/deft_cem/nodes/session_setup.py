# SPDX-License-Identifier: Apache-2.0
"""From parameters to a session that can begin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deft_cem.encoders.registry import make_encoder
from deft_cem.nodes.session_parameters import SessionParameters
from deft_cem.session_core import SessionCore
from deft_cem.session_methods import Method
from deft_cem.settings import LEARNING_FILE, LearningSettings, load_learning_settings
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
        predictor: Grasp predictor to ask for; empty for that of the affordance node.
    """

    core: SessionCore
    task: Task
    trajectory: WristTrajectory
    settings_file: Path
    predictor: str


def make_setup(
    parameters: SessionParameters, task_name: str, run: str, seed: int, *, must_exist: bool = False
) -> SessionSetup:
    """Read the task and the settings; begin the session in the run folder, or go on with it.

    Args:
        parameters: Of the node.
        task_name: File in config/tasks.
        run: Folder of the run.
        seed: Seed of all random choices.
        must_exist: Refuse to begin a new session.

    Raises:
        ConfigurationError: Task, settings or run folder are wrong.
        RecordingError: The run folder cannot be written, or its store is damaged.
        TrainingError: The policy of an interrupted session is missing.
    """
    if not run:
        raise ConfigurationError('the parameter run is empty; name the folder of the run')
    directory = config_directory()
    settings_file = Path(parameters.settings) if parameters.settings else directory / LEARNING_FILE
    settings = _with_overrides(
        load_learning_settings(settings_file),
        episodes=parameters.episodes,
        warm_up=parameters.warm_up,
        evaluation_trials=parameters.evaluation_trials,
        evaluation_object_set=parameters.evaluation_object_set,
    )
    # Made and dropped: missing weights must stop a session now, not after all the practice.
    make_encoder(settings.policy.encoder)
    task = load_task(task_name, directory)
    trajectory = task.load_trajectory(directory)
    run_directory = Path(run).absolute()
    method = Method.parse(parameters.method)
    predictor = method.choose_predictor(parameters.predictor)
    stamp = datetime.now(UTC).strftime('%Y%m%dT%H%M%S')
    core = SessionCore(
        run_directory,
        session_id=f'{run_directory.name}-{stamp}',
        task=task_name,
        seed=seed,
        settings=settings,
        method=method,
        predictor=predictor,
        must_exist=must_exist,
    )
    return SessionSetup(core, task, trajectory, settings_file, predictor)


def _with_overrides(
    settings: LearningSettings,
    *,
    episodes: int,
    warm_up: int,
    evaluation_trials: int,
    evaluation_object_set: str,
) -> LearningSettings:
    """Settings with what a launch file may change; -1 and '' keep what the file says."""
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ('episodes', episodes),
            ('warm_up_episodes', warm_up),
            ('evaluation_trials', evaluation_trials),
        )
        if value >= 0
    }
    if evaluation_object_set:
        changes['evaluation_object_set'] = evaluation_object_set
    return replace(settings, **changes)
