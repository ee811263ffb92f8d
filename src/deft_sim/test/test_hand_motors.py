# SPDX-License-Identifier: Apache-2.0
"""Motors of the simulated hand: spools, tendons, and load as current."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.simulated_hand import HandMounting
from deft_sim.cell import SimulatedCell
from deft_sim.hand_motors import BusMotors, IdealMotors
from deft_sim.world import World
from dynamixel_simulator.motor_models import OperatingMode

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
CURL = MOTOR_NAMES.index('index_curl')
FORWARD = MOTOR_NAMES.index('index_forward')
CAP = 200  # [mA]


@pytest.fixture(scope='module')
def description():
    return load_hand_description('dash', CONFIGURATION)


@pytest.fixture
def motors(description):
    return BusMotors(description)


def switch_on(motors):
    for servo in motors.bus.servos:
        servo.write_field('operating_mode', OperatingMode.CURRENT_BASED_POSITION)
        servo.write_field('goal_current', CAP)
        servo.write_field('profile_velocity', 250)
        servo.write_field('torque_enable', 1)


@pytest.fixture
def hand(settings, task, motors):
    """A cell whose servos are on and hold 0."""
    switch_on(motors)
    return SimulatedCell(settings, task, motors=motors)


def aim(motors, index, position):
    servo = motors.bus.servos[index]
    assert servo.write_field('goal_position', 2048 + round(position * 4096 / (2 * np.pi))) == 0


def joints(cell):
    return dict(zip(HAND_JOINT_NAMES, cell.observed_hand_joints(), strict=True))


def test_ideal_motors_move_their_tendons_and_report_current(settings, task):
    motors = IdealMotors(settings.cell.motors)
    cell = SimulatedCell(settings, task, motors=motors)
    command = np.zeros(len(MOTOR_NAMES))
    command[CURL] = 1.2
    motors.command(command)
    cell.advance(1.0)
    state = cell.motor_state()
    assert state.positions[CURL] == pytest.approx(1.2, abs=0.1)
    assert 0.0 < state.efforts[CURL] < 0.3
    assert joints(cell)['index_pip'] > 0.3
    for wrong in (np.zeros(11), np.full(12, np.nan)):
        with pytest.raises(InvalidInputError):
            motors.command(wrong)


def test_servos_turn_spools_and_the_pull_comes_back_as_current(hand, motors):
    aim(motors, CURL, 1.2)
    hand.advance(2.0)
    state = hand.motor_state()
    assert state.positions[CURL] == pytest.approx(1.2, abs=0.03)
    assert np.abs(np.delete(state.positions, CURL)).max() < 0.05
    found = joints(hand)
    assert found['index_pip'] > 0.3
    assert found['index_dip'] > 0.3
    assert abs(found['ring_pip']) < 0.15
    # 3 N and more at a spool of 8 mm, less the dry friction of the gear.
    torque = state.efforts[CURL] * motors.bus.servos[CURL].motor.torque_per_current
    assert torque > 3.0 * 0.008 - 0.03 * 0.92
    assert motors.bus.servos[CURL].read_field('present_current') == pytest.approx(
        1000 * state.efforts[CURL], abs=1
    )


def test_goal_current_caps_the_tension_at_a_stop(hand, motors):
    aim(motors, FORWARD, 3.1)  # beyond the travel of the joint
    hand.advance(3.0)
    state = hand.motor_state()
    assert state.efforts[FORWARD] == pytest.approx(CAP / 1000, rel=0.02)
    assert state.positions[FORWARD] < 3.0


def test_a_tendon_that_is_unwound_goes_slack(hand, motors):
    aim(motors, CURL, -0.6)
    hand.advance(1.5)
    assert hand.motor_state().positions[CURL] == pytest.approx(-0.6, abs=0.03)
    assert abs(hand.motor_state().efforts[CURL]) < 0.04
    assert abs(joints(hand)['index_pip']) < 0.1


def test_without_torque_the_flexures_open_the_hand(hand, motors):
    aim(motors, FORWARD, 1.5)
    hand.advance(1.5)
    before = joints(hand)['index_forward']
    assert before > 0.8
    motors.bus.servos[FORWARD].write_field('torque_enable', 0)
    hand.advance(2.0)
    assert joints(hand)['index_forward'] < 0.5 * before


def test_a_new_scene_leaves_the_hand_and_home_means_power_on(hand, motors):
    aim(motors, FORWARD, 1.0)
    hand.advance(1.0)
    before = hand.motor_state().positions
    hand.reset_scene('blue_tumbler', 3)
    np.testing.assert_array_equal(hand.motor_state().positions, before)
    hand.advance(0.2)
    np.testing.assert_allclose(hand.motor_state().positions, before, atol=0.05)
    hand.return_robot_home()
    assert np.all(hand.motor_state().positions == 0.0)
    assert not any(servo.torque_enabled for servo in motors.bus.servos)


def test_the_watchdog_counts_simulated_time(hand, motors):
    servo = motors.bus.servos[CURL]
    servo.write_field('bus_watchdog', 10)  # 0.2 s
    hand.advance(0.15)
    assert servo.read_field('bus_watchdog') == 10
    hand.advance(0.1)
    assert servo.read_field('bus_watchdog') == 255


def test_equal_packets_at_equal_times_give_equal_hands(settings, task, description):
    ends = []
    for _ in range(2):
        motors = BusMotors(description)
        cell = SimulatedCell(settings, task, motors=motors)
        switch_on(motors)
        aim(motors, CURL, 1.0)
        cell.advance(0.5)
        ends.append(np.concatenate([cell.motor_state().positions, cell.observed_hand_joints()]))
    np.testing.assert_array_equal(ends[0], ends[1])


def test_moment_arms_and_friction_of_an_assembled_hand_reach_the_model(settings, task):
    factors, frictions = np.linspace(0.9, 1.1, 16), np.linspace(0.0, 0.01, 16)
    nominal = World(settings, task, 'red_mug').model
    mounting = HandMounting(np.zeros(12), factors, frictions)
    model = World(settings, task, 'red_mug', mounting=mounting).model
    place = HAND_JOINT_NAMES.index('ring_dip')
    tendon = model.tendon('ring_curl').id
    last = model.tendon_adr[tendon] + 1
    assert model.wrap_prm[last] == pytest.approx(factors[place] * nominal.wrap_prm[last])
    joint = model.joint('ring_dip')
    assert model.dof_frictionloss[joint.dofadr[0]] == pytest.approx(frictions[place])


def test_a_spool_that_was_mounted_askew_moves_its_joint(settings, task, description):
    zeros = np.zeros(12)
    zeros[FORWARD] = 0.2
    ends = []
    for mounting in (None, HandMounting(zeros, np.ones(16), np.zeros(16))):
        motors = BusMotors(description)
        switch_on(motors)
        cell = SimulatedCell(settings, task, motors=motors, mounting=mounting)
        aim(motors, FORWARD, 1.0)
        cell.advance(1.5)
        assert cell.motor_state().positions[FORWARD] == pytest.approx(1.0, abs=0.05)
        ends.append(joints(cell)['index_forward'])
    assert ends[1] - ends[0] == pytest.approx(-0.2 * 0.8, abs=0.08)


def test_other_hands_do_not_fit(settings):
    with pytest.raises(ConfigurationError, match='leap'):
        BusMotors(load_hand_description('leap', CONFIGURATION))
