# SPDX-License-Identifier: Apache-2.0
"""A session without ROS that is killed with SIGKILL and launched again until it is done.

A program of its own, because only a process with one thread may be forked at will:

    killed_session.py random FOLDER EPISODES SEED    at random moments
    killed_session.py boundaries FOLDER EPISODES     before and after everything that is written

FOLDER/records holds the record of every episode as it goes into the bag. What was proposed is
appended to FOLDER/proposals, what every kill interrupted to FOLDER/kills.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from deft_bag.writer import EpisodeBag
from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Event
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_cem.settings import LearningSettings
from deft_core.episode import Outcome
from deft_core.grasp import GraspParameters, GraspPrior

IMAGE = np.zeros((16, 16, 3), dtype=np.uint8)
PRIOR = GraspPrior(
    GraspParameters([0.5, 0.0, 0.1], [0.0, 1.5, 0.0], np.full(16, 0.4)),
    np.array([0.5, 0.0, 0.1]),
    0.01,
    'geometric',
    'pick_cup',
    'pick up the cup',
    'cell',
)


def settings_of(episodes: int) -> LearningSettings:
    return LearningSettings(
        episodes=episodes, warm_up_episodes=min(5, episodes - 1), evaluation_trials=0
    )


def reward_of(residual: np.ndarray) -> float:
    """The operator: how near the residual is to a place beside the prior."""
    sigma = LearningSettings().initial_std
    return float(np.exp(-np.mean((residual / sigma - 0.7) ** 2)))


def launch(folder: Path, episodes: int) -> None:
    """One launch, from where the one before was killed to the end."""
    run = folder / 'run'
    core = SessionCore(
        run, session_id='killed', task='pick_cup', seed=11, settings=settings_of(episodes)
    )
    with (folder / 'proposals').open('a', buffering=1) as proposals:
        while core.following() is Event.EPISODES_REMAIN:
            proposal = core.propose(IMAGE, PRIOR, 'cup', core.scene_seed)
            residual = proposal.residual.to_vector()
            proposals.write(f'{proposal.episode_id} {proposal.scene_seed} {residual.data.hex()}\n')
            core.finish_motion(Outcome.COMPLETED)
            record = (folder / 'records' / proposal.episode_id).read_bytes()
            core.reward(record, 0.0, reward_of(residual), 'operator', None)
    core.close()
    (folder / 'done').touch()


def forked(folder: Path, episodes: int, *, boundary: int | None = None) -> int:
    """Launch in a child; its process id."""
    child = os.fork()
    if child == 0:
        try:
            if boundary is not None:
                kill_at(boundary)
            launch(folder, episodes)
        finally:
            os._exit(0 if (folder / 'done').exists() else 1)
    return child


def kill_at(boundary: int) -> None:
    """This process dies at one of the moments before and after everything that is written."""
    passed = 0

    def moment() -> None:
        nonlocal passed
        if passed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def around(function):
        @functools.wraps(function)
        def wrapped(*arguments, **keywords):
            moment()
            result = function(*arguments, **keywords)
            moment()
            return result

        return wrapped

    SessionStore.create = around(SessionStore.create)
    EpisodeBag.write = around(EpisodeBag.write)
    EpisodeBag._write_metadata = around(EpisodeBag._write_metadata)
    for name in [name for name in vars(SessionStore) if name.startswith('record_')]:
        setattr(SessionStore, name, around(getattr(SessionStore, name)))
    SessionStore.begin_launch = around(SessionStore.begin_launch)


def situation(folder: Path) -> tuple[str, int]:
    """What a kill interrupted, and how many episodes are rated."""
    store = folder / 'run' / STORE_FILE
    if not store.is_file():
        return 'no store', 0
    with SessionStore.read(store) as record:
        waiting = record.pending()
        rated = sum(episode.state == 'rewarded' for episode in record.episodes())
        if waiting is not None:
            return waiting.state, rated
        return 'between', rated


def note(folder: Path, what: str) -> None:
    with (folder / 'kills').open('a') as kills:
        kills.write(f'{what}\n')


def at_random(folder: Path, episodes: int, seed: int, wanted: int) -> int:
    """Kill that often, however long it takes, then let the session come to its end."""
    rng = np.random.default_rng(seed)
    limit, rated, kills = 0.05, 0, 0
    while not (folder / 'done').exists():
        child = forked(folder, episodes)
        if kills < wanted:
            time.sleep(rng.uniform(0.0, limit))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) != 0:
                sys.exit('the session failed')
            continue
        kills += 1
        what, now = situation(folder)
        note(folder, what)
        # About one episode in two launches, on a slow disk as on a fast one.
        limit *= 0.7 if now > rated + 1 else 1.0 if now > rated else 1.15
        rated = now
    return kills


def at_boundaries(folder: Path, episodes: int) -> int:
    boundary = 0
    while True:
        case = folder / str(boundary)
        case.mkdir()
        (case / 'records').symlink_to(folder / 'records')
        _, status = os.waitpid(forked(case, episodes, boundary=boundary), 0)
        if os.WIFEXITED(status):
            break  # that many moments there are
        note(folder, situation(case)[0])
        _, status = os.waitpid(forked(case, episodes), 0)
        if status != 0:
            sys.exit(f'the session failed after a kill at moment {boundary}')
        boundary += 1
    return boundary


if __name__ == '__main__':
    kill_at_moments = {'random': at_random, 'boundaries': at_boundaries}[sys.argv[1]]
    count = kill_at_moments(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    sys.stdout.write(json.dumps({'kills': count}))
