# SPDX-License-Identifier: Apache-2.0
"""The closed-form start against made-up truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deft_core.errors import InvalidInputError
from deft_core.rotations import transform
from deft_perception.calibration.board import BoardPose
from deft_perception.calibration.hand_eye import (
    CalibrationView,
    HandEyeSolution,
    check_turns,
    solve_shah,
)


def pose(rng, turn, shift=0.4):
    rotation = Rotation.from_rotvec(rng.normal(0.0, turn, 3)).as_matrix()
    return transform(rotation, rng.normal(0.0, shift, 3))


def views_of(flange, board):
    return [
        CalibrationView('', np.zeros(6), f, None, BoardPose(b, 0.0, 0.0, 0.0))
        for f, b in zip(flange, board, strict=True)
    ]


def problem(seed, views=12, noise=0.0):
    rng = np.random.default_rng(seed)
    truth = HandEyeSolution(pose(rng, 2.0), pose(rng, 2.0, 0.1))
    flange = [pose(rng, 0.5) for _ in range(views)]
    board = [truth.board_in_camera(f) @ pose(rng, noise, noise) for f in flange]
    return truth, views_of(flange, board)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_exact_views_give_the_exact_solution(seed):
    truth, views = problem(seed, views=6)
    found = solve_shah(views)
    assert found.T_base_camera == pytest.approx(truth.T_base_camera, abs=1e-6)
    assert found.T_flange_board == pytest.approx(truth.T_flange_board, abs=1e-6)


def test_views_that_turn_about_one_axis_are_refused():
    rng = np.random.default_rng(0)
    flange = [
        transform(Rotation.from_rotvec([0.0, 0.0, a]).as_matrix(), rng.normal(0.0, 0.3, 3))
        for a in np.linspace(-1.0, 1.0, 8)
    ]
    with pytest.raises(InvalidInputError, match='one axis only'):
        check_turns(views_of(flange, flange))
    check_turns(problem(0)[1])
