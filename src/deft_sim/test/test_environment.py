# SPDX-License-Identifier: Apache-2.0
"""Whole episodes without ROS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_core.errors import InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspResidual
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.description import MOTOR_NAMES as DRIVER_MOTOR_NAMES
from deft_sim.commands import record_demonstration
from deft_sim.environment import TableTopEnvironment
from deft_sim.scene import build_cell
from deft_sim.tasks import SimulatedTask, simulated_task


@pytest.fixture(scope='module')
def trajectory(environment: TableTopEnvironment) -> WristTrajectory:
    return environment.task.load_trajectory(config_directory())


def test_names_agree_with_the_driver_and_the_grasp(environment: TableTopEnvironment) -> None:
    """The description cannot import the packages that its names must agree with."""
    assert MOTOR_NAMES == DRIVER_MOTOR_NAMES
    model = build_cell(environment.settings).compile()
    assert [model.joint(i).name for i in range(6, 22)] == list(HAND_JOINT_NAMES)


@pytest.mark.parametrize('name', ['red_mug', 'orange_paper_cup'])
def test_a_good_grasp_picks_up_a_cup(
    environment: TableTopEnvironment, trajectory: WristTrajectory, name: str
) -> None:
    environment.reset(1, name)
    assert environment.execute(environment.cell.expert_grasp(), trajectory) is Outcome.COMPLETED
    verdict = environment.score(exact=True)
    assert verdict.success
    assert verdict.score > 0.7
    assert environment.cell.object_position()[2] > 0.10


def test_a_grasp_beside_the_cup_picks_up_nothing(
    environment: TableTopEnvironment, trajectory: WristTrajectory
) -> None:
    environment.reset(1, 'red_mug')
    beside = GraspResidual.from_vector([0.0, -0.09, *[0.0] * 20])
    assert (
        environment.execute(environment.cell.expert_grasp() + beside, trajectory)
        is Outcome.COMPLETED
    )
    assert not environment.score().success
    assert environment.score(exact=True).score < 0.3


def test_an_open_hand_picks_up_nothing(
    environment: TableTopEnvironment, trajectory: WristTrajectory
) -> None:
    """Nothing but closed fingers holds the cup: no glue, no weld."""
    environment.reset(1, 'red_mug')
    grasp = environment.cell.expert_grasp()
    opened = GraspParameters(grasp.position, grasp.wrist_rotation, np.zeros(16))
    environment.execute(opened, trajectory)
    assert not environment.score().success


def test_opening_the_hand_drops_the_cup(
    environment: TableTopEnvironment, trajectory: WristTrajectory
) -> None:
    environment.reset(1, 'red_mug')
    environment.execute(environment.cell.expert_grasp(), trajectory)
    assert environment.score().success
    environment.motors.command(np.zeros(len(MOTOR_NAMES)))
    environment.cell.advance(1.0)
    verdict = environment.score()
    assert not verdict.success
    assert 'lost' in verdict.explanation


def test_an_unreachable_grasp_moves_nothing(
    environment: TableTopEnvironment, trajectory: WristTrajectory
) -> None:
    environment.reset(1, 'red_mug')
    before = environment.cell.time
    far = GraspResidual.from_vector([0.6, 0.0, *[0.0] * 20])
    assert (
        environment.execute(environment.cell.expert_grasp() + far, trajectory)
        is Outcome.UNREACHABLE
    )
    assert environment.cell.time == before
    assert environment.score().score == 0.0


def test_an_unstable_simulation_is_an_outcome_and_leaves_no_trace(
    environment: TableTopEnvironment, trajectory: WristTrajectory, exploding: SimulatedTask
) -> None:
    cell = environment.cell
    environment.reset(1, 'red_mug')
    grasp = cell.expert_grasp()
    cell.reset_scene('red_mug', 1, exploding)
    home = cell.arm_state().positions
    assert environment.execute(grasp, trajectory) is Outcome.FAILED
    verdict = environment.score()
    assert (verdict.score, verdict.success) == (0.0, False)
    assert 'unstable' in verdict.explanation
    assert 'red_mug, scene seed 1' in verdict.explanation
    cell.advance(0.5)  # time goes on, with the arm where it was
    np.testing.assert_allclose(cell.arm_state().positions, home, atol=0.01)
    cell.reset_scene('red_mug', 1, simulated_task('pick_cup'))
    assert not cell.breakdown
    cell.return_robot_home()
    assert environment.execute(grasp, trajectory) is Outcome.COMPLETED
    assert environment.score().success


def test_equal_seeds_give_bit_equal_episodes(
    environment: TableTopEnvironment, trajectory: WristTrajectory
) -> None:
    results = []
    for attempt in range(2):
        if attempt == 1:  # another scene between must leave no trace
            environment.reset(77, 'white_mug')
            environment.execute(environment.cell.expert_grasp(), trajectory)
        first = environment.reset(5, 'green_beaker')
        environment.execute(environment.cell.expert_grasp(), trajectory)
        last = environment.final_image()
        cell = environment.cell
        results.append(
            (
                first.color,
                first.depth,
                last.color,
                last.depth,
                cell.object_position(),
                cell.arm_state().positions,
                cell.motor_state().efforts,
                cell.observed_hand_joints(),
                np.array(environment.score().score),
            )
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_seeds_give_other_scenes(environment: TableTopEnvironment) -> None:
    first = environment.reset(5, 'red_mug')
    second = environment.reset(6, 'red_mug')
    assert (first.color != second.color).any()
    with pytest.raises(InvalidInputError):
        environment.reset(-1, 'red_mug')


def test_the_recorded_demonstration_is_what_is_shipped(
    offscreen: None, trajectory: WristTrajectory, tmp_path: Path
) -> None:
    """Otherwise record it again: `python -m deft_sim.commands.record_demonstration pick_cup`."""
    assert record_demonstration.main(['pick_cup', '--output', str(tmp_path)]) == 2
    for part in ('trajectories', 'goals'):
        (tmp_path / part).mkdir()
    assert record_demonstration.main(['pick_cup', '--output', str(tmp_path)]) == 0
    recorded = WristTrajectory.load(tmp_path / 'trajectories' / 'pick_cup.json')
    assert len(trajectory) == TRAJECTORY_STEPS
    assert trajectory.rate == recorded.rate == 10.0
    np.testing.assert_allclose(trajectory.translations, recorded.translations, atol=2e-4)
    np.testing.assert_allclose(trajectory.rotation_vectors, recorded.rotation_vectors, atol=2e-3)
    assert trajectory.translations[:, 2].sum() == pytest.approx(0.16, abs=0.01)

    def picture(folder: Path, name: str) -> np.ndarray:
        return np.asarray(Image.open(folder / 'goals' / f'pick_cup_{name}.jpg')).astype(int)

    start, goal = (picture(tmp_path, name) for name in ('start', 'goal'))
    assert start.shape == goal.shape == (480, 640, 3)
    changed = np.abs(start - goal).max(axis=2) > 30
    assert 0.03 < changed.mean() < 0.5  # hand, arm and cup; not the whole scene
    for name, image in (('start', start), ('goal', goal)):
        shipped = picture(config_directory(), name)
        assert (np.abs(shipped - image).max(axis=2) > 60).mean() < 0.01
