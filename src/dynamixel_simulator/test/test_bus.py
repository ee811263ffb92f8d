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


def test_a_group_read_is_answered_in_the_order_of_the_request(bus):
    bus.servo(5).place(0.1)
    assert sync_read(bus, (5, 1)) == [position(2113, 5), position(2048, 1)]
    assert fast_sync_read(bus, (5, 1)) == [position(2113, 5), position(2048, 1)]


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
    assert ask(bus, BROADCAST_ID, Instruction.REBOOT) == b''
    assert [servo.listening for servo in bus.servos] == [False] * 3


@pytest.mark.parametrize(
    ('instruction', 'parameters', 'error'),
    [
        (0x04, words(116) + bytes(4), StatusError.INSTRUCTION),  # registered write: not simulated
        (0x06, b'\x02', StatusError.INSTRUCTION),  # factory reset: not simulated
        (Instruction.SYNC_READ, words(132, 4) + b'\x01', StatusError.INSTRUCTION),
        (Instruction.READ, b'\x84\x00', StatusError.DATA_LENGTH),
        (Instruction.READ, words(900, 4), StatusError.ACCESS),
        (Instruction.WRITE, b'\x41', StatusError.DATA_LENGTH),
        (Instruction.WRITE, words(132) + bytes(4), StatusError.ACCESS),
        (Instruction.REBOOT, b'', StatusError.NONE),
    ],
)
def test_instructions_are_answered_with_their_error(bus, instruction, parameters, error):
    (status,) = statuses(ask(bus, 1, instruction, parameters))
    assert status == Status(1, error, b'')


def test_nobody_answers_while_booting_at_another_rate_or_to_a_status(bus):
    ask(bus, 1, Instruction.REBOOT)
    assert ask(bus, 1, Instruction.PING) == b''
    bus.advance(BOOT_TIME + 0.01)
    assert ask(bus, 1, Instruction.PING)
    assert ask(bus, 1, Instruction.PING, baud_rate=57600)
    assert ask(bus, 1, Instruction.PING, baud_rate=1_000_000) == b''
    assert ask(bus, 1, Instruction.STATUS, b'\x00') == b''
    assert ask(bus, 99, Instruction.PING) == b''


def test_the_alert_comes_with_every_answer(bus):
    bus.servo(2).latch(HardwareError.OVERHEATING)
    assert sync_read(bus)[1] == position(2048, 2, ALERT_BIT)
    assert fast_sync_read(bus)[1] == position(2048, 2, ALERT_BIT)
    (status,) = statuses(ask(bus, 2, Instruction.PING))
    assert status.alert
    (status,) = statuses(ask(bus, 2, Instruction.WRITE, words(132) + bytes(4)))
    assert status.error == ALERT_BIT | StatusError.ACCESS


def test_a_fast_reply_has_the_checksum_of_the_manual_and_is_read_as_far_as_it_came():
    bus = SimulatedBus([SimulatedServo(XC330_T288, identifier) for identifier in (3, 7, 4)])
    for servo in bus.servos:
        servo.place((166 - 2048) * 6.2831853 / 4096)
    raw = ask(bus, BROADCAST_ID, Instruction.FAST_SYNC_READ, words(*POSITION) + b'\x03\x07\x04')
    assert raw[5:7] == b'\x19\x00'
    assert raw[14:16] == b'\x84\x08'
    (packet,) = PacketReader().feed(raw)
    assert packet.raw == raw
    parts = [position(166, identifier) for identifier in (3, 7, 4)]
    for end in range(len(raw) + 1):
        assert split_fast_status(raw[:end], [4, 4, 4]) == parts[: max(0, (end - 8) // 8)]
    assert split_fast_status(raw, [4, 4]) == []


@pytest.mark.parametrize(
    ('fault', 'plain', 'fast'),
    [
        (Fault.UNPLUGGED, [1, 5], [1]),
        (Fault.SILENCE, [1, 5], [1]),
        (Fault.WRONG_CRC, [1, 5], [1]),
        (Fault.HALF_PACKET, [1, 5], [1]),
        (Fault.WRONG_ID, [1, 3, 5], [1, 3, 5]),
    ],
)
def test_a_bad_servo_ends_a_fast_reply_and_leaves_a_gap_in_a_plain_one(bus, fault, plain, fast):
    bus.inject(fault, 2)
    assert [status.identifier for status in sync_read(bus)] == plain
    assert [status.identifier for status in fast_sync_read(bus)] == fast
    bus.clear(2)
    bus.advance(BOOT_TIME + 0.01)
    assert len(sync_read(bus)) == len(fast_sync_read(bus)) == 3


def test_a_missing_or_an_old_first_servo_leaves_a_fast_read_without_reply(bus):
    bus.inject(Fault.UNPLUGGED, 1)
    assert fast_sync_read(bus) == []
    old = SimulatedBus([SimulatedServo(XC330_T288, 1, 45)])
    assert fast_sync_read(old, (1,)) == []
    assert sync_read(old, (1,))


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
    bus.inject(Fault.SILENCE)
    assert sync_read(bus) == fast_sync_read(bus) == []
    bus.clear()
    assert len(sync_read(bus)) == 3
    with pytest.raises(InvalidInputError, match='no servo 9'):
        bus.inject(Fault.SILENCE, 9)


def test_an_echo_comes_before_the_answers(bus):
    bus.inject(Fault.ECHO)
    data = ask(bus, 1, Instruction.PING)
    assert data.startswith(build_packet(1, Instruction.PING))
    assert len(PacketReader().feed(data)) == 2
    bus.clear()
    assert len(PacketReader().feed(ask(bus, 1, Instruction.PING))) == 1


def test_twins_garble_each_other():
    bus = SimulatedBus([SimulatedServo(XC330_T288, i) for i in (3, 3, 4)])
    assert ask(bus, 3, Instruction.PING)
    assert statuses(ask(bus, 3, Instruction.PING)) == []
    assert [s.identifier for s in statuses(ask(bus, BROADCAST_ID, Instruction.PING))] == [4]


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
            st.sampled_from([*Instruction, 0x00, 0x04, 0x21, 0xFF]),
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
