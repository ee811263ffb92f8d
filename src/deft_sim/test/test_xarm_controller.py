# SPDX-License-Identifier: Apache-2.0
"""The simulated control box: modes, states, errors, and how it moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_arm.configuration import load_arm_configuration
from deft_arm.xarm.codes import (
    ALL_JOINTS,
    HAS_ERROR,
    HAS_WARNING,
    OK,
    STATE_NOT_READY,
    Mode,
    State,
)
from deft_sim.nodes.xarm_world import make_box
from deft_sim.xarm_controller import BOUNDARY, BUTTON, COLLISION, JOINT_LIMIT, WRONG_PARAMETER
from deft_sim.xarm_motion import QueuedMove, SetpointMotion

PERIOD = 0.01
HOME = np.array(load_arm_configuration('xarm6').home)


def run(box, seconds):
    """Let time pass; the arm follows at once. Returns the setpoints."""
    count = round(seconds / PERIOD)
    return np.array([box.step(PERIOD, box.setpoint()) for _ in range(count)])


@pytest.fixture
def off():
    return make_box()


@pytest.fixture
def box(off):
    assert off.enable_motors(ALL_JOINTS, on=True) == OK
    assert off.set_mode(Mode.POSITION) == OK
    assert off.set_state(0) == OK
    return off


def away(amount=0.3):
    return HOME + np.array([amount, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_it_starts_stopped_and_does_not_move_before_it_is_enabled(off):
    assert off.report().state == State.STOPPED
    assert off.move_joints(away(), 1.0, 5.0, blends=False) == STATE_NOT_READY
    assert off.set_state(0) == OK
    # Without motors a command is taken, and not carried out.
    assert off.move_joints(away(), 1.0, 5.0, blends=False) == OK
    assert off.report().waiting == 0
    off.enable_motors(ALL_JOINTS, on=True)
    assert off.move_joints(away(), 1.0, 5.0, blends=False) == OK
    np.testing.assert_allclose(run(off, 2.0)[-1], away())


def test_the_load_is_a_motion_for_the_sdk(off):
    assert off.set_tool_mass(0.7) == STATE_NOT_READY
    off.enable_motors(ALL_JOINTS, on=True)
    off.set_state(0)
    off.configure()  # as `set_tcp_offset` does
    assert off.set_tool_mass(0.7) == STATE_NOT_READY
    assert off.tool_mass == 0.0
    off.set_state(0)
    off.warn(WRONG_PARAMETER)
    assert off.set_tool_mass(0.7) == OK
    assert off.tool_mass == 0.7
    # Were it a change of state, the SDK could never answer 0.
    assert off.report().state == State.READY
    off.fail(COLLISION)
    assert off.set_tool_mass(0.8) == HAS_ERROR


def test_what_is_handed_on_as_it_is_answers_with_what_is_pending(box):
    box.warn(WRONG_PARAMETER)
    assert box.configure() == HAS_WARNING
    assert box.clear_error() == HAS_WARNING
    assert box.set_mode(Mode.POSITION) == OK
    assert box.set_state(0) == OK
    assert box.move_joints(away(), 1.0, 5.0, blends=False) == OK
    box.fail(COLLISION)
    assert box.set_fence(on=False) == HAS_ERROR
    assert box.clear_warning() == HAS_ERROR
    assert box.clear_error() == OK
    assert box.configure() == OK
    assert box.set_state(17) == OK
    assert box.report().warning == WRONG_PARAMETER


def test_a_move_ends_at_its_target_with_an_empty_queue(box):
    assert box.move_joints(away(), 0.5, 5.0, blends=False) == OK
    assert box.report().waiting == 1
    path = run(box, 1.0)
    assert box.report().waiting == 0
    np.testing.assert_allclose(path[-1], away())
    run(box, PERIOD)
    assert box.report().state == State.READY
    speed = np.abs(np.diff(path[:, 0])) / PERIOD
    assert speed.max() <= 0.5 + 1e-9
    assert np.abs(np.diff(speed)).max() / PERIOD <= 1.3 * 5.0
    # 0.3 rad at 0.5 rad/s and 5 rad/s^2.
    assert np.argmax(path[:, 0] >= away()[0] - 1e-9) * PERIOD == pytest.approx(0.7, abs=0.03)


def test_speed_zero_means_the_last_one(box):
    box.move_joints(away(0.5), 1.0, 5.0, blends=False)
    run(box, 1.0)
    box.move_joints(HOME, 0.0, 0.0, blends=False)
    speed = np.abs(np.diff(run(box, 1.0)[:, 0])) / PERIOD
    assert speed.max() == pytest.approx(1.0, abs=0.01)


def test_blended_commands_do_not_stop_between(box):
    for step in range(1, 6):
        box.move_joints(away(0.1 * step), 0.5, 5.0, blends=step < 5)
    speed = np.abs(np.diff(run(box, 1.3)[:, 0])) / PERIOD
    assert speed[15:90].min() > 0.49
    for step in range(1, 6):
        box.move_joints(away(0.5 - 0.1 * step), 0.5, 5.0, blends=False)
    speed = np.abs(np.diff(run(box, 2.0)[:, 0])) / PERIOD
    assert np.sum((speed[:-1] > 0.06) & (speed[1:] <= 0.06)) >= 4


def test_an_error_empties_the_queue_and_stays(box):
    box.move_joints(away(), 0.5, 5.0, blends=False)
    run(box, 0.2)
    stopped = box.setpoint()
    box.collided(stopped)
    report = box.report()
    assert (report.error, report.state, report.mode) == (COLLISION, State.STOPPED, Mode.POSITION)
    assert report.waiting == 0
    np.testing.assert_array_equal(run(box, 0.5)[-1], stopped)
    assert box.move_joints(away(), 0.5, 5.0, blends=False) == HAS_ERROR
    assert box.set_state(0) == OK
    assert box.report().state == State.STOPPED
    assert box.clear_error() == OK
    # Cleared is not ready.
    assert box.move_joints(away(), 0.5, 5.0, blends=False) == STATE_NOT_READY
    box.set_state(0)
    assert box.move_joints(away(), 0.5, 5.0, blends=False) == OK


def test_without_sensitivity_a_collision_is_not_noticed(box):
    box.sensitivity = 0
    box.collided(HOME)
    assert box.report().error == 0


def test_the_button_takes_the_power_and_must_be_released(box):
    box.move_joints(away(), 0.5, 5.0, blends=False)
    run(box, 0.2)
    box.press_button(pressed=True)
    assert (box.report().error, box.report().motors) == (BUTTON, 0)
    assert box.clear_error() == HAS_ERROR
    assert box.enable_motors(ALL_JOINTS, on=True) == OK
    assert (box.report().error, box.report().motors) == (BUTTON, 0)
    box.press_button(pressed=False)
    assert box.clear_error() == OK
    assert (box.report().error, box.report().motors) == (0, 0)
    box.enable_motors(ALL_JOINTS, on=True)
    assert box.report().motors == 0b111111


def test_the_fence_stops_a_flange_that_leaves(box):
    _, flange = box.flange(HOME)
    box.set_boundary(flange - 0.05, flange + 0.05)
    box.set_fence(on=True)
    box.set_state(0)
    box.move_joints(away(0.5), 0.5, 5.0, blends=False)
    run(box, 2.0)
    assert box.report().error == BOUNDARY
    assert np.abs(box.flange(box.setpoint())[1] - flange).max() < 0.08


def test_pause_keeps_the_queue(box):
    box.move_joints(away(), 0.5, 5.0, blends=False)
    run(box, 0.2)
    box.set_state(3)
    run(box, 0.5)
    paused = box.setpoint()
    np.testing.assert_array_equal(run(box, 0.5)[-1], paused)
    assert box.report().waiting == 1
    box.set_state(0)
    np.testing.assert_allclose(run(box, 1.0)[-1], away())


def test_the_error_of_a_target_outside_the_travel_comes_when_it_is_its_turn(box):
    assert box.move_joints(away(0.2), 0.5, 5.0, blends=False) == OK
    assert box.move_joints(away(7.0), 0.5, 5.0, blends=False) == OK
    run(box, 0.2)
    assert box.report().error == 0
    path = run(box, 2.0)
    assert (box.report().error, box.report().state) == (JOINT_LIMIT, State.STOPPED)
    np.testing.assert_allclose(path[-1], away(0.2))


TARGETS = st.lists(arrays(np.float64, 6, elements=st.floats(-1.0, 1.0)), min_size=1, max_size=6)


@settings(max_examples=50)
@given(TARGETS, st.floats(0.1, 2.0), st.floats(1.0, 20.0), st.booleans())
def test_any_queue_is_followed_to_its_end_within_its_limits(targets, speed, acceleration, blends):
    motion = SetpointMotion(np.zeros(6))
    for target in targets:
        motion.queue.append(QueuedMove(target, speed, acceleration, blends))
    path = [np.zeros(6)]
    for _ in range(20_000):
        if not motion.queue:
            break
        path.append(motion.step(PERIOD))
    assert not motion.queue
    np.testing.assert_allclose(path[-1], targets[-1], atol=1e-9)
    steps = np.abs(np.diff(path, axis=0)).max(axis=1)
    assert steps.max() <= max(speed, acceleration * PERIOD) * PERIOD + 1e-9
