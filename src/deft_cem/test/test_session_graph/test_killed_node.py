# SPDX-License-Identifier: Apache-2.0
"""The session node as a process that is killed with SIGKILL and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_bag.reader import BagReader
from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Event
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_cem.settings import load_learning_settings
from deft_core.episode import Outcome
from deft_msgs.msg import SessionStatus


class Killable:
    """`session_node` in a process of its own."""

    def __init__(self, graph, output: Path, **values) -> None:
        self.output = output
        command = [sys.executable, '-m', 'deft_cem.nodes.session_node', '--ros-args']
        for name, value in graph.values(**values).items():
            command += ['-p', f'{name}:={value}']
        with output.open('ab') as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def launch(graph, tmp_path: Path):
    started: list[Killable] = []

    def start(**values) -> Killable:
        # What the process before said must not be taken for what this one says.
        graph.peers.statuses.clear()
        started.append(Killable(graph, tmp_path / 'output.txt', **values))
        return started[-1]

    yield start
    for node in started:
        node.kill()


def by_place(_: list[float], goal) -> float:
    """A score that follows from the grasp alone."""
    return float(0.5 + 0.5 * np.sin(99.0 * goal.grasp.position[0]))


def test_a_killed_session_goes_on_with_the_same_sample(graph, launch, tmp_path: Path) -> None:
    peers = graph.peers
    peers.score = by_place
    # Killed in the middle of the second motion.
    first = launch(episodes=4, evaluation_trials=0)
    killed_at: list[str] = []

    def kill_in_second_motion() -> None:
        if len(peers.grasps) == 2:
            killed_at.append(peers.grasps[-1].episode_id)
            first.kill()

    peers.on_grasp = kill_in_second_motion
    graph.until(lambda: killed_at)
    peers.on_grasp = None
    # Killed again when it waits for the score.
    second = launch(episodes=4, evaluation_trials=0)
    peers.answers = False
    graph.until_state(SessionStatus.RESET)
    assert peers.statuses[-1].episode_id == killed_at[0]
    peers.confirm_scene()
    waiting = graph.until_state(SessionStatus.AWAIT_REWARD)
    assert waiting.episode_id == killed_at[0]
    second.kill()
    peers.answers = True
    third = launch(episodes=4, evaluation_trials=0)
    graph.until(lambda: third.process.poll() is not None)
    assert third.process.returncode == 0, third.output.read_text()

    tried = {}
    for grasp in peers.grasps:
        tried.setdefault(grasp.episode_id, []).append(
            (*grasp.grasp.position, *grasp.grasp.wrist_rotation, *grasp.grasp.joint_positions)
        )
    assert [len(attempts) for attempts in tried.values()] == [1, 3, 1, 1]
    assert all(len(set(attempts)) == 1 for attempts in tried.values())
    with SessionStore.read(graph.run / STORE_FILE) as record:
        episodes = record.episodes()
        assert record.finished
        assert len(record.launches) == 3
    assert [episode.attempt for episode in episodes] == [1, 3, 1, 1]
    recorded = list(BagReader(graph.run / 'bag').episodes())
    assert [episode.episode_id for episode in recorded] == [e.episode_id for e in episodes]
    summary = json.loads((graph.run / 'summary.json').read_text())
    assert (summary['episodes'], summary['launches']) == (4, 3)
    rewards = [e.reward for e in episodes]
    assert [e.residual for e in episodes] == residuals_without_kills(graph, tmp_path, rewards)
    assert 'going on with session' in third.output.read_text()
    # A finished session is not gone on with.
    after = launch(episodes=4, evaluation_trials=0)
    assert after.process.wait(60.0) == 2
    assert 'is finished' in after.output.read_text()


def residuals_without_kills(graph, tmp_path: Path, rewards: list[float]) -> list:
    """What an uninterrupted session with the same rewards tries."""
    values = graph.values()
    settings = load_learning_settings(Path(values['settings']))
    core = SessionCore(
        tmp_path / 'uninterrupted',
        session_id='other',
        task='pick_cup',
        seed=values['seed'],
        settings=replace(
            settings, episodes=4, warm_up_episodes=values['warm_up'], evaluation_trials=0
        ),
    )
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    prior = graph.peers.records.make_episode(0).prior
    for reward in rewards:
        assert core.following() is Event.EPISODES_REMAIN
        core.propose(image, prior, 'cup', core.scene_seed)
        core.finish_motion(Outcome.COMPLETED)
        core.reward(b'', 0.0, reward, 'operator', None)
    residuals = [episode.residual for episode in core.store.episodes()]
    core.close()
    return residuals
