# SPDX-License-Identifier: Apache-2.0
"""Our pass over an MCAP file against the format's own reader, and against damage."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from deft_bag import mcap_scan
from deft_bag.mcap_scan import MAGIC, McapScan
from deft_core.errors import RecordingError

TOPICS = ('/episode', '/joints', '/status')


class ChunkedWriter(Writer):
    """Ends a chunk when the test wants it."""

    def end_chunk(self) -> None:
        self._Writer__finalize_chunk()


def write(stream, messages, *, compression=CompressionType.ZSTD, chunk_size=200, **options):
    """Write (topic, data) pairs; a channel is declared just before its first message."""
    writer = Writer(stream, chunk_size=chunk_size, compression=compression, **options)
    writer.start(profile='ros2', library='test')
    channels = {}
    for time, (topic, data) in enumerate(messages):
        if topic not in channels:
            schema = writer.register_schema(f'test_msgs/msg/T{len(channels)}', 'ros2msg', b'x')
            channels[topic] = writer.register_channel(topic, 'cdr', schema)
        writer.add_message(channels[topic], log_time=time, data=data, publish_time=time)
    writer.finish()


def scanned(path: Path, topics=None) -> list[tuple[str, str, int, bytes]]:
    scan = McapScan(path, topics)
    found = [(m.channel.topic, m.schema.name, m.log_time, bytes(m.data)) for m in scan.messages()]
    assert scan.truncated is False
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    messages=st.lists(st.tuples(st.sampled_from(TOPICS), st.binary(max_size=150)), max_size=25),
    compression=st.sampled_from(list(CompressionType)),
    chunked=st.booleans(),
    indexed=st.booleans(),
    wanted=st.sets(st.sampled_from(TOPICS)),
)
def test_it_finds_what_the_library_finds(
    tmp_path: Path, messages, compression, chunked, indexed, wanted
) -> None:
    path = tmp_path / 'a.mcap'
    with path.open('wb') as stream:
        write(
            stream,
            messages,
            compression=compression,
            use_chunking=chunked,
            index_types=IndexType.ALL if indexed else IndexType.NONE,
        )
    assert [(topic, data) for topic, _, _, data in scanned(path)] == messages
    expected = [message for message in messages if message[0] in wanted]
    assert [(topic, data) for topic, _, _, data in scanned(path, wanted)] == expected
    if wanted and indexed and chunked:
        with path.open('rb') as stream:
            theirs = [
                (channel.topic, schema.name, message.log_time, message.data)
                for schema, channel, message in make_reader(stream).iter_messages(list(wanted))
            ]
        assert scanned(path, wanted) == theirs


def test_chunks_without_a_wanted_message_stay_closed(tmp_path: Path, monkeypatch) -> None:
    messages = [
        (TOPICS[0], b'e'),
        *((TOPICS[1], bytes(100)) for _ in range(40)),
        (TOPICS[0], b'f'),
    ]
    path = tmp_path / 'a.mcap'
    with path.open('wb') as stream:
        write(stream, messages)
    opened = []
    decompress = zstandard.decompress
    monkeypatch.setattr(
        mcap_scan.zstandard,
        'decompress',
        lambda data, **rest: opened.append(1) or decompress(data, **rest),
    )
    assert [data for *_, data in scanned(path, {TOPICS[0]})] == [b'e', b'f']
    assert len(opened) <= 3  # of about twenty: the first two declare the channels
    opened.clear()
    assert len(scanned(path)) == 42
    assert len(opened) > 10


def test_a_channel_declared_in_a_chunk_that_was_passed_over(tmp_path: Path) -> None:
    path = tmp_path / 'a.mcap'
    with path.open('wb') as stream:
        writer = ChunkedWriter(stream)
        writer.start()
        schema = writer.register_schema('test_msgs/msg/T', 'ros2msg', b'x')
        first = writer.register_channel('/a', 'cdr', schema)
        writer.add_message(first, 0, b'0', 0)
        writer.end_chunk()
        second = writer.register_channel('/b', 'cdr', schema)
        writer.add_message(first, 1, b'1', 1)
        writer.end_chunk()
        writer.add_message(second, 2, b'2', 2)
        writer.finish()
    assert [data for *_, data in scanned(path, {'/b'})] == [b'2']


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A finished file with three chunks."""
    path = tmp_path / 'closed.mcap'
    with path.open('wb') as stream:
        write(stream, [(TOPICS[0], bytes([i]) * 150) for i in range(3)], chunk_size=100)
    return path


def test_zeros_after_a_power_cut_are_a_missing_end(closed: Path) -> None:
    data = closed.read_bytes()
    closed.write_bytes(data[: len(data) // 2] + bytes(5000))
    scan = McapScan(closed, None)
    with_zeros = [m.log_time for m in scan.messages()]
    assert scan.truncated
    closed.write_bytes(data[: len(data) // 2])
    assert with_zeros == [m.log_time for m in McapScan(closed, None).messages()]


def test_nothing_of_a_closed_file_may_be_missing(closed: Path) -> None:
    """A length that reaches beyond the end looks like a kill, but the end is there."""
    data = bytearray(closed.read_bytes())
    data[len(MAGIC) + 1 + 3] = 0x01  # the header record now claims 16 MB
    closed.write_bytes(bytes(data))
    with pytest.raises(RecordingError, match='is cut off'):
        list(McapScan(closed, None).messages())


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        (struct.pack('<BQ', 6, 2**40), 'claims'),
        (struct.pack('<BQ', 5, 22) + struct.pack('<HIQQ', 9, 0, 0, 0), 'undeclared channel 9'),
        (struct.pack('<BQ', 5, 3) + b'abc', 'damaged'),
        (struct.pack('<BQ', 4, 2) + b'ab', 'damaged'),
        (struct.pack('<BQ', 0, 0) + b'x', 'claims'),
    ],
)
def test_records_that_cannot_be_are_refused(tmp_path: Path, record: bytes, message: str) -> None:
    path = tmp_path / 'bad.mcap'
    path.write_bytes(MAGIC + record)
    with pytest.raises(RecordingError, match=message):
        list(McapScan(path, None).messages())


@pytest.mark.parametrize('size', [2**33, 8, 100])
def test_a_chunk_that_lies_about_its_size_takes_no_memory(tmp_path: Path, size: int) -> None:
    block = zstandard.compress(bytes(64))
    content = struct.pack('<QQQI', 0, 0, size, 0)
    content += struct.pack('<I', 4) + b'zstd' + struct.pack('<Q', len(block)) + block
    following = struct.pack('<BQ', 15, 4) + bytes(4)
    stream = io.BytesIO(MAGIC + struct.pack('<BQ', 6, len(content)) + content + following)
    path = tmp_path / 'bomb.mcap'
    path.write_bytes(stream.getvalue())
    with pytest.raises(RecordingError, match='damaged'):
        list(McapScan(path, None).messages())
