# SPDX-License-Identifier: Apache-2.0
"""The promises of joint_trajectory_controller that planners rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from deft_sim.trajectory_follower import JointTrajectoryFollower


def test_interpolates_from_the_current_setpoint_and_stays_at_the_end() -> None:
    follower = JointTrajectoryFollower([0.1])
    assert follower.sample(5.0) == pytest.approx([0.1])
    follower.follow([1.0, 2.0], [[1.1], [3.1]], elapsed=10.0)
    for elapsed, position in ((0.5, 0.6), (1.5, 2.1), (99.0, 3.1)):
        assert follower.sample(elapsed) == pytest.approx([position])


def test_a_new_trajectory_replaces_the_old_without_a_jump() -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow([2.0], [[2.0]], elapsed=0.0)
    follower.follow([1.0], [[0.0]], elapsed=1.0)
    for elapsed, position in ((0.0, 1.0), (0.5, 0.5), (2.0, 0.0)):
        assert follower.sample(elapsed) == pytest.approx([position])
    follower.hold([0.3])
    assert follower.sample(1.0) == pytest.approx([0.3])


@pytest.mark.parametrize(
    ('times', 'points', 'delay', 'elapsed', 'position'),
    [
        ([0.0], [[0.7]], 0.0, 0.0, 0.7),  # at once
        ([1.0, 3.0], [[5.0], [2.0]], -2.0, 0.5, 1.0),  # points in the past are skipped
        ([0.0, 1.0], [[0.0], [1.0]], 2.0, 1.9, 0.0),  # starts later
        ([0.0, 1.0], [[0.0], [1.0]], 2.0, 2.5, 0.5),
    ],
)
def test_start_times(times, points, delay, elapsed, position) -> None:
    follower = JointTrajectoryFollower([0.0])
    follower.follow(times, points, elapsed=0.0, delay=delay)
    assert follower.sample(elapsed) == pytest.approx([position])


@pytest.mark.parametrize(
    ('times', 'positions', 'delay'),
    [
        ([], np.zeros((0, 2)), 0.0),
        ([1.0, 1.0], np.zeros((2, 2)), 0.0),
        ([-1.0], np.zeros((1, 2)), 0.0),
        ([1.0], np.zeros((1, 3)), 0.0),
        ([1.0], [[np.nan, 0.0]], 0.0),
        ([np.inf], np.zeros((1, 2)), 0.0),
        ([1.0], np.zeros((1, 2)), -5.0),  # over already
    ],
)
def test_malformed_trajectories_are_refused_and_change_nothing(times, positions, delay) -> None:
    follower = JointTrajectoryFollower([0.4, 0.5])
    with pytest.raises(InvalidInputError):
        follower.follow(times, positions, elapsed=0.0, delay=delay)
    np.testing.assert_array_equal(follower.sample(1.0), [0.4, 0.5])


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
