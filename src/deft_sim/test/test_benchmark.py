# SPDX-License-Identifier: Apache-2.0
"""The tasks as others use them: Gymnasium environments and the thirty-trial track."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from packaging.requirements import Requirement

from deft_core.episode import Outcome
from deft_core.errors import (
    ConfigurationError,
    DeftError,
    DeviceError,
    InvalidInputError,
    NoObjectError,
)
from deft_core.grasp import GraspResidual
from deft_sim import rendering
from deft_sim.benchmark import environment_id
from deft_sim.benchmark.episodes import TaskEpisodes, run_trials, trial_scenes
from deft_sim.benchmark.gymnasium_environment import GraspEnvironment
from deft_sim.benchmark.trial_track import TrialTrack
from deft_sim.environment import TableTopEnvironment
from deft_sim.tasks import simulated_tasks

PICK_CUP = 'deft/PickCup-v0'
ROOT = Path(__file__).resolve().parents[3]
ASIDE = np.array([0.0, 0.05, *[0.0] * 20])


@pytest.fixture(scope='module')
def cup(offscreen: None) -> Iterator[gymnasium.Env[Any, Any]]:
    made = gymnasium.make(PICK_CUP, render_mode='rgb_array', depth=True)
    yield made
    made.close()


def test_every_task_is_registered() -> None:
    assert environment_id('pick_cup') == PICK_CUP
    assert {environment_id(task) for task in simulated_tasks()} == {
        name for name in gymnasium.registry if name.startswith('deft/')
    }


@pytest.mark.parametrize('task', simulated_tasks())
def test_gymnasium_finds_nothing_wrong(offscreen: None, task: str) -> None:
    made = gymnasium.make(environment_id(task), depth=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_env(made.unwrapped)
    made.close()


def test_equal_seeds_give_equal_episodes_whatever_is_drawn_between(
    cup: gymnasium.Env[Any, Any],
) -> None:
    episodes = []
    for looks in range(2):
        first, before = cup.reset(seed=4)
        for _ in range(looks):
            assert cup.render().shape == first['image'].shape
        last, reward, terminated, truncated, after = cup.step(ASIDE)
        assert (terminated, truncated) == (True, False)
        assert before.items() <= after.items()
        assert (first['image'] != last['image']).any()
        following, _ = cup.reset()
        assert (following['prior'] != first['prior']).any()
        episodes.append((*first.values(), *last.values(), reward, *after.values()))
    for one, other in zip(*episodes, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_forked_process_says_that_it_cannot_render(
    offscreen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In truth it would wait for ever, as Mesa's threads are not forked."""
    monkeypatch.setattr(rendering, '_rendering', [os.getppid()])
    with pytest.raises(DeviceError, match='spawn'):
        rendering.OffscreenRenderer(64, 48)


@pytest.mark.parametrize(
    ('mode', 'context'), [('sync', {}), ('async', {'context': 'spawn'})], ids=['sync', 'async']
)
def test_a_vector_of_environments_does_as_one(
    cup: gymnasium.Env[Any, Any], mode: str, context: dict[str, str]
) -> None:
    kwargs: dict[str, Any] = {'autoreset_mode': AutoresetMode.SAME_STEP, **context}
    vector = gymnasium.make_vec(
        PICK_CUP, num_envs=2, vectorization_mode=mode, vector_kwargs=kwargs, depth=True
    )
    try:
        vector.reset(seed=4)
        _, rewards, terminated, _, infos = vector.step(np.tile(ASIDE, (2, 1)))
    finally:
        vector.close()
    assert terminated.all()
    for index in range(2):
        cup.reset(seed=4 + index)
        last, reward, _, _, info = cup.step(ASIDE)
        assert rewards[index] == reward
        for name, value in last.items():
            np.testing.assert_array_equal(infos['final_obs'][index][name], value)
        for name, value in info.items():
            assert infos['final_info'][name][index] == value


def test_residual_and_whole_grasp_are_the_same_grasp(cup: gymnasium.Env[Any, Any]) -> None:
    whole = gymnasium.make(PICK_CUP, action='grasp', object_set='test')
    options = {'scene_seed': 7, 'object': 'purple_tall_cup'}
    first, _ = whole.reset(options=options)
    of_grasp = whole.step(first['prior'] + ASIDE)
    whole.close()
    cup.reset(options=options)
    of_residual = cup.step(ASIDE)
    assert of_grasp[1:] == of_residual[1:]
    assert of_grasp[4]['object'] == 'purple_tall_cup'


def test_what_is_not_seen_moves_nothing_and_what_broke_down_is_cut_off(
    cup: gymnasium.Env[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    episodes = cup.unwrapped._episodes
    cup.reset(seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(episodes.environment, 'execute', lambda *_: Outcome.FAILED)
        _, reward, terminated, truncated, info = cup.step(ASIDE)
    assert (reward, terminated, truncated, info['outcome']) == (0.0, False, True, 'failed')

    def nothing(*_: Any, **__: Any) -> None:
        raise NoObjectError('an empty table')

    monkeypatch.setattr(episodes._segmentation, 'segment', nothing)
    first, _ = cup.reset(seed=0)
    assert not first['prior'].any()
    _, reward, terminated, truncated, info = cup.step(ASIDE)
    assert (reward, terminated, truncated, info['outcome']) == (0.0, True, False, 'no_object')


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'object_set': 'tset'}, "did you mean 'test'"),
        ({'action': 'torque'}, 'residual'),
        ({'render_mode': 'human'}, 'rgb_array'),
        ({'prior': 'geometry'}, "did you mean 'geometric'"),
    ],
)
def test_a_wrong_environment_is_refused(change: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        GraspEnvironment('pick_cup', **change)


def test_wrong_calls_are_refused(cup: gymnasium.Env[Any, Any]) -> None:
    plain = cup.unwrapped
    for options in ({'objekt': 'red_mug'}, {'object': 'red_mugg'}, {'scene_seed': -1}):
        with pytest.raises(InvalidInputError):
            plain.reset(options=options)
    plain.reset(seed=0)
    for action in (ASIDE[:-1], 100.0 * ASIDE, ASIDE * np.nan):
        with pytest.raises(InvalidInputError, match='ClipAction'):
            plain.step(action)
    assert np.float32(plain.action_space.high[0]) > plain.action_space.high[0]
    plain.step(plain.action_space.high.astype(np.float32))
    with pytest.raises(InvalidInputError, match='reset'):
        plain.step(ASIDE)


def test_a_success_in_passing_is_no_success(offscreen: None) -> None:
    environment = TableTopEnvironment.open('pick_cup')
    environment.reset(1, 'red_mug')
    phases = environment.plan(
        environment.cell.expert_grasp(), TaskEpisodes('pick_cup')._trajectory
    ).phases
    for phase in phases:
        environment.play(phase)
        if environment.success_once:
            break
    environment.motors.command(np.zeros(12))
    environment.cell.advance(1.0)
    assert environment.success_once
    assert not environment.score().success
    environment.reset(1, 'red_mug')
    assert not environment.success_once
    environment.close()


def test_the_track_scores_what_an_episode_scores_and_keeps_its_budget(offscreen: None) -> None:
    trial_seeds, scenes = trial_scenes(3, 2)
    episodes = TaskEpisodes('pick_cup')
    decide = lambda *_: GraspResidual.from_vector(ASIDE)  # noqa: E731
    attempt, residual = episodes.episode(int(scenes.integers(2**31)), 'train', decide)
    np.testing.assert_array_equal(residual.to_vector(), ASIDE)
    with TrialTrack('pick_cup', seed=3, episodes=1, trials=2) as track:
        assert track.score(ASIDE) == attempt.score
        assert track.left == 0
        with pytest.raises(DeftError, match='spent'):
            track.score(ASIDE)
        tried = track.evaluate(ASIDE)
    assert tried == {
        chosen: run_trials(episodes, trial_seeds, chosen, decide) for chosen in ('train', 'test')
    }
    episodes.close()


def listed() -> set[str]:
    """What a machine without ROS has of Python packages: requirements/tasks.txt and its needs."""
    lines = (ROOT / 'requirements' / 'tasks.txt').read_text().splitlines()
    names = [line for line in lines if line and line[0] not in '#-']
    found: set[str] = {line.rsplit('/', 1)[1] for line in lines if line.startswith('-e')}
    while names:
        name = names.pop().lower().replace('-', '_')
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({'extra': ''}):
                names.append(needed.name)
    return found


def test_an_episode_needs_neither_ros_nor_anything_that_is_not_listed(offscreen: None) -> None:
    allowed = listed()
    others = {path.name for path in (ROOT / 'src').iterdir()} - allowed
    for module, owners in importlib.metadata.packages_distributions().items():
        if not allowed & {owner.lower().replace('-', '_') for owner in owners}:
            others.add(module)
    assert {'rclpy', 'deft_msgs', 'deft_bag', 'std_msgs', 'torch'} <= others
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {sorted(others)!r}:
            raise ModuleNotFoundError(f'{{name}} is not in requirements/tasks.txt', name=name)

sys.meta_path.insert(0, Absent())
sys.path[:0] = {[path for path in sys.path if path]!r}
import gymnasium
import numpy
import deft_sim.benchmark
import deft_sim.benchmark.trial_track
made = gymnasium.make({PICK_CUP!r})
made.reset(seed=0)
print(made.step(numpy.zeros(22))[4]['outcome'])
"""
    ran = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.returncode) == ('completed\n', 0), ran.stderr
