# SPDX-License-Identifier: Apache-2.0
"""Hostile and damaged files: bounded, and either whole, refused in a sentence, or said."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from mcap.writer import CompressionType, Writer

from deft_bag import mcap_file
from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE, BagReader
from deft_core.episode import Episode
from deft_core.errors import RecordingError

MB = 2**20
EPISODES = 4
COMPRESSIONS = (CompressionType.ZSTD, CompressionType.LZ4, CompressionType.NONE)


def closed_file(records, **options) -> bytes:
    """Four episodes, each in a chunk of its own."""
    stream = io.BytesIO()
    writer = Writer(stream, chunk_size=10_000, **options)
    writer.start(profile='ros2')
    text, _ = message_typestore().generate_msgdef(EPISODE_TYPE, ros_version=2)
    schema = writer.register_schema(EPISODE_TYPE, 'ros2msg', text.encode())
    channel = writer.register_channel(EPISODE_TOPIC, 'cdr', schema)
    for index in range(EPISODES):
        record = records.cdr(records.record_of(records.make_episode(index)))
        writer.add_message(channel, index, record, index)
    writer.finish()
    return stream.getvalue()


@pytest.fixture(scope='module', params=COMPRESSIONS, ids=lambda kind: kind.name)
def whole(records, request) -> bytes:
    return closed_file(records, compression=request.param)


def heads(data: bytes) -> list[tuple[int, int]]:
    """Place and opcode of each record of a file."""
    found, at = [], 8
    while at < len(data) - 8:
        opcode, length = struct.unpack_from('<BQ', data, at)
        found.append((at, opcode))
        at += 9 + length
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A copy with one thing changed."""
    copy, at = bytearray(data), rng.randrange(8, len(data) - 8)
    length = rng.randrange(1, 3000)
    head = rng.choice(heads(data))[0]
    kind = rng.choice(('byte', 'word', 'long', 'cut', 'twice', 'zeros', 'opcode', 'field'))
    if kind == 'byte':
        copy[at] ^= rng.randrange(1, 256)
    elif kind == 'word':
        copy[at : at + 4] = b'\xff' * 4
    elif kind == 'long':
        copy[at : at + 8] = struct.pack('<Q', rng.choice((0, 2**32 - 1, 2**40, 2**64 - 1)))
    elif kind == 'cut':
        del copy[at : at + length]
    elif kind == 'twice':
        copy[at:at] = copy[at : at + length]
    elif kind == 'zeros':
        copy[at : at + length] = bytes(len(copy[at : at + length]))
    elif kind == 'opcode':
        copy[head] = rng.choice((0, 1, 2, 5, 6, 14, 15, 255))
    else:
        copy[min(len(copy) - 1, head + rng.randrange(1, 42))] = rng.choice((0, 1, 255))
    return bytes(copy)


def test_a_mutated_file_is_whole_or_refused_or_said(whole, tmp_path, monkeypatch) -> None:
    """Fifty of each compression; the work is counted in records and in bytes asked for."""
    taken = 0

    def counted(records):
        def count(*arguments):
            nonlocal taken
            for record in records(*arguments):
                taken += 1
                yield record

        return count

    for name in ('_records', '_inside'):
        monkeypatch.setattr(mcap_file, name, counted(getattr(mcap_file, name)))
    rng, path = random.Random(20), tmp_path / 'mutated.mcap'
    path.write_bytes(whole)
    list(BagReader(path).episodes())
    usual = taken
    for _ in range(50):
        path.write_bytes(mutated(whole, rng))
        taken = 0
        reader, said = BagReader(path), ''
        episodes: list[Episode] = []
        try:
            episodes += reader.episodes()
            said = ' '.join(reader.damaged)
        except RecordingError as error:
            said = str(error)
        assert len(episodes) == EPISODES or str(path) in said
        assert '\n' not in said
        assert taken < 10 * usual


@pytest.mark.parametrize(
    'change',
    [
        lambda data, at, end: data[:at] + b'\x0e' + data[at + 1 :],
        lambda data, at, end: data[:at] + b'\x02' + data[at + 1 :],
        lambda data, at, end: data[:at] + data[end:],
        lambda data, at, end: data[:end] + data[at:end] + data[end:],
    ],
    ids=['another opcode', 'a footer', 'cut out', 'there twice'],
)
def test_a_chunk_that_is_missing_from_a_closed_file_is_noticed(whole, tmp_path, change) -> None:
    places = heads(whole)
    chunks = [row for row, (_, opcode) in enumerate(places) if opcode == 6]
    path = tmp_path / 'a.mcap'
    path.write_bytes(change(whole, places[chunks[1]][0], places[chunks[1] + 1][0]))
    with pytest.raises(RecordingError, match=r'put the original back'):
        list(BagReader(path).episodes())
    with pytest.raises(RecordingError, match=r'put the original back'):
        list(BagReader(path).messages())


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack('<BQ', opcode, len(content)) + content


def text(value: bytes) -> bytes:
    return struct.pack('<I', len(value)) + value


def chunk(packed: bytes, size: int, compression: bytes) -> bytes:
    head = struct.pack('<QQQI', 0, 0, size, 0)
    return record(6, head + text(compression) + struct.pack('<Q', len(packed)) + packed)


def without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


ZEROS = bytes(200 * MB)
NOTHING = record(0x80, b'')  # a record of somebody's own
HOSTILE = {
    'zeros, zstd': (lambda: chunk(zstandard.compress(ZEROS), len(ZEROS), b'zstd'), '210 MB'),
    'zeros that say 1 MB': (lambda: chunk(zstandard.compress(ZEROS), MB, b'zstd'), 'two sizes'),
    'zeros without a size': (lambda: chunk(without_size(ZEROS), MB, b'zstd'), 'unpack'),
    'zeros, lz4': (lambda: chunk(lz4.frame.compress(ZEROS), MB, b'lz4'), 'another size'),
    'opcode 0': (lambda: chunk(zstandard.compress(bytes(MB)), MB, b'zstd'), 'no record'),
    'many records': (lambda: chunk(NOTHING * 260_000, 9 * 260_000, b''), 'more than 250000'),
    'unknown packing': (lambda: chunk(b'', 0, b'bzip2'), 'bzip2'),
    'a length': (lambda: struct.pack('<BQ', 6, 2**32 - 1), 'ends early'),
    'a text': (lambda: record(3, struct.pack('<HI', 1, 2**32 - 1)), 'ends early'),
    'no channel': (lambda: record(5, bytes(22)), 'channel 0'),
}  # fmt: skip


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_file_is_refused_before_it_takes_memory(tmp_path: Path, name: str) -> None:
    content, reason = HOSTILE[name]
    end = record(15, bytes(4)) + record(2, bytes(20))
    head = mcap_file.MAGIC + record(1, text(b'ros2') + text(b''))
    path = tmp_path / 'a.mcap'
    path.write_bytes(head + content() + end + mcap_file.MAGIC)
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=rf'a\.mcap.*{reason}.*move it away'):
            list(BagReader(path).episodes())
        assert tracemalloc.get_traced_memory()[1] < 100 * MB
    finally:
        tracemalloc.stop()
