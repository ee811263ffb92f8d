# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_arm.planning.paths import (
    JointPath,
    MotionLimits,
    braked,
    constant_rate,
    hold,
    point_to_point,
    rest_to_rest,
)
from deft_core.errors import InvalidInputError

SPEED = np.full(6, 2.0)
ACCELERATION = np.full(6, 8.0)
JERK = np.full(6, 200.0)
LIMITS = MotionLimits(SPEED, ACCELERATION, JERK)
POSTURES = arrays(np.float64, 6, elements=st.floats(-3.0, 3.0, allow_subnormal=False))
WAYPOINTS = st.integers(2, 8).flatmap(
    lambda n: arrays(np.float64, (n, 6), elements=st.floats(-3.0, 3.0, allow_subnormal=False))
)


def line(n=3):
    return JointPath(np.arange(n) * 0.5, np.linspace(0.0, 1.0, n)[:, None] * np.ones(6))


@pytest.mark.parametrize(
    ('times', 'positions'),
    [
        ([0.1, 0.2], np.zeros((2, 6))),
        ([0.0, 0.0], np.zeros((2, 6))),
        ([0.0, 1.0], np.zeros((2, 5))),
        ([0.0, np.nan], np.zeros((2, 6))),
        ([0.0, 1.0], np.full((2, 6), np.inf)),
        ([], np.zeros((0, 6))),
    ],
)
def test_refuses_what_is_no_path(times, positions):
    with pytest.raises(InvalidInputError):
        JointPath(times, positions)


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match='read-only'):
        line().positions[0, 0] = 1.0


def test_sample_is_linear_and_holds_the_ends():
    path = line()
    assert path.sample(-1.0)[0] == 0.0
    assert path.sample(0.25)[0] == pytest.approx(0.25)
    assert path.sample(0.75)[0] == pytest.approx(0.75)
    assert path.sample(99.0)[0] == 1.0


def test_joined_paths_must_meet():
    path = line()
    joined = path.then(hold(path.positions[-1], 0.5))
    assert joined.duration == pytest.approx(1.5)
    with pytest.raises(InvalidInputError, match='gap'):
        path.then(hold(path.positions[0], 0.5))


def peaks(path):
    """Largest speed, acceleration and jerk of the setpoints."""
    step = path.times[1]
    return [np.abs(np.diff(path.positions, n=n, axis=0)).max(axis=0) / step**n for n in (1, 2, 3)]


def assert_limited(path):
    if len(path.times) < 4:
        return
    speed, acceleration, jerk = peaks(path)
    assert np.all(speed <= SPEED * 1.01)
    assert np.all(acceleration <= ACCELERATION * 1.02)
    assert np.all(jerk <= JERK * 1.05)


@given(POSTURES, POSTURES, st.floats(0.1, 3.0))
def test_point_to_point_is_straight_and_keeps_the_limits(start, end, shortest):
    path = point_to_point(start, end, shortest, LIMITS)
    np.testing.assert_allclose(path.positions[[0, -1]], [start, end], atol=1e-9)
    assert path.duration >= shortest - 1e-9
    assert_limited(path)
    way = end - start
    if np.abs(way).max() > 1e-6:
        share = (path.positions - start) @ way / (way @ way)
        np.testing.assert_allclose(path.positions, start + share[:, None] * way, atol=1e-6)
        assert np.all(np.diff(share) >= -1e-9)


def test_point_to_point_is_as_fast_as_the_limits_allow():
    path = point_to_point(np.zeros(6), np.full(6, 3.0), 0.1, LIMITS)
    # Trapezoid of speed with jerk-limited corners: d / v + v / a + a / j.
    assert path.duration == pytest.approx(3.0 / 2.0 + 2.0 / 8.0 + 8.0 / 200.0, rel=1e-6)


def test_a_slow_move_is_a_gentle_one():
    fast, slow = (point_to_point(np.zeros(6), np.ones(6), t, LIMITS) for t in (0.1, 3.0))
    assert slow.duration == pytest.approx(3.0)
    slower = slow.duration / fast.duration
    for order, (quick, gentle) in enumerate(zip(peaks(fast)[:2], peaks(slow)[:2], strict=True), 1):
        np.testing.assert_allclose(gentle, quick / slower**order, rtol=0.1)


@given(WAYPOINTS, st.floats(0.1, 3.0))
def test_rest_to_rest_keeps_the_limits(waypoints, shortest):
    path = rest_to_rest(waypoints, shortest, LIMITS)
    np.testing.assert_allclose(path.positions[0], waypoints[0], atol=1e-9)
    np.testing.assert_allclose(path.positions[-1], waypoints[-1], atol=1e-9)
    assert path.duration >= shortest
    assert_limited(path)


def test_rest_to_rest_starts_and_ends_slowly():
    path = rest_to_rest(np.array([np.zeros(6), np.ones(6)]), 1.0, LIMITS)
    speed = np.diff(path.positions[:, 0]) / np.diff(path.times)
    assert speed[0] < 0.02 * speed.max()
    assert speed[-1] < 0.02 * speed.max()


def test_only_the_ends_take_longer_where_they_must():
    waypoints = np.cumsum(np.full((41, 6), 0.01), axis=0)  # 0.4 rad/s from the first step on
    path = constant_rate(waypoints, 40.0, LIMITS)
    assert path.duration == pytest.approx(1.4)
    assert_limited(path)
    np.testing.assert_allclose(np.diff(path.marks)[15:25], 1.0 / 40.0, rtol=1e-6)
    for mark, waypoint in zip(path.marks, waypoints[1:], strict=True):
        np.testing.assert_allclose(path.sample(mark), waypoint, atol=1e-3)


def test_marks_follow_a_slowed_path():
    path = constant_rate(np.cumsum(np.full((5, 6), 0.02), axis=0), 10.0, LIMITS)
    np.testing.assert_allclose(path.slower(2.0).marks, 2.0 * path.marks)


@given(WAYPOINTS, st.floats(1.0, 20.0))
def test_constant_rate_keeps_the_limits(waypoints, rate):
    path = constant_rate(waypoints, rate, LIMITS)
    assert path.duration >= (len(waypoints) - 1) / rate - 1e-9
    assert_limited(path)


def test_constant_rate_passes_the_waypoints_in_time():
    waypoints = np.cumsum(np.full((5, 6), 0.02), axis=0)
    path = constant_rate(waypoints, 10.0, MotionLimits(SPEED, ACCELERATION, np.full(6, 1e3)))
    assert path.duration == pytest.approx(0.4)
    for index, waypoint in enumerate(waypoints):
        np.testing.assert_allclose(path.sample(0.1 * index), waypoint, atol=1e-9)
    # It begins and ends at rest, though the demonstration moves from its first to its last pose.
    speed = np.abs(np.diff(path.positions[:, 0])) / path.times[1]
    assert speed[[0, -1]].max() < 0.3 * speed.max()


def test_braking_stays_on_the_path_and_ends_at_rest():
    way = np.cumsum(np.abs(np.random.default_rng(0).normal(0.02, 0.01, (20, 6))), axis=0)
    path = constant_rate(way, 10.0, LIMITS)
    stop = braked(path, 1.0, 0.3)
    np.testing.assert_array_equal(stop.positions[0], path.sample(1.0))
    np.testing.assert_allclose(stop.positions[-1], path.sample(1.0 + 0.15), atol=1e-12)
    pace = np.diff(path.positions, axis=0)[50] / path.times[1]
    steps = np.diff(stop.positions, axis=0) / stop.times[1]
    np.testing.assert_allclose(steps[0], pace, rtol=0.15)
    assert np.abs(steps[-1]).max() < 0.05 * np.abs(pace).max()
    for position in stop.positions:
        assert np.abs(path.positions - position).max(axis=1).min() < 0.02
