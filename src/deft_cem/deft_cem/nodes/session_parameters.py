# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node `session`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    film_period: float = _seconds(0.5, 'simulated or real time between two film frames')
    peer_timeout: float = _seconds(90.0, 'until all other nodes must be there')
    service_timeout: float = _seconds(30.0, 'for one observation or prediction')
    motion_timeout: float = _seconds(120.0, 'for one motion of the arm')
    image_timeout: float = _seconds(15.0, 'for one picture of the camera')
    recorder_timeout: float = _seconds(30.0, 'for an episode to reach the disk')
    training_timeout: float = _seconds(600.0, 'for the training of the policy')
