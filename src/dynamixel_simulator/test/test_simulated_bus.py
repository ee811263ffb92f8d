# SPDX-License-Identifier: Apache-2.0
"""Servos on one wire: who answers what, in which order, and how it can break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import XC330_T288, XM430_W350, HardwareError
from dynamixel_simulator.packet import (
    ALERT_BIT,
    BROADCAST_ID,
    Instruction,
    PacketReader,
    Status,
    StatusError,
    build_packet,
    split_fast_status,
    status_of,
)
from dynamixel_simulator.servo import BOOT_TIME, SimulatedServo

IDS = (1, 2, 5)
POSITION = (132, 4)


@pytest.fixture
def bus():
    return SimulatedBus([SimulatedServo(XC330_T288, identifier) for identifier in IDS])


def words(*numbers):
    return b''.join(number.to_bytes(2, 'little') for number in numbers)


def ask(bus, identifier, instruction, parameters=b'', baud_rate=None):
    """Bytes that the servos answer."""
    (packet,) = PacketReader().feed(build_packet(identifier, instruction, parameters))
    answers = bus.handle(packet, baud_rate)
    return b''.join(answer.data for answer in answers)


def statuses(data):
    return [status_of(packet) for packet in PacketReader().feed(data)]


def sync_read(bus, ids=IDS, field=POSITION):
    data = ask(bus, BROADCAST_ID, Instruction.SYNC_READ, words(*field) + bytes(ids))
    return statuses(data)


def fast_sync_read(bus, ids=IDS, field=POSITION):
    data = ask(bus, BROADCAST_ID, Instruction.FAST_SYNC_READ, words(*field) + bytes(ids))
    return split_fast_status(data, [field[1]] * len(ids))


def position(pulses, identifier, error=0):
    return Status(identifier, error, pulses.to_bytes(4, 'little'))


def test_answers_are_those_of_the_manual_bit_for_bit():
    first, second = SimulatedServo(XM430_W350, 1, 38), SimulatedServo(XM430_W350, 2, 38)
    bus = SimulatedBus([second, first])
    for servo in (first, second):
        servo.memory['model_number'] = 1030  # the manual's example is an XM430-W210
    assert ask(bus, 1, Instruction.PING).hex() == 'fffffd00010700550006042 6655d'.replace(' ', '')
    assert ask(bus, BROADCAST_ID, Instruction.PING).hex() == (
        'fffffd000107005500060426655dfffffd0002070055000604266f6d'
    )
    first.place((166 - 2048) * 6.2831853 / 4096)
    second.place((2079 - 2048) * 6.2831853 / 4096)
    assert ask(bus, 1, Instruction.READ, words(132, 4)).hex() == 'fffffd000108005500a60000008cc0'
    assert ask(bus, BROADCAST_ID, Instruction.SYNC_READ, words(132, 4) + b'\x01\x02').hex() == (
        'fffffd000108005500a60000008cc0fffffd0002080055001f080000babe'
    )
    assert ask(bus, 1, Instruction.WRITE, words(116) + b'\x00\x02\x00\x00').hex() == (
        'fffffd0001040055 00a10c'.replace(' ', '')
    )
    first.motor.voltage = 11.9
    second.motor.temperature = 36.0
    for servo in (first, second):
        servo.advance(0.001)
    request = b'\x01' + words(144, 2) + b'\x02' + words(146, 1)
    assert ask(bus, BROADCAST_ID, Instruction.BULK_READ, request).hex() == (
        'fffffd00010600550077 00c369fffffd000205005500248ba9'.replace(' ', '')
    )


def test_a_group_read_is_answered_in_the_order_of_the_request(bus):
    bus.servo(5).place(0.1)
    assert sync_read(bus, (5, 1)) == [position(2113, 5), position(2048, 1)]
    assert fast_sync_read(bus, (5, 1)) == [position(2113, 5), position(2048, 1)]


def test_bulk_reads_and_writes_differ_per_servo(bus):
    request = b'\x05' + words(132, 4) + b'\x01' + words(7, 1)
    expected = [position(2048, 5), Status(1, 0, b'\x01')]
    assert statuses(ask(bus, BROADCAST_ID, Instruction.BULK_READ, request)) == expected
    data = ask(bus, BROADCAST_ID, Instruction.FAST_BULK_READ, request)
    assert split_fast_status(data, [4, 1]) == expected
    parts = b'\x01' + words(65, 1) + b'\x01' + b'\x02' + words(102, 2) + words(44)
    assert ask(bus, BROADCAST_ID, Instruction.BULK_WRITE, parts) == b''
    assert bus.servo(1).read_field('led') == 1
    assert bus.servo(2).read_field('goal_current') == 44


def test_sync_writes_are_silent_also_when_they_are_refused(bus):
    goals = b''.join(
        bytes((identifier,)) + goal.to_bytes(4, 'little')
        for identifier, goal in [(1, 2100), (2, 9999), (9, 2100)]
    )
    assert ask(bus, BROADCAST_ID, Instruction.SYNC_WRITE, words(116, 4) + goals) == b''
    goals = [bus.servo(identifier).read_field('goal_position') for identifier in IDS]
    assert goals == [2100, 2048, 2048]
    bus.servo(1).write_field('torque_enable', 1)
    mode = words(11, 1) + b'\x01\x05'
    assert ask(bus, BROADCAST_ID, Instruction.SYNC_WRITE, mode) == b''
    assert bus.servo(1).read_field('operating_mode') == 3


@pytest.mark.parametrize(
    ('level', 'answered'), [(0, (True, False, False)), (1, (True, True, False)), (2, (True,) * 3)]
)
def test_the_status_return_level_decides_who_is_answered(bus, level, answered):
    bus.servo(2).write_field('status_return_level', level)
    assert (
        bool(ask(bus, 2, Instruction.PING)),
        bool(ask(bus, 2, Instruction.READ, words(132, 4))),
        bool(ask(bus, 2, Instruction.WRITE, words(65) + b'\x01')),
    ) == answered
    assert bus.servo(2).read_field('led') == 1
    assert (2 in [status.identifier for status in sync_read(bus)]) == answered[1]


def test_broadcasts_are_obeyed_and_only_pings_answered(bus):
    assert ask(bus, BROADCAST_ID, Instruction.READ, words(132, 4)) == b''
    assert ask(bus, BROADCAST_ID, Instruction.WRITE, words(65) + b'\x01') == b''
    assert [servo.read_field('led') for servo in bus.servos] == [1, 1, 1]
    assert ask(bus, BROADCAST_ID, Instruction.FACTORY_RESET, b'\xff') == b''
    assert [servo.listening for servo in bus.servos] == [True] * 3
    assert ask(bus, BROADCAST_ID, Instruction.REBOOT) == b''
    assert [servo.listening for servo in bus.servos] == [False] * 3


@pytest.mark.parametrize(
    ('instruction', 'parameters', 'error'),
    [
        (0x77, b'', StatusError.INSTRUCTION),
        (Instruction.BACKUP, b'\x01CTRL', StatusError.INSTRUCTION),
        (Instruction.ACTION, b'', StatusError.INSTRUCTION),
        (Instruction.READ, b'\x84\x00', StatusError.DATA_LENGTH),
        (Instruction.READ, words(900, 4), StatusError.ACCESS),
        (Instruction.WRITE, b'\x41', StatusError.DATA_LENGTH),
        (Instruction.WRITE, words(132) + bytes(4), StatusError.ACCESS),
        (Instruction.CLEAR, b'\x01\x44\x58\x4c\x23', StatusError.DATA_RANGE),
        (Instruction.FACTORY_RESET, b'', StatusError.DATA_LENGTH),
        (Instruction.FACTORY_RESET, b'\x07', StatusError.DATA_RANGE),
    ],
)
def test_wrong_instructions_are_answered_with_their_error(bus, instruction, parameters, error):
    (status,) = statuses(ask(bus, 1, instruction, parameters))
    assert status == Status(1, error, b'')


def test_good_instructions_are_answered_without_error(bus):
    write = words(116) + (2200).to_bytes(4, 'little')
    for instruction, parameters in [
        (Instruction.REG_WRITE, write),
        (Instruction.ACTION, b''),
        (Instruction.CLEAR, b'\x01\x44\x58\x4c\x22'),
        (Instruction.REBOOT, b''),
    ]:
        assert statuses(ask(bus, 1, instruction, parameters)) == [Status(1, 0, b'')]
    bus.advance(BOOT_TIME + 0.01)
    assert statuses(ask(bus, 1, Instruction.FACTORY_RESET, b'\x02')) == [Status(1, 0, b'')]


def test_nobody_answers_while_booting_at_another_rate_or_to_a_status(bus):
    ask(bus, 1, Instruction.REBOOT)
    assert ask(bus, 1, Instruction.PING) == b''
    bus.advance(BOOT_TIME + 0.01)
    assert ask(bus, 1, Instruction.PING)
    assert ask(bus, 1, Instruction.PING, baud_rate=57600)
    assert ask(bus, 1, Instruction.PING, baud_rate=1_000_000) == b''
    assert ask(bus, 1, Instruction.STATUS, b'\x00') == b''
    assert ask(bus, 99, Instruction.PING) == b''


def test_a_new_id_and_baud_rate_hold_after_the_answer(bus):
    assert statuses(ask(bus, 1, Instruction.WRITE, words(7) + b'\x0b')) == [Status(1, 0, b'')]
    assert ask(bus, 1, Instruction.PING) == b''
    assert statuses(ask(bus, 11, Instruction.PING))
    assert statuses(ask(bus, 11, Instruction.WRITE, words(8) + b'\x03', 57600))
    assert ask(bus, 11, Instruction.PING, baud_rate=57600) == b''
    assert ask(bus, 11, Instruction.PING, baud_rate=1_000_000)


def test_the_second_id_is_obeyed_without_an_answer(bus):
    bus.servo(2).write_field('secondary_id', 40)
    assert ask(bus, 40, Instruction.WRITE, words(65) + b'\x01') == b''
    assert bus.servo(2).read_field('led') == 1
    ask(bus, BROADCAST_ID, Instruction.SYNC_WRITE, words(65, 1) + b'\x28\x00')
    assert bus.servo(2).read_field('led') == 0


def test_the_alert_comes_with_every_answer(bus):
    bus.servo(2).latch(HardwareError.OVERHEATING)
    assert sync_read(bus)[1] == position(2048, 2, ALERT_BIT)
    assert fast_sync_read(bus)[1] == position(2048, 2, ALERT_BIT)
    (status,) = statuses(ask(bus, 2, Instruction.PING))
    assert status.alert
    (status,) = statuses(ask(bus, 2, Instruction.WRITE, words(132) + bytes(4)))
    assert status.error == ALERT_BIT | StatusError.ACCESS


def test_old_firmware_knows_no_fast_reads():
    bus = SimulatedBus([SimulatedServo(XC330_T288, 1, 45)])
    assert fast_sync_read(bus, (1,)) == []
    assert sync_read(bus, (1,))


def test_a_missing_servo_ends_a_fast_reply_and_leaves_a_gap_in_a_plain_one(bus):
    bus.inject(Fault.UNPLUGGED, 2)
    assert [status.identifier for status in sync_read(bus)] == [1, 5]
    assert [status.identifier for status in fast_sync_read(bus)] == [1]
    bus.inject(Fault.UNPLUGGED, 1)
    assert ask(bus, BROADCAST_ID, Instruction.FAST_SYNC_READ, words(*POSITION) + b'\x01') == b''


def test_packets_feed_the_watchdog_of_servos_that_they_are_not_for(bus):
    for servo in bus.servos:
        servo.write_field('torque_enable', 1)
        servo.write_field('bus_watchdog', 2)
    for _ in range(10):
        bus.advance(0.03)
        ask(bus, 1, Instruction.PING)
    assert [servo.read_field('bus_watchdog') for servo in bus.servos] == [2, 2, 2]
    bus.advance(0.05)
    assert [servo.read_field('bus_watchdog') for servo in bus.servos] == [255, 255, 255]


def test_silence_is_counted_in_answers(bus):
    bus.inject(Fault.SILENCE, 2, answers=2)
    assert ask(bus, 2, Instruction.WRITE, words(65) + b'\x01') == b''
    assert bus.servo(2).read_field('led') == 1  # it obeyed
    assert [status.identifier for status in sync_read(bus)] == [1, 5]
    assert [status.identifier for status in sync_read(bus)] == [1, 2, 5]
    bus.inject(Fault.SILENCE, 2, answers=1)
    assert [status.identifier for status in fast_sync_read(bus)] == [1]
    assert [status.identifier for status in fast_sync_read(bus)] == [1, 2, 5]


def test_a_wrong_checksum_costs_one_answer(bus):
    bus.inject(Fault.WRONG_CRC, 2, answers=1)
    assert [status.identifier for status in sync_read(bus)] == [1, 5]
    bus.inject(Fault.WRONG_CRC, 2, answers=1)
    assert [status.identifier for status in fast_sync_read(bus)] == [1]
    assert len(fast_sync_read(bus)) == 3


def test_half_a_packet_swallows_no_more_than_itself(bus):
    bus.inject(Fault.HALF_PACKET, 2)
    assert [status.identifier for status in sync_read(bus)] == [1, 5]
    assert [status.identifier for status in fast_sync_read(bus)] == [1]
    bus.clear(2)
    assert len(sync_read(bus)) == len(fast_sync_read(bus)) == 3


def test_a_wrong_id_is_told(bus):
    bus.inject(Fault.WRONG_ID, 2)
    assert [status.identifier for status in sync_read(bus)] == [1, 3, 5]
    assert [status.identifier for status in fast_sync_read(bus)] == [1, 3, 5]


def test_an_echo_comes_before_the_answers(bus):
    bus.inject(Fault.ECHO)
    data = ask(bus, 1, Instruction.PING)
    assert data.startswith(build_packet(1, Instruction.PING))
    assert len(PacketReader().feed(data)) == 2
    bus.clear()
    assert len(PacketReader().feed(ask(bus, 1, Instruction.PING))) == 1


def test_lateness_and_return_delay_are_told_to_the_port(bus):
    bus.servo(2).write_field('return_delay_time', 100)
    bus.inject(Fault.DELAY, 2, lateness=0.08)
    for instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
        request = build_packet(BROADCAST_ID, instruction, words(*POSITION) + b'\x02')
        (answer,) = bus.handle(PacketReader().feed(request)[0])
        assert answer.return_delay == pytest.approx(200e-6)
        assert answer.lateness == 0.08


def test_twins_garble_each_other():
    bus = SimulatedBus([SimulatedServo(XC330_T288, i) for i in (3, 3, 4)])
    assert ask(bus, 3, Instruction.PING)
    assert statuses(ask(bus, 3, Instruction.PING)) == []
    assert [s.identifier for s in statuses(ask(bus, BROADCAST_ID, Instruction.PING))] == [4]


def test_a_brown_out_restarts_the_servo_with_a_voltage_error(bus):
    servo = bus.servo(2)
    servo.write_field('operating_mode', 5)
    servo.write_field('torque_enable', 1)
    bus.inject(Fault.BROWN_OUT, 2)
    assert [status.identifier for status in sync_read(bus)] == [1, 5]
    for _ in range(20):
        bus.advance(0.01)
    assert sync_read(bus)[1].alert
    assert servo.read_field('torque_enable') == 0
    assert servo.hardware_errors == HardwareError.INPUT_VOLTAGE
    bus.clear(2)
    assert sync_read(bus)[1].alert  # latched
    ask(bus, 2, Instruction.REBOOT)
    for _ in range(20):
        bus.advance(0.01)
    assert not sync_read(bus)[1].alert


@pytest.mark.parametrize(
    ('fault', 'bit'),
    [
        (Fault.OVERLOAD, HardwareError.OVERLOAD),
        (Fault.OVER_TEMPERATURE, HardwareError.OVERHEATING),
    ],
)
def test_shutdowns_can_be_switched_on(bus, fault, bit):
    servo = bus.servo(1)
    servo.write_field('torque_enable', 1)
    bus.inject(fault, 1)
    bus.advance(0.01)
    assert servo.read_field('hardware_error_status') == bit
    assert servo.read_field('torque_enable') == 0
    if fault is Fault.OVER_TEMPERATURE:
        assert servo.read_field('present_temperature') == 75
    bus.clear(1)
    servo.reboot()
    bus.advance(BOOT_TIME + 0.01)
    bus.advance(0.01)
    assert servo.read_field('hardware_error_status') == 0


def test_a_stuck_tendon_draws_current_and_does_not_move(bus):
    servo = bus.servo(1)
    servo.write_field('operating_mode', 5)
    servo.write_field('goal_current', 200)
    servo.write_field('torque_enable', 1)
    bus.inject(Fault.STUCK, 1)
    servo.write_field('goal_position', 2500)
    for _ in range(50):
        bus.advance(0.01)
    assert servo.read_field('present_position') == 2048
    assert servo.read_field('present_current') == 200
    bus.clear(1)
    for _ in range(100):
        bus.advance(0.01)
    assert servo.read_field('present_position') == pytest.approx(2500, abs=20)


def test_all_servos_can_suffer_at_once(bus):
    bus.inject(Fault.SILENCE)
    assert sync_read(bus) == []
    bus.clear()
    assert len(sync_read(bus)) == 3


def test_faults_that_do_not_fit_are_refused(bus):
    with pytest.raises(InvalidInputError, match='no servo 9'):
        bus.inject(Fault.SILENCE, 9)
    with pytest.raises(InvalidInputError, match='server'):
        bus.inject(Fault.PORT_GONE)


# Addresses, sizes and ids that exist come often.
PARAMETERS = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([0, 1, 2, 4, 5, 7, 8, 11, 64, 98, 100, 116, 126, 132, 0xFD, 0xFE, 0xFF]),
        max_size=40,
    ).map(bytes),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, BROADCAST_ID]),
            st.sampled_from([*Instruction, 0x00, 0x21, 0xFF]),
            PARAMETERS,
        ),
        max_size=6,
    )
)
def test_no_packet_stops_the_servos(packets):
    bus = SimulatedBus([SimulatedServo(XC330_T288, 1), SimulatedServo(XM430_W350, 2)])
    for identifier, instruction, parameters in packets:
        data = ask(bus, identifier, instruction, parameters)
        for packet in PacketReader().feed(data):
            assert packet.instruction == Instruction.STATUS
        bus.advance(0.02)
    for servo in bus.servos:
        for field in servo.memory.table:
            assert servo.read_field(field.name) == servo.memory[field.name]


@given(st.binary(max_size=80))
def test_noise_does_not_deafen_them(noise):
    reader = PacketReader()
    reader.feed(noise)
    reader.clear()  # as after a pause on the wire
    good = build_packet(1, Instruction.PING)
    assert [packet.raw for packet in reader.feed(good)] == [good]
