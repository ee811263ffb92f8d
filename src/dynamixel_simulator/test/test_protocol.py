# SPDX-License-Identifier: Apache-2.0
"""Packets and control tables of Dynamixel protocol 2.0."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from dynamixel_simulator.control_table import ControlTable, Field
from dynamixel_simulator.motor_models import MODELS, MODELS_BY_NUMBER, motor_model
from dynamixel_simulator.packet import (
    ALERT_BIT,
    BROADCAST_ID,
    HEADER,
    Instruction,
    PacketReader,
    Status,
    StatusError,
    build_fast_status,
    build_packet,
    build_status,
    crc16,
    split_fast_status,
    status_of,
    stuff,
    unstuff,
)

IDS = st.integers(0, 252)
# Bytes that stuffing is about come often.
NASTY = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x55]), max_size=40).map(bytes)
BODIES = st.one_of(st.binary(max_size=60), NASTY)
# Values of hardware.md 3.4, from the e-Manual's examples.
VECTORS = [
    (build_packet(1, Instruction.PING), 'FFFFFD00 01 0300 01 194E'),
    (build_status(1, 0, bytes((0x06, 0x04, 0x26))), 'FFFFFD00 01 0700 55 00 060426 655D'),
    (build_packet(1, Instruction.READ, b'\x84\x00\x04\x00'), 'FFFFFD00 01 0700 02 84000400 1D15'),
    (build_status(1, 0, b'\xa6\x00\x00\x00'), 'FFFFFD00 01 0800 55 00 A6000000 8CC0'),
    (
        build_packet(BROADCAST_ID, Instruction.SYNC_READ, b'\x84\x00\x04\x00\x01\x02'),
        'FFFFFD00 FE 0900 82 84000400 0102 CEFA',
    ),
    (
        build_packet(
            BROADCAST_ID,
            Instruction.SYNC_WRITE,
            b'\x74\x00\x04\x00' + b'\x01\x96\x00\x00\x00' + b'\x02\xaa\x00\x00\x00',
        ),
        'FFFFFD00 FE 1100 83 74000400 0196000000 02AA000000 8287',
    ),
    (
        build_packet(1, Instruction.WRITE, b'\x74\x00\x00\x02\x00\x00'),
        'FFFFFD00 01 0900 03 7400 00020000 CA89',
    ),
    (build_status(1), 'FFFFFD00 01 0400 55 00 A10C'),
    (build_packet(1, Instruction.REBOOT), 'FFFFFD00 01 0300 08 2F4E'),
]


@pytest.mark.parametrize(('packet', 'expected'), VECTORS)
def test_packets_of_the_manual(packet: bytes, expected: str):
    assert packet.hex() == expected.replace(' ', '').lower()


def test_crc_goes_on_where_it_stopped():
    data = bytes(range(200))
    assert crc16(data[70:], crc16(data[:70])) == crc16(data)


def test_first_part_of_a_fast_reply_has_the_checksum_of_the_manual():
    reply = build_fast_status([Status(i, 0, bytes((0xA6, 0, 0, 0))) for i in (3, 7, 4)])
    assert reply[5:7] == b'\x19\x00'
    assert reply[14:16] == b'\x84\x08'


@given(BODIES)
def test_stuffing_round_trip_leaves_no_header(body: bytes):
    stuffed = stuff(body)
    assert unstuff(stuffed) == body
    assert HEADER not in stuffed


@given(IDS, st.sampled_from(Instruction), BODIES)
def test_packet_round_trip(identifier: int, instruction: Instruction, parameters: bytes):
    raw = build_packet(identifier, instruction, parameters)
    (packet,) = PacketReader().feed(raw)
    assert packet == (identifier, instruction, parameters, raw)


@given(IDS, st.integers(0, 255), BODIES)
def test_status_round_trip(identifier: int, error: int, parameters: bytes):
    (packet,) = PacketReader().feed(build_status(identifier, error, parameters))
    status = status_of(packet)
    assert status == Status(identifier, error, parameters)
    assert status.alert == bool(error & ALERT_BIT)


def test_instruction_is_no_status():
    (packet,) = PacketReader().feed(build_packet(1, Instruction.PING))
    assert status_of(packet) is None


@given(st.lists(st.tuples(IDS, BODIES), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_reader_takes_any_pieces(contents: list[tuple[int, bytes]], dice: random.Random):
    stream = b''.join(build_status(i, 0, body) for i, body in contents)
    reader = PacketReader()
    packets = []
    while stream:
        count = dice.randint(1, len(stream))
        packets += reader.feed(stream[:count])
        stream = stream[count:]
    assert [(p.identifier, p.parameters[1:]) for p in packets] == contents
    assert reader.skipped_bytes == reader.wrong_checksums == 0
    assert reader.pending == b''


@given(st.binary(max_size=30).filter(lambda b: HEADER not in b), BODIES)
def test_reader_skips_garbage(garbage: bytes, body: bytes):
    reader = PacketReader()
    good = build_status(9, 0, body)
    # FF at the end of the garbage may belong to the header behind it.
    packets = reader.feed(garbage + good)
    assert [p.raw for p in packets] == [good]
    assert reader.skipped_bytes == len(garbage)


@given(BODIES, st.data())
def test_reader_comes_back_after_half_a_packet(body: bytes, data: st.DataObject):
    half = build_status(3, 0, body)
    half = half[: data.draw(st.integers(1, len(half) - 1))]
    good = build_status(4, 0, b'\x01\x02')
    assert [p.raw for p in PacketReader().feed(half + good + good)][-1:] == [good]


@given(BODIES, st.data())
def test_one_wrong_byte_never_gives_a_packet_of_the_same_servo(body: bytes, data: st.DataObject):
    raw = bytearray(build_status(3, 0, body))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    reader = PacketReader()
    # A wrong length may swallow what follows; what is good must come in the end.
    packets = reader.feed(bytes(raw))
    reader.clear()
    packets += reader.feed(build_status(4))
    assert [p.identifier for p in packets if p.raw != bytes(raw)] == [4]
    assert bytes(raw) not in [p.raw for p in packets]


def test_wrong_checksums_are_counted():
    reader = PacketReader()
    raw = bytearray(build_status(3))
    raw[-1] ^= 1
    assert reader.feed(bytes(raw)) == []
    assert reader.wrong_checksums == 1


@given(
    st.lists(st.tuples(IDS, st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(1, 12),
    st.data(),
)
def test_fast_reply_round_trip(heads: list[tuple[int, int]], size: int, data: st.DataObject):
    payload = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x12]), min_size=size, max_size=size)
    parts = [Status(i, error, bytes(data.draw(payload))) for i, error in heads]
    raw = build_fast_status(parts)
    sizes = [size] * len(parts)
    assert split_fast_status(raw, sizes) == parts
    (packet,) = PacketReader().feed(raw)
    assert packet.raw == raw
    cut = data.draw(st.integers(0, len(raw)))
    leading = split_fast_status(raw[:cut], sizes)
    assert leading == parts[: len(leading)]
    assert len(leading) == max(0, (cut - 8) // (size + 4))


def test_fast_reply_is_read_up_to_the_first_wrong_checksum():
    parts = [Status(i, 0, b'\x01\x02\x03\x04') for i in (1, 2, 3)]
    raw = bytearray(build_fast_status(parts))
    raw[8 + 8 + 3] ^= 1
    assert split_fast_status(bytes(raw), [4, 4, 4]) == parts[:1]
    assert split_fast_status(bytes(raw), [4, 4]) == []


@pytest.mark.parametrize('identifier', [-1, 253, 255, 256])
def test_ids_that_do_not_exist_are_refused(identifier: int):
    with pytest.raises(InvalidInputError, match='0 to 252'):
        build_packet(identifier, Instruction.PING)


def test_too_long_a_body_is_refused():
    with pytest.raises(InvalidInputError, match='65535'):
        build_packet(1, Instruction.WRITE, bytes(70000))


def test_error_numbers_and_alert_are_apart():
    status = Status(1, ALERT_BIT | StatusError.DATA_LIMIT, b'')
    assert status.alert
    assert status.error_number == StatusError.DATA_LIMIT


ADDRESSES = {  # hardware.md 3.5
    'model_number': (0, 2),
    'firmware_version': (6, 1),
    'id': (7, 1),
    'baud_rate': (8, 1),
    'return_delay_time': (9, 1),
    'operating_mode': (11, 1),
    'homing_offset': (20, 4),
    'current_limit': (38, 2),
    'velocity_limit': (44, 4),
    'max_position_limit': (48, 4),
    'min_position_limit': (52, 4),
    'shutdown': (63, 1),
    'torque_enable': (64, 1),
    'status_return_level': (68, 1),
    'hardware_error_status': (70, 1),
    'position_p_gain': (84, 2),
    'bus_watchdog': (98, 1),
    'goal_current': (102, 2),
    'profile_velocity': (112, 4),
    'goal_position': (116, 4),
    'present_current': (126, 2),
    'present_velocity': (128, 4),
    'present_position': (132, 4),
    'present_input_voltage': (144, 2),
    'present_temperature': (146, 1),
}


@pytest.mark.parametrize('name', MODELS)
def test_tables_have_the_addresses_of_the_manual(name: str):
    table = MODELS[name].control_table(50)
    assert {field: (table[field].address, table[field].size) for field in ADDRESSES} == ADDRESSES
    assert table['model_number'].default == MODELS[name].number
    assert MODELS_BY_NUMBER[MODELS[name].number] is MODELS[name]
    for field in table:
        if field.writable and field.default is not None:
            assert field.minimum <= field.default <= field.maximum
        assert field.decode(field.encode(field.default or 0)) == (field.default or 0)


def test_models_differ_where_the_manual_says_so():
    limits = {name: model.control_table(50)['current_limit'] for name, model in MODELS.items()}
    assert {name: field.default for name, field in limits.items()} == {
        'XL330-M288': 1750,
        'XC330-M288': 2352,
        'XC330-T288': 910,
        'XM430-W350': 1193,
    }
    assert limits['XM430-W350'].to_si(100) == pytest.approx(0.269)
    assert limits['XM430-W350'].from_si(0.269) == 100


@pytest.mark.parametrize(
    ('name', 'firmware', 'data', 'slots'),
    [('XL330-M288', 52, 208, 20), ('XL330-M288', 53, 224, 28), ('XM430-W350', 45, 224, 56)],
)
def test_indirect_block_depends_on_the_firmware(name: str, firmware: int, data: int, slots: int):
    table = MODELS[name].control_table(firmware)
    assert table['indirect_data_1'].address == data
    assert table['indirect_address_1'].default == data
    assert f'indirect_data_{slots}' in table
    assert f'indirect_data_{slots + 1}' not in table


def test_covering_names_the_fields_of_a_range():
    table = MODELS['XC330-M288'].control_table(50)
    names = [field.name for field in table.covering(126, 10)]
    assert names == ['present_current', 'present_velocity', 'present_position']
    assert table.covering(14, 6) == ()
    assert table.field_at(133) is table['present_position']


def test_unknown_names_come_with_a_suggestion():
    with pytest.raises(InvalidInputError, match='goal_position'):
        MODELS['XC330-M288'].control_table(50)['goal_positon']
    with pytest.raises(InvalidInputError, match='XC330-M288'):
        motor_model('XC330')


def test_fields_refuse_what_does_not_fit():
    field = Field('goal_current', 102, 2, signed=True)
    assert field.decode(field.encode(-1)) == -1
    assert field.encode(-1) == b'\xff\xff'
    with pytest.raises(InvalidInputError, match='does not fit'):
        field.encode(40000)
    with pytest.raises(InvalidInputError, match='2 byte'):
        field.decode(b'\x01')


def test_tables_refuse_overlaps_and_twins():
    with pytest.raises(InvalidInputError, match='share address 1'):
        ControlTable([Field('a', 0, 2), Field('b', 1, 1)])
    with pytest.raises(InvalidInputError, match='same name'):
        ControlTable([Field('a', 0, 2), Field('a', 2, 1)])
