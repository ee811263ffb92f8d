# SPDX-License-Identifier: Apache-2.0
"""Closed-form hand-eye solutions against made-up truth, and against OpenCV where it has them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deft_core.errors import InvalidInputError
from deft_core.rotations import invert_transform, transform
from deft_perception.calibration.hand_eye import METHODS, HandEyeSolution, solve, turn_spread
from deft_perception.calibration.hand_eye_refinement import pose_difference


def pose(rng, turn, shift=0.4):
    rotation = Rotation.from_rotvec(rng.normal(0.0, turn, 3)).as_matrix()
    return transform(rotation, rng.normal(0.0, shift, 3))


def problem(seed, views=12, noise=0.0):
    rng = np.random.default_rng(seed)
    truth = HandEyeSolution(pose(rng, 2.0), pose(rng, 2.0, 0.1))
    flange = [pose(rng, 0.5) for _ in range(views)]
    board = [truth.board_in_camera(f) @ pose(rng, noise, noise) for f in flange]
    return truth, flange, board


@pytest.mark.parametrize('method', METHODS)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_exact_views_give_the_exact_solution(method, seed):
    truth, flange, board = problem(seed, views=6)
    found = solve(method, flange, board)
    assert found.T_base_camera == pytest.approx(truth.T_base_camera, abs=1e-6)
    assert found.T_flange_board == pytest.approx(truth.T_flange_board, abs=1e-6)


@pytest.mark.parametrize('method', METHODS)
def test_noise_of_a_millimetre_moves_the_camera_by_little_more(method):
    truth, flange, board = problem(7, views=30, noise=0.001)
    shift, turn = pose_difference(truth.T_base_camera, solve(method, flange, board).T_base_camera)
    assert shift < 0.003
    assert turn < 0.003


@pytest.mark.parametrize('method', METHODS)
def test_views_that_turn_about_one_axis_are_refused(method):
    rng = np.random.default_rng(0)
    truth = HandEyeSolution(pose(rng, 1.0), pose(rng, 1.0))
    flange = [
        transform(Rotation.from_rotvec([0.0, 0.0, a]).as_matrix(), rng.normal(0.0, 0.3, 3))
        for a in np.linspace(-1.0, 1.0, 8)
    ]
    board = [truth.board_in_camera(f) for f in flange]
    assert turn_spread(flange) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InvalidInputError, match='one axis only'):
        solve(method, flange, board)


def test_too_few_views_and_unknown_methods_are_refused():
    _, flange, board = problem(0)
    with pytest.raises(InvalidInputError, match='at least 3'):
        solve('park', flange[:2], board[:2])
    with pytest.raises(InvalidInputError, match='at least 3'):
        solve('park', flange, board[:-1])
    with pytest.raises(InvalidInputError, match='known: park'):
        solve('horaud', flange, board)


def test_hand_eye_methods_agree_with_opencv():
    if not hasattr(cv2, 'calibrateHandEye'):
        pytest.skip('this OpenCV offers no hand-eye calibration to Python')
    _, flange, board = problem(3, noise=0.002)
    # OpenCV's function is for a camera on the hand: a fixed camera takes the inverse arm poses.
    inverse = [invert_transform(f) for f in flange]
    arguments = (
        [f[:3, :3] for f in inverse],
        [f[:3, 3] for f in inverse],
        [b[:3, :3] for b in board],
        [b[:3, 3] for b in board],
    )
    for method, flag in (
        ('park', cv2.CALIB_HAND_EYE_PARK),
        ('daniilidis', cv2.CALIB_HAND_EYE_DANIILIDIS),
    ):
        rotation, translation = cv2.calibrateHandEye(*arguments, method=flag)
        theirs = transform(rotation, translation.ravel())
        shift, turn = pose_difference(theirs, solve(method, flange, board).T_base_camera)
        assert shift < 0.002
        assert turn < 0.002


def test_robot_world_methods_agree_with_opencv():
    if not hasattr(cv2, 'calibrateRobotWorldHandEye'):
        pytest.skip('this OpenCV offers no robot-world calibration to Python')
    _, flange, board = problem(4, noise=0.002)
    for method, flag in (
        ('shah', cv2.CALIB_ROBOT_WORLD_HAND_EYE_SHAH),
        ('li', cv2.CALIB_ROBOT_WORLD_HAND_EYE_LI),
    ):
        # OpenCV's A X = Z B: "world to camera" is our flange in the base, "base to gripper" our
        # board in the camera.
        rotation_x, shift_x, rotation_z, shift_z = cv2.calibrateRobotWorldHandEye(
            [f[:3, :3] for f in flange],
            [f[:3, 3] for f in flange],
            [b[:3, :3] for b in board],
            [b[:3, 3] for b in board],
            method=flag,
        )
        ours = solve(method, flange, board)
        for theirs, mine in (
            (transform(rotation_x, shift_x.ravel()), ours.T_flange_board),
            (transform(rotation_z, shift_z.ravel()), ours.T_base_camera),
        ):
            shift, turn = pose_difference(theirs, mine)
            assert shift < 0.002
            assert turn < 0.002
