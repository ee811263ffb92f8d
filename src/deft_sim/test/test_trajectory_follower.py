# SPDX-License-Identifier: Apache-2.0
"""The promises of joint_trajectory_controller that planners rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from deft_sim.trajectory_follower import JointTrajectoryFollower


def test_holds_the_first_position() -> None:
    follower = JointTrajectoryFollower([0.1, 0.2])
    np.testing.assert_array_equal(follower.sample(5.0), [0.1, 0.2])


def test_interpolates_from_the_current_setpoint() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([1.0, 2.0], [[1.0], [3.0]], elapsed=10.0)
    assert follower.sample(0.5) == pytest.approx([0.5])
    assert follower.sample(1.5) == pytest.approx([2.0])
    assert follower.sample(99.0) == pytest.approx([3.0])


def test_a_new_trajectory_replaces_the_old_without_a_jump() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([2.0], [[2.0]], elapsed=0.0)
    follower.follow([1.0], [[0.0]], elapsed=1.0)
    assert follower.sample(0.0) == pytest.approx([1.0])
    assert follower.sample(0.5) == pytest.approx([0.5])
    assert follower.sample(2.0) == pytest.approx([0.0])


def test_a_point_at_time_zero_is_taken_at_once() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([0.0], [[0.7]], elapsed=3.0)
    assert follower.sample(0.0) == pytest.approx([0.7])


def test_points_in_the_past_are_skipped() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([1.0, 3.0], [[5.0], [2.0]], elapsed=0.0, delay=-2.0)
    assert follower.sample(0.5) == pytest.approx([1.0])


def test_a_trajectory_may_start_later() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([0.0, 1.0], [[0.0], [1.0]], elapsed=0.0, delay=2.0)
    assert follower.sample(1.9) == pytest.approx([0.0])
    assert follower.sample(2.5) == pytest.approx([0.5])


def test_hold_drops_the_trajectory() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([1.0], [[1.0]], elapsed=0.0)
    follower.hold([0.3])
    assert follower.sample(1.0) == pytest.approx([0.3])


@pytest.mark.parametrize(
    ('times', 'positions'),
    [
        ([], np.zeros((0, 2))),
        ([1.0, 1.0], np.zeros((2, 2))),
        ([-1.0], np.zeros((1, 2))),
        ([1.0], np.zeros((1, 3))),
        ([1.0], [[np.nan, 0.0]]),
        ([np.inf], np.zeros((1, 2))),
    ],
)
def test_malformed_trajectories_are_refused_and_change_nothing(
    times: list[float], positions: np.ndarray
) -> None:
    follower = JointTrajectoryFollower([0.4, 0.5])
    with pytest.raises(InvalidInputError):
        follower.follow(times, positions, elapsed=0.0)
    np.testing.assert_array_equal(follower.sample(1.0), [0.4, 0.5])


def test_a_trajectory_that_is_over_is_refused() -> None:
    follower = JointTrajectoryFollower([0.0])
    with pytest.raises(InvalidInputError, match=r'4\.000 s in the past'):
        follower.follow([1.0], [[1.0]], elapsed=0.0, delay=-5.0)


@given(
    st.lists(st.floats(0.01, 2.0), min_size=1, max_size=6),
    st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6),
    st.floats(0.0, 20.0),
)
def test_setpoints_stay_between_the_points(
    steps: list[float], points: list[float], elapsed: float
) -> None:
    follower = JointTrajectoryFollower([0.0])
    times = np.cumsum(steps)
    chosen = points[: len(times)]
    follower.follow(times, np.array(chosen)[:, None], elapsed=0.0)
    assert min(0.0, *chosen) - 1e-9 <= follower.sample(elapsed)[0] <= max(0.0, *chosen) + 1e-9
