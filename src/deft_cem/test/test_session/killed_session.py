# SPDX-License-Identifier: Apache-2.0
"""A session without ROS that is killed with SIGKILL and launched again until it is done.

A program of its own, because only a process with one thread may be forked at will:

    killed_session.py random FOLDER EPISODES SEED KILLS    that often, at random moments
    killed_session.py boundaries FOLDER EPISODES           before and after all that is written

FOLDER/records holds the record of every episode as it goes into the bag. What was proposed is
appended to FOLDER/proposals, what every kill interrupted to FOLDER/kills.
"""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import deft_bag.writer
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


def reward_of(index: int) -> float:
    """The operator, who knows the score of every episode before it is tried."""
    return 0.5 + 0.5 * math.sin(3.0 * index)


def launch(folder: Path, episodes: int, enough: int) -> None:
    """One launch, from where the one before was killed until enough episodes are rewarded."""
    run = folder / 'run'
    core = SessionCore(
        run, session_id='killed', task='pick_cup', seed=11, settings=settings_of(episodes)
    )
    with (folder / 'proposals').open('a', buffering=1) as proposals:
        while core.progress.position < enough:
            assert core.following() is Event.EPISODES_REMAIN
            proposal = core.propose(IMAGE, PRIOR, 'cup', core.scene_seed)
            residual = proposal.residual.to_vector()
            proposals.write(f'{proposal.episode_id} {proposal.scene_seed} {residual.data.hex()}\n')
            core.finish_motion(Outcome.COMPLETED)
            record = (folder / 'records' / proposal.episode_id).read_bytes()
            core.reward(record, 0.0, reward_of(proposal.number), 'operator', None)
    core.close()
    (folder / 'done').touch()


def forked(folder: Path, episodes: int, enough: int, *, boundary: int | None = None) -> int:
    """Launch in a child; its process id."""
    child = os.fork()
    if child == 0:
        try:
            if boundary is not None:
                kill_at(boundary)
            launch(folder, episodes, enough)
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
    deft_bag.writer.write_atomically = around(deft_bag.writer.write_atomically)
    for name in [name for name in vars(SessionStore) if name.startswith('record_')]:
        setattr(SessionStore, name, around(getattr(SessionStore, name)))
    SessionStore.begin_launch = around(SessionStore.begin_launch)


def situation(folder: Path) -> tuple[str, int]:
    """What a kill interrupted, and how many episodes are rewarded."""
    store = folder / 'run' / STORE_FILE
    if not store.is_file():
        return 'no store', 0
    with SessionStore.read(store) as record:
        waiting = record.pending()
        rewarded = sum(episode.state == 'rewarded' for episode in record.episodes())
        if waiting is not None:
            return waiting.state, rewarded
        return 'between', rewarded


def note(folder: Path, what: str) -> None:
    with (folder / 'kills').open('a') as kills:
        kills.write(f'{what}\n')


def at_random(folder: Path, episodes: int, seed: int, wanted: int) -> int:
    """Kill exactly that often, then let the session have two more episodes."""
    rng = np.random.default_rng(seed)
    limit, rewarded = 0.05, 0
    for _ in range(wanted):
        child = forked(folder, episodes, episodes)
        time.sleep(rng.uniform(0.0, limit))  # waits for nothing: the moment is to be random
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit('the session failed, or it came to its end before it was killed enough')
        what, now = situation(folder)
        note(folder, what)
        # About one episode in two launches, on a slow disk as on a fast one.
        limit *= 0.7 if now > rewarded + 1 else 1.0 if now > rewarded else 1.15
        rewarded = now
    _, status = os.waitpid(forked(folder, episodes, rewarded + 2), 0)
    if status != 0:
        sys.exit('the session failed after the last kill')
    return wanted


def at_boundaries(folder: Path, episodes: int) -> int:
    boundary = 0
    while True:
        case = folder / str(boundary)
        case.mkdir()
        (case / 'records').symlink_to(folder / 'records')
        _, status = os.waitpid(forked(case, episodes, episodes, boundary=boundary), 0)
        if os.WIFEXITED(status):
            break  # that many moments there are
        note(folder, situation(case)[0])
        _, status = os.waitpid(forked(case, episodes, episodes), 0)
        if status != 0:
            sys.exit(f'the session failed after a kill at moment {boundary}')
        boundary += 1
    return boundary


if __name__ == '__main__':
    kill_at_moments = {'random': at_random, 'boundaries': at_boundaries}[sys.argv[1]]
    count = kill_at_moments(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    sys.stdout.write(json.dumps({'kills': count}))
