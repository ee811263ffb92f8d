# SPDX-License-Identifier: Apache-2.0
"""The simulated hand on simulated servos: spools, tendons, and load as current."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, DeviceError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.bus.client import BusClient
from deft_hand_driver.bus.hand_motors import HandMotors
from deft_hand_driver.description import load_hand_description
from deft_sim.cell import SimulatedCell
from deft_sim.hand_bus import BusMotors
from dynamixel_simulator.faults import Fault
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


@pytest.fixture
def hand(settings, motors):
    """A cell whose servos are on and hold 0."""
    cell = SimulatedCell(settings, 'red_mug', 0, motors=motors)
    for servo in motors.bus.servos:
        servo.write_field('operating_mode', OperatingMode.CURRENT_BASED_POSITION)
        servo.write_field('goal_current', CAP)
        servo.write_field('profile_velocity', 250)
        servo.write_field('torque_enable', 1)
    yield cell
    cell.close()


def aim(motors, index, position):
    servo = motors.bus.servos[index]
    assert servo.write_field('goal_position', 2048 + round(position * 4096 / (2 * np.pi))) == 0


def joints(cell):
    return dict(zip(HAND_JOINT_NAMES, cell.observed_hand_joints(), strict=True))


def test_servos_turn_spools_and_spools_pull_fingers(hand, motors):
    aim(motors, CURL, 1.2)
    hand.advance(1.5)
    state = hand.motor_state()
    assert state.positions[CURL] == pytest.approx(1.2, abs=0.03)
    found = joints(hand)
    assert found['index_pip'] > 0.3
    assert found['index_dip'] > 0.3
    assert abs(found['ring_pip']) < 0.15
    others = np.delete(state.positions, CURL)
    assert np.abs(others).max() < 0.05


def test_the_pull_of_the_tendon_comes_back_as_current(hand, motors, settings):
    aim(motors, CURL, 1.2)
    hand.advance(2.0)
    current = hand.motor_state().efforts[CURL]
    tendon = hand._tendons()
    motor = motors.bus.servos[CURL].motor
    torque = tendon.tensions[CURL] * tendon.excursion_per_angle[CURL]
    assert tendon.tensions[CURL] > 3.0
    # Dry friction of the gear carries up to 3% of the stall torque.
    friction = 0.03 * 0.92
    assert current * motor.torque_per_current == pytest.approx(torque, abs=friction)
    assert motors.bus.servos[CURL].read_field('present_current') == pytest.approx(
        1000 * current, abs=1
    )


def test_goal_current_caps_the_tension_at_a_stop(hand, motors):
    aim(motors, FORWARD, 3.1)  # beyond the travel of the joint
    hand.advance(3.0)
    state = hand.motor_state()
    assert state.efforts[FORWARD] == pytest.approx(CAP / 1000, rel=0.02)
    assert state.positions[FORWARD] < 3.0
    torque = CAP / 1000 * motors.bus.servos[FORWARD].motor.torque_per_current
    tendon = hand._tendons()
    tension = tendon.tensions[FORWARD]
    assert tension * tendon.excursion_per_angle[FORWARD] == pytest.approx(torque, abs=0.03)


def test_a_tendon_that_is_unwound_goes_slack(hand, motors):
    aim(motors, CURL, -0.6)
    hand.advance(1.5)
    assert hand._tendons().tensions[CURL] == 0.0
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


def test_a_stuck_tendon_does_not_move_its_finger(hand, motors):
    motors.bus.inject(Fault.STUCK, motors.bus.servos[FORWARD].identifier)
    aim(motors, FORWARD, 1.5)
    hand.advance(1.0)
    assert abs(joints(hand)['index_forward']) < 0.15
    assert hand.motor_state().efforts[FORWARD] == pytest.approx(CAP / 1000)


def test_a_new_scene_leaves_the_hand_as_it_is(hand, motors):
    aim(motors, FORWARD, 1.0)
    hand.advance(1.0)
    before = hand.motor_state().positions
    hand.reset_scene('blue_tumbler', 3)
    np.testing.assert_array_equal(hand.motor_state().positions, before)
    hand.advance(0.2)
    np.testing.assert_allclose(hand.motor_state().positions, before, atol=0.05)


def test_home_means_zero_and_power_on(hand, motors):
    aim(motors, FORWARD, 1.0)
    hand.advance(1.0)
    hand.return_robot_home()
    assert np.all(hand.motor_state().positions == 0.0)
    assert not any(servo.torque_enabled for servo in motors.bus.servos)


def test_there_is_no_way_past_the_bus(hand):
    with pytest.raises(DeviceError, match='bus'):
        hand.command_motors(np.zeros(len(MOTOR_NAMES)))


def test_the_watchdog_counts_simulated_time(hand, motors):
    servo = motors.bus.servos[CURL]
    servo.write_field('bus_watchdog', 10)  # 0.2 s
    hand.advance(0.15)
    assert servo.read_field('bus_watchdog') == 10
    hand.advance(0.1)
    assert servo.read_field('bus_watchdog') == 255


def test_equal_packets_at_equal_times_give_equal_hands(settings, description):
    ends = []
    for _ in range(2):
        motors = BusMotors(description)
        cell = SimulatedCell(settings, 'red_mug', 0, motors=motors)
        for servo in motors.bus.servos:
            servo.write_field('torque_enable', 1)
        aim(motors, CURL, 1.0)
        cell.advance(0.5)
        ends.append(np.concatenate([cell.motor_state().positions, cell.observed_hand_joints()]))
        cell.close()
    np.testing.assert_array_equal(ends[0], ends[1])


def test_other_hands_do_not_fit(settings):
    with pytest.raises(ConfigurationError, match='leap'):
        BusMotors(load_hand_description('leap', CONFIGURATION))


def test_a_driver_reaches_the_hand_through_the_port(settings, description, motors, tmp_path):
    cell = SimulatedCell(settings, 'red_mug', 0, motors=motors)
    server = motors.serve(tmp_path / 'hand')
    client = BusClient.open(server.path, description.bus.baud_rate, 0.5)
    try:
        driver = HandMotors(client, description)
        driver.identify()
        driver.configure()
        start = driver.read(time.monotonic() + 5.0)
        driver.write_positions(start.positions)
        driver.set_torque(on=True)
        target = start.positions.copy()
        target[FORWARD] = 1.0
        driver.write_positions(target)
        for _ in range(30):
            cell.advance(0.05)
            sample = driver.read(time.monotonic() + 5.0)
            assert sample.complete
        assert sample.positions[FORWARD] == pytest.approx(1.0, abs=0.05)
        assert sample.currents[FORWARD] > 0.05
        assert joints(cell)['index_forward'] > 0.5
    finally:
        client.close()
        server.stop()
        cell.close()
