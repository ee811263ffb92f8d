# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_core.errors import DeviceError, InvalidInputError, SafetyError
from deft_hand_driver.controller import HandController, HandMode
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.joint_map import closed_form_map

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
CLOSED = np.array([0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81])
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@pytest.fixture
def controller(tendon_map):
    controller = HandController(tendon_map)
    controller.observe(np.full(12, 0.1))
    return controller


def run(controller, start, end, period=0.02):
    times = np.arange(start, end, period)
    return times, np.array([controller.update(float(now)) for now in times])


def test_starts_disabled_and_silent(controller):
    assert controller.mode is HandMode.DISABLED
    assert controller.update(0.0) is None
    with pytest.raises(SafetyError, match='/hand/enable'):
        controller.command(CLOSED, 1.0, 1, 0.0)


def test_is_not_enabled_before_a_measurement(tendon_map):
    with pytest.raises(DeviceError, match='/hand/motor_state'):
        HandController(tendon_map).enable()


def test_enabling_holds_what_is_measured(controller):
    controller.enable()
    np.testing.assert_array_equal(controller.update(3.0), np.full(12, 0.1))


def test_reaches_the_target_in_the_commanded_time(controller, tendon_map):
    controller.enable()
    controller.command(CLOSED, 1.0, 7, 5.0)
    times, sent = run(controller, 5.0, 6.1)
    target = tendon_map.motors_from_joints(CLOSED)
    np.testing.assert_allclose(sent[-1], target)
    halfway = sent[np.searchsorted(times, 5.5)]
    np.testing.assert_allclose(halfway, (np.full(12, 0.1) + target) / 2, atol=0.05)
    assert controller.settled
    assert controller.sequence == 7


@given(st.floats(-0.3, 2.0), arrays(np.float64, 16, elements=st.floats(0.0, 1.0)))
def test_every_target_is_reached_to_the_last_bit(tendon_map, start, shares):
    controller = HandController(tendon_map)
    controller.observe(np.full(12, start))
    controller.enable()
    lower, upper = tendon_map.description.joint_limits()
    controller.command(lower + shares * (upper - lower), 0.1, 1, 0.0)
    run(controller, 0.0, 1.0)
    assert controller.settled


def test_is_not_settled_halfway(controller):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 0.0)
    run(controller, 0.0, 0.5)
    assert not controller.settled


def test_a_new_command_starts_from_what_was_sent(controller):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 0.0)
    _, before = run(controller, 0.0, 0.5)
    controller.command(np.zeros(16), 1.0, 2, 0.5)
    _, after = run(controller, 0.5, 0.6)
    assert np.abs(after[0] - before[-1]).max() < 0.1


@given(
    joints=arrays(np.float64, 16, elements=ANY_FLOAT),
    duration=ANY_FLOAT,
    times=st.lists(ANY_FLOAT, min_size=1, max_size=20),
)
def test_no_input_exceeds_a_limit(tendon_map, joints, duration, times):
    controller = HandController(tendon_map)
    controller.observe(np.zeros(12))
    controller.enable()
    previous = np.zeros(12)
    limit = tendon_map.description.motor_step_limit
    try:
        controller.command(joints, duration, 1, 0.0)
    except InvalidInputError:
        assert not np.all(np.isfinite(joints)) or not 0.0 <= duration <= 10.0
    for now in times:
        sent = controller.update(now)
        assert np.all(np.isfinite(sent))
        assert np.all(sent >= tendon_map.lower - 1e-9)
        assert np.all(sent <= tendon_map.upper + 1e-9)
        assert np.abs(sent - previous).max() <= limit + 1e-9
        previous = sent


def test_speed_is_limited_whatever_the_duration(controller, tendon_map):
    controller.enable()
    controller.command(CLOSED, 0.0, 1, 0.0)
    times, sent = run(controller, 0.0, 1.0)
    speed = np.abs(np.diff(sent, axis=0)) / np.diff(times)[:, None]
    assert speed.max() <= tendon_map.description.motor_speed_limit + 1e-6
    np.testing.assert_allclose(sent[-1], tendon_map.motors_from_joints(CLOSED))


def test_targets_beyond_the_travel_are_cut(controller, tendon_map):
    controller.enable()
    assert controller.command(np.full(16, 100.0), 1.0, 1, 0.0)
    _, sent = run(controller, 0.0, 1.5)
    np.testing.assert_allclose(sent[-1], tendon_map.upper)
    assert not controller.command(CLOSED, 1.0, 2, 2.0)


@pytest.mark.parametrize(
    ('joints', 'duration'),
    [
        (np.full(16, np.nan), 1.0),
        (np.zeros(15), 1.0),
        (np.zeros(16), -1.0),
        (np.zeros(16), np.nan),
        (np.zeros(16), 1e9),
    ],
)
def test_a_refused_command_leaves_the_running_one(controller, tendon_map, joints, duration):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 0.0)
    with pytest.raises(InvalidInputError):
        controller.command(joints, duration, 2, 0.1)
    assert controller.rejected == 1
    assert controller.sequence == 1
    _, sent = run(controller, 0.0, 1.1)
    np.testing.assert_allclose(sent[-1], tendon_map.motors_from_joints(CLOSED))


def test_a_clock_set_back_does_not_jump_and_still_arrives(controller, tendon_map):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 100.0)
    _, before = run(controller, 100.0, 100.5)
    _, after = run(controller, 0.0, 1.1)
    assert np.abs(after[0] - before[-1]).max() < 0.1
    np.testing.assert_allclose(after[-1], tendon_map.motors_from_joints(CLOSED))


def test_fault_holds_the_measured_pose_until_cleared(controller):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 0.0)
    run(controller, 0.0, 0.5)
    controller.observe(np.full(12, 0.4))
    controller.fault('first')
    controller.observe(np.full(12, 0.2))
    controller.fault('second')
    np.testing.assert_array_equal(controller.update(0.6), np.full(12, 0.4))
    assert controller.fault_reason == 'first'
    with pytest.raises(SafetyError, match='first'):
        controller.enable()
    with pytest.raises(SafetyError, match='clear_fault'):
        controller.command(CLOSED, 1.0, 2, 0.7)
    controller.clear_fault()
    assert controller.mode is HandMode.DISABLED
    controller.enable()
    np.testing.assert_array_equal(controller.update(0.8), np.full(12, 0.2))


def test_disabling_does_not_clear_a_fault(controller):
    controller.fault('broken')
    controller.disable()
    assert controller.mode is HandMode.FAULT


def test_1_an_interrupted_motion_comes_to_rest_and_holds_what_is_measured(controller, description):
    controller.enable()
    controller.command(CLOSED, 1.0, 1, 0.0)
    _, before = run(controller, 0.0, 0.5, period=0.01)
    speed = np.abs(before[-1] - before[-2]).max() / 0.01
    controller.observe(np.full(12, 0.15))
    controller.interrupt('silence')
    times, after = run(controller, 0.5, 3.0, period=0.01)
    speeds = np.abs(np.diff(np.vstack([before[-1:], after]), axis=0)).max(axis=1) / 0.01
    braking = speed / description.motor_deceleration
    assert speeds[0] > 0.5 * speed, 'it should not stop dead'
    assert np.all(np.abs(np.diff(speeds[times < 0.5 + braking])) < 1.0)
    np.testing.assert_allclose(after[-1], 0.15)
    assert controller.mode is HandMode.ENABLED
    assert controller.interruption == 'silence'
    assert not controller.settled


def test_1_only_a_new_command_ends_an_interruption_from_the_measured_pose(controller, tendon_map):
    controller.enable()
    controller.command(CLOSED, 1.0, 4, 0.0)
    run(controller, 0.0, 0.5)
    controller.observe(np.full(12, 0.15))
    controller.interrupt('silence')
    run(controller, 0.5, 3.0)
    with pytest.raises(SafetyError, match='4 was broken off'):
        controller.command(CLOSED, 1.0, 4, 3.0)
    controller.observe(np.full(12, 0.12))
    controller.command(CLOSED, 1.0, 5, 3.0)
    assert controller.interruption == ''
    _, sent = run(controller, 3.0, 4.2)
    np.testing.assert_allclose(sent[0], 0.12, atol=0.04)
    np.testing.assert_allclose(sent[-1], tendon_map.motors_from_joints(CLOSED))
    assert controller.settled


def test_an_interruption_before_any_motion_holds(controller):
    controller.interrupt('not enabled')
    assert controller.interruption == ''
    controller.enable()
    controller.update(0.0)
    controller.interrupt('silence')
    assert controller.braking
    _, sent = run(controller, 0.02, 0.2)
    np.testing.assert_allclose(sent, 0.1)
    assert not controller.braking


def test_disabling_and_faults_end_an_interruption(controller):
    controller.enable()
    controller.interrupt('silence')
    controller.disable()
    assert controller.interruption == ''
    assert controller.sent is None
    controller.enable()
    controller.interrupt('silence')
    controller.fault('broken')
    assert controller.interruption == ''
    np.testing.assert_array_equal(controller.sent, np.full(12, 0.1))


def test_5_commands_cut_to_the_travel_are_counted(controller):
    controller.enable()
    controller.command(np.full(16, 100.0), 1.0, 1, 0.0)
    controller.command(CLOSED, 1.0, 2, 0.1)
    assert controller.clipped == 1


@given(
    events=st.lists(
        st.tuples(st.sampled_from(['command', 'interrupt', 'wait']), st.floats(-0.5, 1.5)),
        max_size=30,
    )
)
def test_4_no_course_of_commands_and_interruptions_exceeds_a_limit(tendon_map, events):
    controller = HandController(tendon_map)
    controller.observe(np.zeros(12))
    controller.enable()
    limits = tendon_map.description
    now, previous = 0.0, controller.update(0.0)
    for sequence, (event, value) in enumerate(events, start=1):
        if event == 'command':
            controller.command(np.full(16, value), 0.1, sequence, now)
        elif event == 'interrupt':
            controller.interrupt('test')
        for _ in range(3):
            now += 0.02
            sent = controller.update(now)
            speed = np.abs(sent - previous).max() / 0.02
            assert speed <= limits.motor_speed_limit + 1e-6
            assert np.all((sent >= tendon_map.lower - 1e-9) & (sent <= tendon_map.upper + 1e-9))
            previous = sent
        controller.observe(np.clip(previous - 0.05, tendon_map.lower, tendon_map.upper))


def test_leap_moves_sixteen_motors():
    leap = closed_form_map(load_hand_description('leap', CONFIGURATION))
    controller = HandController(leap)
    controller.observe(np.zeros(16))
    controller.enable()
    controller.command(leap.description.pose('half_closed'), 1.0, 1, 0.0)
    _, sent = run(controller, 0.0, 1.2)
    np.testing.assert_allclose(sent[-1], leap.description.pose('half_closed'))
