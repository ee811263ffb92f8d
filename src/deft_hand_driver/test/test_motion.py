# SPDX-License-Identifier: Apache-2.0
"""What may be sent in each cycle; numbers in names are fault cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_hand_driver.hand import Motion

CLOSED = np.array([0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81])
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
AT = np.full(12, 0.1)


def motion_at(tendon_map, at):
    return Motion(tendon_map.description, tendon_map.lower, tendon_map.upper, at)


@pytest.fixture
def motion(tendon_map):
    return motion_at(tendon_map, AT)


@pytest.fixture
def closed(tendon_map):
    return tendon_map.motors_from_joints(CLOSED)


def run(motion, start, end, period=0.02, measured=AT):
    times = np.arange(start, end, period)
    return times, np.array([motion.update(float(now), measured) for now in times])


def test_holds_what_is_measured(motion):
    np.testing.assert_array_equal(motion.update(3.0, np.zeros(12)), AT)
    assert not motion.settled


def test_reaches_the_target_in_the_commanded_time(motion, closed):
    motion.go(closed, 1.0, 5.0)
    times, sent = run(motion, 5.0, 6.1)
    np.testing.assert_allclose(sent[-1], closed)
    halfway = np.searchsorted(times, 5.5)
    np.testing.assert_allclose(sent[halfway], (AT + closed) / 2, atol=0.05)
    assert motion.settled


@given(st.floats(-0.3, 2.0), arrays(np.float64, 16, elements=st.floats(0.0, 1.0)))
def test_every_target_is_reached_to_the_last_bit(tendon_map, start, shares):
    motion = motion_at(tendon_map, np.full(12, start))
    lower, upper = tendon_map.description.joint_limits()
    motion.go(tendon_map.motors_from_joints(lower + shares * (upper - lower)), 0.1, 0.0)
    run(motion, 0.0, 1.0)
    assert motion.settled


def test_a_new_target_starts_from_what_was_sent(motion, closed):
    motion.go(closed, 1.0, 0.0)
    _, before = run(motion, 0.0, 0.5)
    assert not motion.settled
    motion.go(np.zeros(12), 1.0, 0.5)
    _, after = run(motion, 0.5, 0.6)
    assert np.abs(after[0] - before[-1]).max() < 0.1


@given(
    target=arrays(np.float64, 12, elements=st.floats(-1e300, 1e300)),
    duration=st.floats(0.0, 10.0),
    times=st.lists(ANY_FLOAT, min_size=1, max_size=20),
)
def test_4_and_5_no_target_and_no_clock_exceeds_a_limit(tendon_map, target, duration, times):
    motion = motion_at(tendon_map, np.zeros(12))
    previous = np.zeros(12)
    limit = tendon_map.description.motor_step_limit
    motion.go(target, duration, 0.0)
    for now in times:
        sent = motion.update(now, np.zeros(12))
        assert np.all(np.isfinite(sent))
        assert np.all(sent >= tendon_map.lower - 1e-9)
        assert np.all(sent <= tendon_map.upper + 1e-9)
        assert np.abs(sent - previous).max() <= limit + 1e-9
        previous = sent


def test_4_speed_is_limited_whatever_the_duration(motion, closed, description):
    motion.go(closed, 0.0, 0.0)
    times, sent = run(motion, 0.0, 1.0)
    speed = np.abs(np.diff(sent, axis=0)) / np.diff(times)[:, None]
    assert speed.max() <= description.motor_speed_limit + 1e-6
    np.testing.assert_allclose(sent[-1], closed)


def test_a_clock_set_back_does_not_jump_and_still_arrives(motion, closed):
    motion.go(closed, 1.0, 100.0)
    _, before = run(motion, 100.0, 100.5)
    _, after = run(motion, 0.0, 1.1)
    assert np.abs(after[0] - before[-1]).max() < 0.1
    np.testing.assert_allclose(after[-1], closed)


def test_1_an_interrupted_motion_comes_to_rest_and_holds_what_is_measured(
    motion, closed, description
):
    motion.go(closed, 1.0, 0.0)
    _, before = run(motion, 0.0, 0.5, period=0.01)
    speed = np.abs(before[-1] - before[-2]).max() / 0.01
    motion.brake()
    times, after = run(motion, 0.5, 3.0, period=0.01, measured=np.full(12, 0.15))
    speeds = np.abs(np.diff(np.vstack([before[-1:], after]), axis=0)).max(axis=1) / 0.01
    braking = speed / description.motor_deceleration
    assert speeds[0] > 0.5 * speed, 'it should not stop dead'
    assert np.all(np.abs(np.diff(speeds[times < 0.5 + braking])) < 1.0)
    np.testing.assert_allclose(after[-1], 0.15)
    assert not motion.braking


def test_1_after_an_interruption_the_way_begins_where_the_hand_is(motion, closed):
    motion.go(closed, 1.0, 0.0)
    run(motion, 0.0, 0.5)
    motion.brake()
    run(motion, 0.5, 3.0)
    motion.go(closed, 1.0, 3.0, start=np.full(12, 0.12))
    _, sent = run(motion, 3.0, 4.2)
    np.testing.assert_allclose(sent[0], 0.12, atol=0.04)
    np.testing.assert_allclose(sent[-1], closed)


def test_outside_of_its_travel_a_hand_may_stay(tendon_map):
    outside = tendon_map.upper + 0.2
    motion = motion_at(tendon_map, outside)
    motion.update(0.0, outside)
    motion.brake()
    np.testing.assert_array_equal(motion.update(0.02, outside), outside)


@given(
    events=st.lists(
        st.tuples(st.sampled_from(['go', 'brake', 'wait']), st.floats(-0.5, 1.5)), max_size=30
    )
)
def test_4_no_course_of_commands_and_interruptions_exceeds_a_limit(tendon_map, events):
    motion = motion_at(tendon_map, np.zeros(12))
    now, previous = 0.0, motion.update(0.0, np.zeros(12))
    measured = np.zeros(12)
    for event, value in events:
        if event == 'go':
            motion.go(np.full(12, value), 0.1, now)
        elif event == 'brake':
            motion.brake()
        for _ in range(3):
            now += 0.02
            sent = motion.update(now, measured)
            speed = np.abs(sent - previous).max() / 0.02
            assert speed <= tendon_map.description.motor_speed_limit + 1e-6
            assert np.all((sent >= tendon_map.lower - 1e-9) & (sent <= tendon_map.upper + 1e-9))
            previous = sent
        measured = np.clip(previous - 0.05, tendon_map.lower, tendon_map.upper)
