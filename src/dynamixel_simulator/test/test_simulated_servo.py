# SPDX-License-Identifier: Apache-2.0
"""Firmware of simulated servos: what they take, what they refuse, and what they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamixel_simulator.loads import ElasticTendon
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
    for field in servo.memory.table:
        value = servo.read_field(field.name)
        if field.default is not None and field.name not in ('id', 'firmware_version'):
            assert value == field.default, field.name
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
    ('operating_mode', 2, StatusError.DATA_RANGE),
    ('drive_mode', 0x02, StatusError.DATA_RANGE),
    ('shutdown', 0x02, StatusError.DATA_RANGE),
    ('protocol_type', 20, StatusError.DATA_RANGE),
    ('temperature_limit', 101, StatusError.DATA_RANGE),
    ('max_position_limit', 4096, StatusError.DATA_RANGE),
    ('position_p_gain', 16384, StatusError.DATA_RANGE),
    ('bus_watchdog', 128, StatusError.DATA_RANGE),
    ('torque_enable', 2, StatusError.DATA_RANGE),
    ('goal_pwm', -886, StatusError.DATA_LIMIT),
    ('goal_velocity', 2000, StatusError.DATA_LIMIT),
    ('goal_position', 4096, StatusError.DATA_LIMIT),
    ('goal_position', -1, StatusError.DATA_LIMIT),
]


@pytest.mark.parametrize(('name', 'value', 'error'), REFUSED)
def test_it_refuses_as_the_manual_says(servo, name, value, error):
    before = servo.read_field(name)
    assert servo.write_field(name, value) == error
    assert servo.read_field(name) == before


def test_goal_current_is_limited_by_the_current_limit(servo):
    limit = servo.read_field('current_limit')
    assert servo.write_field('goal_current', -limit) == OK
    assert servo.write_field('current_limit', limit - 100) == OK
    assert servo.write_field('goal_current', limit - 99) == StatusError.DATA_LIMIT
    assert servo.write_field('goal_current', limit - 100) == OK
    assert servo.write_field('current_limit', limit + 1) == StatusError.DATA_RANGE


def test_the_eeprom_is_locked_while_torque_is_on(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    for name in ('id', 'operating_mode', 'current_limit', 'baud_rate'):
        assert servo.write_field(name, servo.read_field(name)) == StatusError.ACCESS
    assert servo.write_field('position_p_gain', 500) == OK
    assert servo.write_field('torque_enable', 0) == OK
    assert servo.write_field('id', 9) == OK
    assert servo.identifier == 9


def test_writes_of_part_of_a_field_are_too_short(servo):
    assert servo.write(116, b'\x00\x08') == StatusError.DATA_LENGTH
    assert servo.write(114, b'\x00\x08\x00\x00') == StatusError.DATA_LENGTH
    assert servo.write(116, b'') == StatusError.DATA_LENGTH


def test_a_write_over_several_fields_is_taken_or_refused_as_a_whole(servo):
    assert servo.write(108, np.array([11, 22, 2100], '<i4').tobytes()) == OK
    assert servo.read_field('profile_acceleration') == 11
    assert servo.read_field('goal_position') == 2100
    assert servo.write(108, np.array([12, 23, 9000], '<i4').tobytes()) == StatusError.DATA_LIMIT
    assert servo.read_field('profile_acceleration') == 11
    # Behind the goal comes what can only be read.
    data = np.array([2100], '<i4').tobytes() + b'\x00\x00'
    assert servo.write(116, data) == StatusError.ACCESS


def test_reads_end_at_the_end_of_the_table(servo):
    size = servo.memory.table.size
    assert servo.read(size - 1, 1)[0] == OK
    assert servo.read(size - 1, 2) == (StatusError.ACCESS, b'')
    assert servo.read(0, 0)[0] == StatusError.ACCESS
    assert servo.read(14, 6) == (OK, bytes(6))  # a gap


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(sorted(MODELS)))
def test_no_write_changes_a_field_beyond_its_range(value, model):
    servo = SimulatedServo(MODELS[model], 1)
    for field in servo.memory.table:
        bits = 8 * field.size
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if field.signed else (0, 2**bits)
        wrapped = low + (value - low) % (high - low)
        if servo.write_field(field.name, wrapped) == OK:
            assert field.minimum <= servo.read_field(field.name) <= field.maximum


def test_a_change_of_mode_resets_gains_profile_and_goals(servo):
    for name in ('position_p_gain', 'profile_velocity', 'profile_acceleration'):
        servo.write_field(name, 33)
    servo.write_field('goal_current', 5)
    servo.write_field('operating_mode', OperatingMode.CURRENT_BASED_POSITION)
    table = servo.memory.table
    assert servo.read_field('position_p_gain') == table['position_p_gain'].default
    assert servo.read_field('profile_velocity') == 0
    assert servo.read_field('goal_current') == servo.read_field('current_limit')


POSITION_MODES = [
    OperatingMode.POSITION,
    OperatingMode.EXTENDED_POSITION,
    OperatingMode.CURRENT_BASED_POSITION,
]


@pytest.mark.parametrize('mode', POSITION_MODES)
def test_position_modes_reach_their_goal_along_the_profile(servo, mode):
    enable(servo, mode, profile_velocity=100, profile_acceleration=50)
    servo.write_field('goal_position', 2900)
    fastest = 0
    for _ in range(100):
        servo.advance(0.01)
        fastest = max(fastest, servo.read_field('velocity_trajectory'))
    assert fastest == 100
    assert servo.read_field('moving_status') & 0x30 == 0x30
    run(servo, 0.5)
    assert servo.read_field('moving') == 0
    assert servo.read_field('present_position') == pytest.approx(2900, abs=20)
    assert servo.read_field('position_trajectory') == 2900
    assert servo.read_field('moving_status') & 0x0B == 0x01  # in position


def test_the_profile_is_in_revolutions_per_minute(servo):
    enable(servo, OperatingMode.EXTENDED_POSITION, profile_velocity=100)
    servo.write_field('goal_position', 2048 + 40000)
    run(servo, 1.0)
    before = servo.read_field('position_trajectory')
    run(servo, 1.0)
    moved = (servo.read_field('position_trajectory') - before) * RADIANS_PER_PULSE
    assert moved == pytest.approx(100 * RADIANS_PER_SECOND, rel=0.01)
    assert moved == pytest.approx(22.9 * 2 * np.pi / 60, rel=0.01)


def test_time_based_profiles_arrive_in_time(servo):
    servo.write_field('drive_mode', 0x04)
    enable(servo, OperatingMode.EXTENDED_POSITION)
    servo.write_field('profile_velocity', 500)
    servo.write_field('profile_acceleration', 100)
    servo.write_field('goal_position', 2500)
    run(servo, 0.45)
    assert servo.read_field('moving_status') & 0x02
    run(servo, 0.1)
    assert not servo.read_field('moving_status') & 0x02
    assert servo.read_field('position_trajectory') == 2500


def test_goal_current_caps_the_force_of_current_based_position(servo):
    scale = servo.model.current_scale
    cap = round(0.2 * servo.model.specification.stall_current / scale)
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, goal_current=cap)
    servo.motor.load = ElasticTendon(0.0, 0.0, 0.5, 50.0)  # a stop at 0.5 rad
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
    assert current == pytest.approx(torque / specification.torque_per_current, rel=0.2)


def test_current_mode_and_velocity_mode_and_pwm_mode(servo):
    enable(servo, OperatingMode.CURRENT)
    assert servo.read_field('goal_current') == 0  # nothing starts to turn
    servo.write_field('goal_current', 100)
    servo.advance(0.01)
    assert servo.read_field('present_current') == 100
    servo.write_field('torque_enable', 0)
    enable(servo, OperatingMode.VELOCITY)
    servo.write_field('goal_velocity', 80)
    run(servo, 2.0)
    assert servo.read_field('present_velocity') == pytest.approx(80, abs=3)
    assert servo.read_field('moving') == 1
    servo.write_field('torque_enable', 0)
    enable(servo, OperatingMode.PWM)
    servo.write_field('goal_pwm', -442)
    run(servo, 2.0)
    assert servo.read_field('present_pwm') == -442
    assert servo.read_field('present_velocity') < -50


def test_without_torque_it_gives_way(servo):
    servo.write_field('goal_position', 3000)
    servo.motor.load_torque = 0.2 * servo.model.specification.stall_torque
    run(servo, 0.5)
    assert servo.read_field('present_position') > 2100
    assert servo.read_field('present_current') == 0


def test_an_old_goal_is_followed_when_torque_goes_on(servo):
    servo.write_field('goal_position', 2500)
    enable(servo, OperatingMode.POSITION, goal_position=2500)
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(2500, abs=20)


def test_reverse_mode_turns_position_current_and_velocity_round(servo):
    servo.write_field('drive_mode', 0x01)
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


def test_a_position_behind_zero_wraps_at_a_start(servo):
    servo.place(-2500 * RADIANS_PER_PULSE)  # 2048 - 2500 < 0
    assert servo.read_field('present_position') == 2048 - 2500 + 4096


def test_clear_counts_within_one_turn_but_not_while_it_moves(servo):
    enable(servo, OperatingMode.VELOCITY)
    servo.write_field('goal_velocity', 100)
    run(servo, 5.0)
    assert servo.read_field('present_position') > 4096
    assert servo.clear_turns() == StatusError.RESULT_FAIL
    servo.write_field('goal_velocity', 0)
    run(servo, 1.0)
    assert servo.clear_turns() == OK
    assert 0 <= servo.read_field('present_position') < 4096


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


@pytest.mark.parametrize('model', [XL330_M288, XC330_T288])
def test_startup_configuration_can_switch_torque_on(model):
    servo = SimulatedServo(model, 1)
    servo.write_field('startup_configuration', 1)
    servo.reboot()
    run(servo, BOOT_TIME + 0.02)
    assert servo.torque_enabled


def test_the_bus_watchdog_stops_and_blocks_goals_until_cleared(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION, profile_velocity=20)
    servo.write_field('bus_watchdog', 5)  # 100 ms
    servo.write_field('goal_position', 3000)
    for _ in range(30):
        servo.advance(0.01)
        servo.feed_watchdog()
    assert servo.read_field('moving') == 1
    run(servo, 0.2)
    assert servo.read_field('bus_watchdog') == WATCHDOG_EXPIRED
    assert servo.torque_enabled
    stopped = servo.read_field('present_position')
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(stopped, abs=30)
    assert servo.read_field('profile_velocity') == 0
    for name in ('goal_position', 'goal_current', 'goal_velocity', 'goal_pwm'):
        assert servo.write_field(name, 10) == StatusError.DATA_RANGE
    assert servo.write_field('bus_watchdog', 10) == StatusError.DATA_RANGE
    assert servo.write_field('bus_watchdog', 0) == OK
    run(servo, 0.5)
    assert servo.read_field('present_position') == pytest.approx(stopped, abs=30)
    assert servo.write_field('goal_position', 2900) == OK
    run(servo, 1.0)
    assert servo.read_field('present_position') == pytest.approx(2900, abs=20)


@pytest.mark.parametrize('mode', [OperatingMode.CURRENT, OperatingMode.PWM])
def test_the_bus_watchdog_takes_the_force_away(servo, mode):
    enable(servo, mode, bus_watchdog=2)
    servo.write_field('goal_pwm', 300)
    servo.write_field('goal_current', 100)
    run(servo, 0.5)
    assert servo.read_field('bus_watchdog') == WATCHDOG_EXPIRED
    assert servo.read_field('moving') == 0


def test_the_watchdog_sleeps_without_torque(servo):
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


def test_too_much_current_for_too_long_overheats(servo):
    servo.write_field('shutdown', int(HardwareError.OVERHEATING))
    enable(servo, OperatingMode.CURRENT)
    servo.motor.stuck = True
    servo.write_field('goal_current', servo.read_field('current_limit'))
    for _ in range(3000):
        servo.advance(0.5)
        if servo.hardware_errors & HardwareError.OVERHEATING:
            break
    assert servo.hardware_errors & HardwareError.OVERHEATING
    assert not servo.torque_enabled
    assert servo.read_field('present_temperature') >= servo.read_field('temperature_limit')


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
    wanted = [table['hardware_error_status'].address]
    wanted += range(126, 136)
    wanted += range(116, 120)
    for slot, address in enumerate(wanted, start=1):
        assert servo.write_field(f'indirect_address_{slot}', address) == OK
    start = table['indirect_data_1'].address
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


def test_indirect_data_without_an_address_is_memory(servo):
    start = servo.memory.table['indirect_data_1'].address
    assert servo.write(start, b'\x12\x34') == OK
    assert servo.read(start, 2) == (OK, b'\x12\x34')


def test_registered_writes_wait_for_their_action(servo):
    goal = (116, (2500).to_bytes(4, 'little'))
    assert servo.register_write(116, (9000).to_bytes(4, 'little')) == StatusError.DATA_LIMIT
    assert servo.action() == StatusError.INSTRUCTION
    assert servo.register_write(*goal) == OK
    assert servo.read_field('registered_instruction') == 1
    assert servo.read_field('goal_position') == 2048
    assert servo.action() == OK
    assert servo.read_field('goal_position') == 2500
    assert servo.read_field('registered_instruction') == 0


def test_torque_on_by_goal_update_needs_its_bit_and_firmware():
    old = SimulatedServo(XM430_W350, 1, firmware=44)
    assert old.write_field('drive_mode', 0x08) == StatusError.DATA_RANGE
    servo = SimulatedServo(XM430_W350, 1, firmware=45)
    servo.write_field('goal_position', 2100)
    assert not servo.torque_enabled
    assert servo.write_field('drive_mode', 0x08) == OK
    servo.write_field('goal_position', 2100)
    assert servo.torque_enabled


def test_factory_reset_keeps_what_it_is_asked_to(servo):
    servo.write_field('baud_rate', 3)
    servo.write_field('return_delay_time', 0)
    servo.factory_reset(keep_id=True, keep_baud_rate=True)
    run(servo, BOOT_TIME + 0.02)
    assert (servo.identifier, servo.baud_rate) == (7, 1_000_000)
    assert servo.read_field('return_delay_time') == 250
    servo.factory_reset(keep_id=False, keep_baud_rate=False)
    run(servo, BOOT_TIME + 0.02)
    assert (servo.identifier, servo.baud_rate) == (1, 57600)
    assert servo.read_field('model_number') == servo.model.number
    assert servo.read_field('firmware_version') == 50


def test_the_tick_counts_milliseconds(servo):
    run(servo, 33.0, step=0.5)
    assert servo.read_field('realtime_tick') == 33000 - 32768


def test_unplugged_and_plugged_in_it_has_forgotten(servo):
    enable(servo, OperatingMode.CURRENT_BASED_POSITION)
    servo.unplug()
    assert not servo.listening
    run(servo, 0.5)
    servo.plug_in()
    run(servo, BOOT_TIME + 0.02)
    assert servo.listening
    assert servo.read_field('torque_enable') == 0


def test_equal_servos_give_equal_results(servo):
    twin = SimulatedServo(servo.model, 7)
    for one in (servo, twin):
        enable(one, OperatingMode.CURRENT_BASED_POSITION, profile_velocity=90)
        one.write_field('goal_position', 2900)
        one.motor.load_torque = 0.01
        run(one, 0.5)
    assert servo.memory.content == twin.memory.content
