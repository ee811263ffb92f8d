# SPDX-License-Identifier: Apache-2.0
"""Packets and control tables of Dynamixel protocol 2.0."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from dynamixel_simulator.control_table import Field
from dynamixel_simulator.motor_models import MODELS, MODELS_BY_NUMBER, motor_model
from dynamixel_simulator.packet import (
    ALERT_BIT,
    BROADCAST_ID,
    HEADER,
    Instruction,
    PacketReader,
    Status,
    build_packet,
    build_status,
    status_of,
)

IDS = st.integers(0, 252)
# Bytes that stuffing is about come often.
NASTY = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x55]), max_size=40).map(bytes)
BODIES = st.one_of(st.binary(max_size=60), NASTY)
VECTORS = [  # from the e-Manual's examples
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


@given(IDS, st.integers(0, 255), BODIES)
def test_status_round_trip(identifier: int, error: int, parameters: bytes):
    raw = build_status(identifier, error, parameters)
    assert HEADER not in raw[7:-2]
    (packet,) = PacketReader().feed(raw)
    assert packet.raw == raw
    status = status_of(packet)
    assert status == Status(identifier, error, parameters)
    assert status.alert == bool(error & ALERT_BIT)


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


@pytest.mark.parametrize('identifier', [-1, 253, 255, 256])
def test_ids_that_do_not_exist_are_refused(identifier: int):
    with pytest.raises(InvalidInputError, match='0 to 252'):
        build_packet(identifier, Instruction.PING)


@pytest.mark.parametrize('name', MODELS)
def test_tables_have_no_overlaps_and_defaults_within_their_ranges(name: str):
    table = MODELS[name].control_table(50)
    assert table['model_number'].default == MODELS[name].number
    assert MODELS_BY_NUMBER[MODELS[name].number] is MODELS[name]
    fields = list(table)
    assert all(one.end <= other.address for one, other in itertools.pairwise(fields))
    assert all(f.minimum <= f.default <= f.maximum for f in fields if f.writable)


def test_models_differ_where_the_manual_says_so():
    limits = {name: model.control_table(50)['current_limit'] for name, model in MODELS.items()}
    assert {name: field.default for name, field in limits.items()} == {
        'XL330-M288': 1750,
        'XC330-M288': 2352,
        'XC330-T288': 910,
        'XM430-W350': 1193,
    }


@pytest.mark.parametrize(
    ('name', 'firmware', 'data', 'slots'),
    [('XL330-M288', 52, 208, 20), ('XL330-M288', 53, 224, 28), ('XM430-W350', 45, 224, 28)],
)
def test_indirect_block_depends_on_the_firmware(name: str, firmware: int, data: int, slots: int):
    table = MODELS[name].control_table(firmware)
    assert table['indirect_data_1'].address == data
    assert table['indirect_address_1'].default == data
    assert sum(field.name.startswith('indirect_data_') for field in table) == slots


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
