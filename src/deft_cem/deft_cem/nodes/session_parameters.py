# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node `session`, and the session that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deft_cem.encoders.registry import make_encoder
from deft_cem.session.core import SessionCore
from deft_cem.session.run_config import Baseline
from deft_cem.settings import LEARNING_FILE, LearningSettings, load_learning_settings
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.task import Task, load_task
from deft_core.trajectory import WristTrajectory


def _seconds(default: float, doc: str) -> Any:
    metadata = {'minimum': 0.1, 'maximum': 3600.0, 'unit': 's', 'doc': doc}
    return field(default=default, metadata=metadata)


def _count(doc: str) -> Any:
    metadata = {'minimum': -1, 'maximum': 10_000, 'doc': f'{doc}; -1 takes the settings file'}
    return field(default=-1, metadata=metadata)


@dataclass(frozen=True)
class SessionParameters:
    """What a launch file may set; every time-out runs on the monotonic clock."""

    task: str = field(default='pick_cup', metadata={'doc': 'file in config/tasks'})
    run: str = field(default='', metadata={'doc': 'folder of the run'})
    method: str = field(
        default='deft', metadata={'doc': 'deft, affordance_only or real_world_only'}
    )
    seed: int = field(default=0, metadata={'minimum': 0, 'doc': 'of all random choices'})
    autostart: bool = field(
        default=True, metadata={'doc': 'begin at once and end the process with the session'}
    )
    settings: str = field(
        default='', metadata={'doc': 'learning settings; empty takes config/learning.yaml'}
    )
    predictor: str = field(
        default='', metadata={'doc': 'grasp predictor; empty takes that of the affordance node'}
    )
    episodes: int = _count('practice episodes, warm-up included')
    warm_up: int = _count('practice episodes before the first refit')
    evaluation_trials: int = _count(
        'trials of the policy on each object set, and as many of the prior alone'
    )
    evaluation_object_set: str = field(
        default='',
        metadata={'doc': 'train, test (held out) or both; empty: as the learning settings say'},
    )
    maximum_retries: int = field(
        default=3,
        metadata={
            'minimum': 0,
            'maximum': 100,
            'doc': 'times in a row that an episode may start over before the session halts',
        },
    )
    video_period: float = _seconds(0.5, 'simulated or real time between two frames of the video')
    peer_timeout: float = _seconds(90.0, 'until all other nodes must be there')
    service_timeout: float = _seconds(30.0, 'for one observation or prediction')
    motion_timeout: float = _seconds(120.0, 'for one motion of the arm')
    image_timeout: float = _seconds(15.0, 'for one picture of the camera')
    training_timeout: float = _seconds(600.0, 'for the training of the policy')


@dataclass(frozen=True)
class SessionSetup:
    """What stays the same during a session."""

    core: SessionCore
    task: Task
    trajectory: WristTrajectory
    settings_file: Path
    predictor: str  # grasp predictor to ask for; empty for that of the affordance node


def make_setup(
    parameters: SessionParameters, task_name: str, run: str, seed: int, *, must_exist: bool = False
) -> SessionSetup:
    """Read the task and the settings; begin the session in the run folder, or go on with it.

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
    baseline = Baseline.parse(parameters.method)
    predictor = baseline.choose_predictor(parameters.predictor)
    stamp = datetime.now(UTC).strftime('%Y%m%dT%H%M%S')
    core = SessionCore(
        run_directory,
        session_id=f'{run_directory.name}-{stamp}',
        task=task_name,
        seed=seed,
        settings=settings,
        baseline=baseline,
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
