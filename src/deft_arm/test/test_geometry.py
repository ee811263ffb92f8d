# SPDX-License-Identifier: Apache-2.0
"""Free space around arm and hand: obstacles, the arm itself, the envelope of the cell."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from deft_arm.planning.geometry import Obstacle, RobotGeometry
from deft_arm.planning.plan import Phase
from deft_arm.planning.planner import EpisodePlanner
from deft_arm.planning.safety import CollisionError, MotionGuard
from deft_core.errors import ConfigurationError
from deft_description.models import robot_model

OPEN = np.zeros(16)


def planner_pose(configuration, cup):
    """Arm at a grasp well above the table."""
    planner = EpisodePlanner(configuration)
    grasp = cup.grasp(height=0.2)
    plan = planner.plan(grasp, cup.lift(), 0.1, cup.approach, configuration.home, cup.open)
    return plan.phase(Phase.APPROACH).arm.positions[-1]


def wall(name='wall', **changes):
    values = {'centre': (0.6, 0.45, 0.3), 'size': (0.4, 0.05, 0.6), 'yaw': 0.3}
    return Obstacle(name, **{**values, **changes})


def test_distances_to_an_obstacle_are_those_of_mujoco(configuration):
    """Against an independent model: mj_geomDistance, box by box, over random postures."""
    obstacle = wall()
    geometry = RobotGeometry(0.0, 0.05, [obstacle])
    model = robot_model()
    data = mujoco.MjData(model)
    generator = np.random.default_rng(1)
    lower, upper = configuration.planning_limits()
    half = 0.5 * np.array(obstacle.size)
    turn = np.array(
        [
            [np.cos(obstacle.yaw), -np.sin(obstacle.yaw), 0.0],
            [np.sin(obstacle.yaw), np.cos(obstacle.yaw), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    inside = 0
    for _ in range(300):
        arm = np.clip(generator.normal([0.6, 0.2, -1.0, 0, 0.8, 0], 0.5), lower, upper)
        data.qpos[:] = np.concatenate([arm, OPEN])
        mujoco.mj_kinematics(model, data)
        # The middle of a shape in the box is an overlap, whatever else the shapes do.
        local = (data.geom_xpos - obstacle.centre) @ turn
        owners = [model.body(body).name for body in model.geom_bodyid]
        moving = np.array([owner != 'link_base' for owner in owners])
        overlaps = bool(np.any(np.all(np.abs(local[moving]) < half, axis=1)))
        sweep = geometry.sweep(arm[None], OPEN)
        if overlaps:
            inside += 1
            assert sweep.spare[0] < -0.05
            assert 'wall' in sweep.closest[0] or sweep.closest[0]
        gap = np.abs(local[moving]) - half
        far = np.linalg.norm(np.maximum(gap, 0.0), axis=1).min() > 0.35
        if far and 'wall' in sweep.closest[0]:
            pytest.fail('an obstacle farther than any shape is long was reported')
    assert inside > 10


def test_an_obstacle_on_the_way_is_refused_and_named(configuration, cup):
    narrow = dataclasses.replace(
        configuration,
        obstacles=(wall('shelf', centre=(0.55, 0.0, 0.5), size=(0.5, 0.5, 0.02), yaw=0.0),),
    )
    with pytest.raises(CollisionError, match='shelf'):
        EpisodePlanner(narrow).plan(
            cup.grasp(), cup.lift(step=0.008), 0.1, cup.approach, configuration.home, cup.open
        )


def test_the_whole_arm_must_stay_in_the_envelope(configuration, planner, cup):
    small = dataclasses.replace(configuration, envelope_upper=(0.95, 0.80, 0.40))
    arm = np.array([configuration.home])
    planner.guard.check_postures(['home'], arm, cup.open)
    with pytest.raises(CollisionError, match=r'home .* outside the cell along z'):
        MotionGuard(small).check_postures(['home'], arm, cup.open)


def test_what_is_too_near_at_the_start_may_be_left(configuration, cup):
    """A motion out of a bad place is allowed, one deeper into it is not."""
    low = planner_pose(configuration, cup)
    guard = MotionGuard(configuration)
    height = guard.geometry.sweep(low[None], cup.open).fingers[0]
    tight = MotionGuard(dataclasses.replace(configuration, finger_clearance=height + 0.03))
    step = np.array([0.0, 0.04, 0.0, 0.0, 0.0, 0.0])  # joint 2 tips the whole arm down
    up, down = np.array([low, low - step]), np.array([low, low + step])
    with pytest.raises(CollisionError, match='the fingers'):
        tight.check_postures(['way'], up, cup.open)
    tight.check_postures(['way'], up, cup.open, leaving=True)
    with pytest.raises(CollisionError, match='the fingers'):
        tight.check_postures(['way'], down, cup.open, leaving=True)


def test_a_phase_is_slowed_to_its_cap(configuration, planner, cup):
    start = np.array(configuration.home)
    start[0] += 0.6
    path = planner.plan_home(start, cup.open).phase(Phase.MOVE_HOME).arm
    slow = dataclasses.replace(configuration, speed_caps={'move_home': 0.05})
    slowed = MotionGuard(slow).check_motion(Phase.MOVE_HOME, path, cup.open)
    sweep = planner.guard.geometry.sweep(slowed.positions, cup.open)
    speed = sweep.largest_step() / np.diff(slowed.times)
    # The cap holds for the mean speed between looked-at setpoints.
    assert 0.04 < speed.max() < 0.051
    np.testing.assert_array_equal(slowed.positions, path.positions)


def test_one_hand_for_each_posture(planner, configuration):
    arm = np.repeat(np.array([configuration.home]), 3, axis=0)
    hands = np.array([OPEN, np.full(16, 0.3), np.full(16, 0.6)])
    together = planner.guard.geometry.sweep(arm, hands)
    for index, hand in enumerate(hands):
        alone = planner.guard.geometry.sweep(arm[:1], hand)
        assert together.fingers[index] == alone.fingers[0]


def test_obstacles_need_names_of_their_own():
    with pytest.raises(ConfigurationError, match='a name of its own'):
        RobotGeometry(0.02, 0.02, [wall('palm')])
