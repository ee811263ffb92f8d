# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_arm.paths import JointPath, constant_rate, hold, rest_to_rest
from deft_core.errors import InvalidInputError

SPEED = np.full(6, 2.0)
ACCELERATION = np.full(6, 8.0)
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
    with pytest.raises(InvalidInputError, match='finite'):
        path.sample(np.nan)


def test_joined_paths_must_meet():
    path = line()
    joined = path.then(hold(path.positions[-1], 0.5))
    assert joined.duration == pytest.approx(1.5)
    with pytest.raises(InvalidInputError, match='gap'):
        path.then(hold(path.positions[0], 0.5))


@given(WAYPOINTS, st.floats(0.1, 3.0))
def test_rest_to_rest_keeps_the_limits(waypoints, shortest):
    path = rest_to_rest(waypoints, shortest, SPEED, ACCELERATION)
    np.testing.assert_allclose(path.positions[0], waypoints[0], atol=1e-12)
    np.testing.assert_allclose(path.positions[-1], waypoints[-1], atol=1e-9)
    assert path.duration >= shortest
    assert np.all(path.maximum_speed() <= SPEED * 1.01)
    # It never leaves the span of the waypoints.
    assert np.all(path.positions <= waypoints.max(axis=0) + 1e-9)
    assert np.all(path.positions >= waypoints.min(axis=0) - 1e-9)


def test_rest_to_rest_starts_and_ends_slowly():
    path = rest_to_rest(np.array([np.zeros(6), np.ones(6)]), 1.0, SPEED, ACCELERATION)
    speed = np.diff(path.positions[:, 0]) / np.diff(path.times)
    assert speed[0] < 0.02 * speed.max()
    assert speed[-1] < 0.02 * speed.max()
    acceleration = np.abs(np.diff(speed)) / path.times[1]
    assert acceleration.max() <= ACCELERATION[0] * 1.01


def test_rest_to_rest_is_as_fast_as_the_limits_allow():
    slow = rest_to_rest(np.array([np.zeros(6), np.full(6, 3.0)]), 0.1, SPEED, ACCELERATION)
    # Peak speed of the quintic is 15/8 of the mean.
    assert slow.duration == pytest.approx(3.0 / 2.0 * 15.0 / 8.0, rel=0.01)


@given(WAYPOINTS, st.floats(1.0, 20.0))
def test_constant_rate_keeps_the_speed_limit(waypoints, rate):
    path = constant_rate(waypoints, rate, SPEED)
    assert path.duration >= (len(waypoints) - 1) / rate - 1e-9
    assert np.all(path.maximum_speed() <= SPEED * 1.01)


def test_constant_rate_passes_the_waypoints_in_time():
    waypoints = np.cumsum(np.full((5, 6), 0.05), axis=0)
    path = constant_rate(waypoints, 10.0, SPEED)
    assert path.duration == pytest.approx(0.4)
    for index, waypoint in enumerate(waypoints):
        np.testing.assert_allclose(path.sample(0.1 * index), waypoint, atol=1e-9)
