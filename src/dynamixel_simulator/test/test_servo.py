# SPDX-License-Identifier: Apache-2.0
"""Firmware of simulated servos: what they take, what they refuse, and what they do."""

from __future__ import annotations

import numpy as np
import pytest

from dynamixel_simulator.motor_models import (
    MODELS,
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    WATCHDOG_EXPIRED,
    XC330_T288,
    XL330_M288,
    XM430_W350,
    HardwareError,
    OperatingMode,
)
from dynamixel_simulator.packet import ALERT_BIT, StatusError
from dynamixel_simulator.servo import BOOT_TIME, SimulatedServo

OK = StatusError.NONE


@pytest.fixture(params=list(MODELS))
def servo(request):
    return SimulatedServo(MODELS[request.param], 7)


def run(servo, seconds, step=0.01):
    for _ in range(round(seconds / step)):
        servo.advance(step)


def enable(servo, mode, **fields):
    assert servo.write_field('operating_mode', mode) == OK
    for name, value in fields.items():
        assert servo.write_field(name, value) == OK
    assert servo.write_field('torque_enable', 1) == OK


def test_it_starts_with_the_values_of_the_manual(servo):
    for name in ('return_delay_time', 'operating_mode', 'shutdown', 'position_p_gain'):
        assert servo.read_field(name) == servo.memory.table[name].default
    assert servo.read_field('present_position') == servo.read_field('goal_position') == 2048
    assert servo.read_field('goal_current') == servo.read_field('current_limit')
    voltage = servo.model.specification.voltage
    assert servo.read_field('present_input_voltage') == round(10 * voltage)
    assert servo.read_field('present_temperature') == 25


REFUSED = [
    ('model_number', 5, StatusError.ACCESS),
    ('present_position', 5, StatusError.ACCESS),
    ('id', 253, StatusError.DATA_RANGE),
    ('return_delay_time', 255, StatusError.DATA_RANGE),
    ('operating_mode', 1, StatusError.DATA_RANGE),
    ('operating_mode', 16, StatusError.DATA_RANGE),
    ('drive_mode', 4, StatusError.DATA_RANGE),
    ('temperature_limit', 101, StatusError.DATA_RANGE),
    ('max_position_limit', 4096, StatusError.DATA_RANGE),
    ('position_p_gain', 16384, StatusError.DATA_RANGE),
    ('bus_watchdog', 128, StatusError.DATA_RANGE),
    ('torque_enable', 2, StatusError.DATA_RANGE),
    ('goal_position', 4096, StatusError.DATA_LIMIT),
    ('goal_position', -1, StatusError.DATA_LIMIT),
    ('goal_current', 2400, StatusError.DATA_LIMIT),
]


@pytest.mark.parametrize(('name', 'value', 'error'), REFUSED)
def test_it_refuses_as_the_manual_says(servo, name, value, error):
    before = servo.read_field(name)
    assert servo.write_field(name, value) == error
    assert servo.read_field(name) == before


def test_the_eeprom_is_locked_while_torque_is_on(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    for name in ('id', 'operating_mode', 'current_limit', 'baud_rate'):
        assert servo.write_field(name, servo.read_field(name)) == StatusError.ACCESS
    assert servo.write_field('position_p_gain', 500) == OK
    assert servo.write_field('torque_enable', 0) == OK
    assert servo.write_field('id', 9) == OK
    assert servo.identifier == 9


def test_a_write_is_taken_or_refused_as_a_whole(servo):
    assert servo.write(112, np.array([22, 2100], '<i4').tobytes()) == OK
    assert servo.read_field('profile_velocity') == 22
    assert servo.read_field('goal_position') == 2100
    assert servo.write(112, np.array([23, 9000], '<i4').tobytes()) == StatusError.DATA_LIMIT
    assert servo.read_field('profile_velocity') == 22
    # Behind the goal comes what the table does not have.
    assert servo.write(116, bytes(6)) == StatusError.ACCESS
    for address, size in [(116, 2), (114, 4), (116, 0)]:  # parts of fields
        assert servo.write(address, bytes(size)) == StatusError.DATA_LENGTH


def test_a_change_of_mode_resets_gains_profile_and_goals(servo):
    servo.write_field('position_p_gain', 33)
    servo.write_field('profile_velocity', 33)
    servo.write_field('goal_current', 5)
    servo.write_field('operating_mode', OperatingMode.CURRENT_BASED_POSITION)
    assert servo.read_field('position_p_gain') != 33
    assert servo.read_field('profile_velocity') == 0
    assert servo.read_field('goal_current') == servo.read_field('current_limit')


@pytest.mark.parametrize('mode', OperatingMode)
def test_it_reaches_its_goal_with_the_profile_velocity(servo, mode):
    enable(servo, mode, profile_velocity=20)
    # A goal that was written before would be followed at once.
    servo.write_field('goal_position', 2900)
    run(servo, 1.0)
    before = servo.read_field('present_position')
    run(servo, 1.0)
    moved = (servo.read_field('present_position') - before) * RADIANS_PER_PULSE
    assert moved == pytest.approx(20 * RADIANS_PER_SECOND, rel=0.05)
    assert servo.read_field('present_velocity') == pytest.approx(20, abs=2)
    run(servo, 2.0)
    assert servo.read_field('present_velocity') == 0
    assert servo.read_field('present_position') == pytest.approx(2900, abs=20)


def test_goal_current_caps_the_force_of_current_based_position(servo):
    scale = servo.model.current_scale
    cap = round(0.2 * servo.model.specification.stall_current / scale)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, goal_current=cap)
    servo.motor.load = lambda angle, _: -50.0 * max(0.0, angle - 0.5)  # a stop at 0.5 rad
    servo.write_field('goal_position', 2048 + 1000)
    run(servo, 2.0)
    assert servo.read_field('present_current') == cap
    assert servo.motor.position == pytest.approx(0.5, abs=0.05)
    servo.write_field('goal_current', cap // 2)
    run(servo, 1.0)
    assert servo.read_field('present_current') == cap // 2
    assert servo.read_field('hardware_error_status') == 0


def test_load_comes_back_as_current(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    specification = servo.model.specification
    torque = 0.2 * specification.stall_torque
    servo.motor.load_torque = -torque
    run(servo, 2.0)
    current = servo.read_field('present_current') * servo.model.current_scale
    # Dry friction carries a part.
    assert current == pytest.approx(torque / servo.motor.torque_per_current, rel=0.2)


def test_the_integral_gain_takes_the_error_away(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, position_i_gain=500)
    servo.motor.load_torque = -0.2 * servo.model.specification.stall_torque
    run(servo, 10.0)
    assert servo.read_field('present_position') == pytest.approx(2048, abs=5)  # 20 without


def test_reverse_mode_turns_position_current_and_velocity_round(servo):
    servo.write_field('drive_mode', 1)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    servo.write_field('goal_position', 2400)
    servo.advance(0.05)
    assert servo.read_field('present_velocity') > 0
    assert servo.read_field('present_current') > 0
    assert servo.motor.velocity < 0.0
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(2400, abs=20)
    assert servo.motor.position == pytest.approx(-352 * RADIANS_PER_PULSE, abs=0.05)


def test_whole_turns_are_lost_at_a_start_and_the_homing_offset_is_not(servo):
    servo.write_field('homing_offset', 100)
    enable(servo, OperatingMode.EXTENDED_POSITION)
    servo.write_field('goal_position', 2 * 4096 + 1000)
    run(servo, 5.0)
    assert servo.read_field('present_position') == pytest.approx(2 * 4096 + 1000, abs=20)
    servo.reboot()
    run(servo, BOOT_TIME + 0.02)
    assert servo.read_field('present_position') == pytest.approx(1000, abs=20)
    assert servo.read_field('goal_position') == servo.read_field('present_position')
    servo.write_field('homing_offset', 0)
    servo.place(-2500 * RADIANS_PER_PULSE)  # 2048 - 2500 < 0
    assert servo.read_field('present_position') == 2048 - 2500 + 4096


def test_a_reboot_forgets_ram_and_keeps_eeprom(servo):
    servo.write_field('return_delay_time', 0)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, bus_watchdog=100, position_p_gain=77)
    servo.reboot()
    assert not servo.listening
    run(servo, BOOT_TIME + 0.02)
    assert servo.listening
    assert servo.read_field('torque_enable') == servo.read_field('bus_watchdog') == 0
    assert servo.read_field('position_p_gain') != 77
    assert servo.read_field('operating_mode') == OperatingMode.CURRENT_BASED_POSITION
    assert servo.read_field('return_delay_time') == 0


def test_the_bus_watchdog_stops_and_blocks_goals_until_cleared(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, profile_velocity=20)
    servo.write_field('bus_watchdog', 5)  # 100 ms
    servo.write_field('goal_position', 3000)
    for _ in range(30):
        servo.advance(0.01)
        servo.feed_watchdog()
    assert servo.read_field('present_velocity') > 10
    run(servo, 0.2)
    assert servo.read_field('bus_watchdog') == WATCHDOG_EXPIRED
    assert servo.torque_enabled
    stopped = servo.read_field('present_position')
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(stopped, abs=30)
    assert servo.read_field('profile_velocity') == 0
    for name in ('goal_position', 'goal_current', 'bus_watchdog'):
        assert servo.write_field(name, 10) == StatusError.DATA_RANGE
    assert servo.write_field('bus_watchdog', 0) == OK
    run(servo, 0.5)
    assert servo.read_field('present_position') == pytest.approx(stopped, abs=30)
    assert servo.write_field('goal_position', 2900) == OK
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(2900, abs=20)
    # It sleeps without torque.
    servo.write_field('torque_enable', 0)
    servo.write_field('bus_watchdog', 1)
    run(servo, 1.0)
    assert servo.read_field('bus_watchdog') == 1


def test_overload_takes_torque_off_until_a_reboot(servo):
    enable(servo, OperatingMode.POSITION)
    servo.motor.stuck = True
    servo.write_field('goal_position', 3500)
    run(servo, 0.5)
    assert servo.torque_enabled
    run(servo, 1.0)
    assert servo.hardware_errors == HardwareError.OVERLOAD
    assert servo.read_field('hardware_error_status') == HardwareError.OVERLOAD
    assert servo.read_field('torque_enable') == 0
    assert not servo.torque_enabled
    assert servo.with_alert(0) == ALERT_BIT
    assert servo.write_field('torque_enable', 1) == StatusError.RESULT_FAIL
    servo.reboot()
    run(servo, BOOT_TIME + 0.02)
    assert servo.with_alert(0) == 0
    assert servo.write_field('torque_enable', 1) == OK


def test_errors_outside_the_shutdown_mask_leave_torque_on(servo):
    servo.write_field('shutdown', 0)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    servo.latch(HardwareError.OVERLOAD | HardwareError.ENCODER)
    servo.advance(0.01)
    assert servo.torque_enabled
    assert servo.read_field('hardware_error_status') == 0x28
    assert servo.with_alert(StatusError.ACCESS) == ALERT_BIT | StatusError.ACCESS


@pytest.mark.parametrize(('model', 'stays_on'), [(XL330_M288, False), (XM430_W350, True)])
def test_only_an_xl330_shuts_down_for_its_voltage(model, stays_on):
    servo = SimulatedServo(model, 1)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    servo.motor.voltage = 0.1 * servo.read_field('min_voltage_limit') - 0.2
    servo.advance(0.01)
    assert servo.hardware_errors == HardwareError.INPUT_VOLTAGE
    assert servo.torque_enabled == stays_on


@pytest.mark.parametrize(('model', 'firmware'), [(XL330_M288, 50), (XC330_T288, 53)])
def test_indirect_data_reads_and_writes_elsewhere(model, firmware):
    servo = SimulatedServo(model, 1, firmware)
    table = servo.memory.table
    start = table['indirect_data_1'].address
    assert servo.write(start, b'\x12\x34') == OK  # memory, without an address
    assert servo.read(start, 2) == (OK, b'\x12\x34')
    wanted = [table['hardware_error_status'].address, *range(126, 136), *range(116, 120)]
    for slot, address in enumerate(wanted, start=1):
        assert servo.write_field(f'indirect_address_{slot}', address) == OK
    assert servo.write(start + 11, np.array([2300], '<i4').tobytes()) == OK
    assert servo.read_field('goal_position') == 2300
    servo.latch(HardwareError.ENCODER)
    error, block = servo.read(start, 15)
    assert error == OK
    assert block[0] == HardwareError.ENCODER
    assert block[1:11] == servo.read(126, 10)[1]
    assert np.frombuffer(block[11:], '<i4') == 2300
    # The rules are those of the field behind it.
    assert servo.write(start, b'\x00') == StatusError.ACCESS
    assert servo.write(start + 11, b'\x00') == StatusError.DATA_LENGTH
    assert servo.write_field('indirect_address_1', 20) == StatusError.DATA_RANGE
    assert servo.write_field('indirect_address_1', 65) == OK
    assert servo.read(start, 1)[1] == b'\x00'  # the LED now
    servo.reboot()
    run(servo, BOOT_TIME + 0.02)
    assert servo.read(start + 11, 4) == (OK, bytes(4))
