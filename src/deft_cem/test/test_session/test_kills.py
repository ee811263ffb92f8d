# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment: the session goes on with the same sample and ends in the same state."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from deft_bag.reader import BagReader
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore

KILLS = 40
SCRIPT = Path(__file__).with_name('killed_session.py')


@pytest.fixture(scope='module')
def killed_session() -> ModuleType:
    specification = importlib.util.spec_from_file_location('killed_session', SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write_records(module: ModuleType, records, folder: Path, episodes: int) -> None:
    (folder / 'records').mkdir(parents=True)
    for index in range(episodes):
        name = f'killed-{index:03d}'
        reward = module.reward_of(index)
        episode = records.make_episode(index, episode_id=name, reward=reward)
        (folder / 'records' / name).write_bytes(records.cdr(records.record_of(episode)))


def run(*words: object) -> int:
    """Run the program; number of kills."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(json.loads(done.stdout)['kills'])


Tried = list[tuple[str, tuple[float, ...], float | None]]


def outcome(folder: Path) -> Tried:
    """Name, residual and reward of every episode in the store."""
    with SessionStore.read(folder / 'run' / STORE_FILE) as store:
        return [(e.episode_id, e.residual, e.reward) for e in store.episodes()]


def uninterrupted(module: ModuleType, records, folder: Path, episodes: int, enough: int) -> Tried:
    write_records(module, records, folder, episodes)
    module.launch(folder, episodes, enough)
    return outcome(folder)


def proposals(folder: Path) -> dict[str, set[str]]:
    """Scene and residual of every attempt of each episode."""
    found: dict[str, set[str]] = {}
    for line in (folder / 'proposals').read_text().splitlines():
        name, scene, residual = line.split()
        found.setdefault(name, set()).add(f'{scene} {residual}')
    return found


def in_bag(folder: Path) -> list[tuple[str, float | None]]:
    """Name and reward of every episode in the bag."""
    episodes = BagReader(folder / 'run' / 'bag').episodes()
    return [(episode.episode_id, episode.reward) for episode in episodes]


def test_killed_at_random_moments(killed_session, records, tmp_path: Path) -> None:
    episodes = 100  # more than that many kills leave time for
    folder = tmp_path / 'killed'
    write_records(killed_session, records, folder, episodes)
    assert run('random', folder, episodes, 3, KILLS) == KILLS
    found = outcome(folder)
    # Bit for bit: JSON gives back every float64.
    assert found == uninterrupted(
        killed_session, records, tmp_path / 'whole', episodes, len(found)
    )
    assert in_bag(folder) == [(name, reward) for name, _, reward in found]
    assert all(len(tried) == 1 for tried in proposals(folder).values())
    interrupted = Counter((folder / 'kills').read_text().splitlines())
    assert interrupted.total() == KILLS
    with SessionStore.read(folder / 'run' / STORE_FILE) as store:
        assert 1 < len(store.launches) <= KILLS + 1  # some are killed before they are noted
        assert max(episode.attempt for episode in store.episodes()) > 1, interrupted


def test_killed_before_and_after_everything_that_is_written(
    killed_session, records, tmp_path: Path
) -> None:
    episodes = 2
    expected = uninterrupted(killed_session, records, tmp_path / 'whole', episodes, episodes)
    folder = tmp_path / 'killed'
    write_records(killed_session, records, folder, episodes)
    kills = run('boundaries', folder, episodes)
    # Two of each: creation and launch; per episode ask, outcome, bag, its metadata and reward.
    assert kills == 2 * (2 + 5 * episodes)
    for case in range(kills):
        assert outcome(folder / str(case)) == expected, case
        assert in_bag(folder / str(case)) == [(name, reward) for name, _, reward in expected], case
        assert all(len(tried) == 1 for tried in proposals(folder / str(case)).values()), case
    interrupted = Counter((folder / 'kills').read_text().splitlines())
    assert interrupted['no store'] == 1
    assert interrupted['asked'] == 2 * episodes
    assert interrupted['executed'] == 6 * episodes
