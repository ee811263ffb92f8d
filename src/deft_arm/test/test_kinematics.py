# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_arm.planning.kinematics import POSITION_TOLERANCE, ROTATION_TOLERANCE, TargetPose
from deft_core.errors import UnreachableError
from deft_core.rotations import (
    matrix_from_euler,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)

SHARES = arrays(np.float64, 6, elements=st.floats(0.05, 0.95))


@pytest.fixture(scope='module')
def kinematics(planner):
    return planner.kinematics


def angle(first, second):
    return np.linalg.norm(rotation_vector_from_matrix(first @ second.T))


def test_flange_at_zero_is_the_published_one(kinematics):
    published = (0.207, 0.0, 0.112)
    np.testing.assert_allclose(kinematics.flange_position(np.zeros(6)), published, atol=1e-6)


@pytest.mark.parametrize(
    ('fifth', 'position', 'roll_pitch_yaw'),
    [(0.0, [0.207, 0.0, 0.112], [np.pi, 0.0, 0.0]), (-np.pi / 2, [0.228, 0.0, 0.285], None)],
)
def test_flange_is_where_the_vendor_has_it(kinematics, fifth, position, roll_pitch_yaw):
    """The zero pose, and `hold-up` of the vendor's MoveIt configuration."""
    joints = np.array([0.0, 0.0, 0.0, 0.0, fifth, 0.0])
    np.testing.assert_allclose(kinematics.flange_position(joints), position, atol=1e-5)
    if roll_pitch_yaw is not None:
        rotation, _ = kinematics.forward(joints)
        np.testing.assert_allclose(rotation, matrix_from_euler(roll_pitch_yaw), atol=1e-6)


def test_grasp_centre_moves_with_the_flange(kinematics, configuration):
    home = np.array(configuration.home)
    rotation, centre = kinematics.forward(home)
    expected = kinematics.flange_position(home) + rotation @ [0.050, 0.004, 0.185]
    np.testing.assert_allclose(centre, expected, atol=1e-9)


@settings(max_examples=40)
@given(SHARES, arrays(np.float64, 6, elements=st.floats(-0.02, 0.02)))
def test_tracking_returns_to_a_posture(kinematics, configuration, shares, shift):
    lower, upper = configuration.planning_limits()
    posture = lower + shares * (upper - lower)
    rotation, position = kinematics.forward(posture)
    solution = kinematics.track(rotation, position, posture + shift)
    reached_rotation, reached = kinematics.forward(solution.joint_positions)
    # The reported errors are the real ones, and no joint leaves its travel.
    assert np.linalg.norm(reached - position) == pytest.approx(solution.position_error, abs=1e-9)
    assert angle(reached_rotation, rotation) == pytest.approx(solution.rotation_error, abs=1e-7)
    assert np.all(solution.joint_positions >= lower - 1e-9)
    assert np.all(solution.joint_positions <= upper + 1e-9)


def test_reached_poses_have_small_residuals(kinematics, configuration):
    down = np.diag([-1.0, 1.0, -1.0])
    home = np.array(configuration.home)
    for x in (0.35, 0.45, 0.55):
        for y in (-0.2, 0.0, 0.2):
            target = TargetPose('test', down, np.array([x, y, 0.1]))
            branch = next(kinematics.branches(target, home))
            rotation, position = kinematics.forward(branch[0])
            assert np.linalg.norm(position - target.position) < POSITION_TOLERANCE
            assert angle(rotation, down) < ROTATION_TOLERANCE


def test_branches_differ_and_all_reach(kinematics, configuration):
    target = TargetPose('test', np.diag([-1.0, 1.0, -1.0]), np.array([0.45, 0.05, 0.1]))
    lower, upper = configuration.planning_limits()
    branches = list(kinematics.branches(target, np.array(configuration.home)))
    assert len(branches) >= 2
    for branch in branches:
        for posture in branch:
            assert np.all((posture >= lower) & (posture <= upper))
            _, position = kinematics.forward(posture)
            np.testing.assert_allclose(position, target.position, atol=POSITION_TOLERANCE)


def test_a_pose_out_of_reach_is_named(kinematics, configuration):
    target = TargetPose('far pose', np.eye(3), np.array([2.0, 0.0, 0.3]))
    with pytest.raises(UnreachableError, match=r'far pose.*2\.0.*off by'):
        next(kinematics.branches(target, np.array(configuration.home)))


def test_following_refuses_to_jump(kinematics, configuration):
    home = np.array(configuration.home)
    start = TargetPose('first', np.diag([-1.0, 1.0, -1.0]), np.array([0.45, 0.0, 0.2]))
    posture = next(kinematics.branches(start, home))[0]
    turned = matrix_from_rotation_vector([0.0, 0.0, 1.5]) @ start.rotation
    far = TargetPose('second', turned, start.position)
    with pytest.raises(UnreachableError, match='second needs a joint to jump'):
        kinematics.follow([start, far], posture)
