# SPDX-License-Identifier: Apache-2.0
"""One MCAP file, read within bounds: all of it that it declares, or a refusal.

The readers of the package `mcap` take memory and time as a file asks for them and do not notice
records that are missing; its record classes, which parse what they are given, serve here.
Format: https://mcap.dev/spec
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import lz4.frame
import zstandard
from fastcrc import crc32  # eleven times as fast as zlib's
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema, Statistics
from mcap.summary import Summary

from deft_core.errors import RecordingError

MAGIC: Final = b'\x89MCAP0\r\n'  # first and last bytes of a closed file
# [byte] of a record, and of what a chunk unpacks to: two pictures of 4000 x 2600 pixels in one
# message. Recorders close a chunk after 1 to 4 MB.
LARGEST_RECORD: Final = 64 * 2**20
_MOST_RECORDS: Final = 250_000  # of a chunk; 4 MB of empty messages are half as many
_HEAD: Final = struct.Struct('<BQ')  # opcode and length of a record
_FOOTER: Final = struct.Struct('<QQI')  # start of summary and of its offsets, checksum
_CHUNK: Final = struct.Struct('<QQQII')  # times, unpacked size, checksum, length of the next
_MESSAGE: Final = struct.Struct('<HIQQ')  # channel, sequence, time of recording, of publishing


class Recorded(NamedTuple):
    """One message with what declares it; the data are valid until the next one is asked for."""

    schema: Schema | None
    channel: Channel
    log_time: int  # when it was received, ROS clock [ns]
    data: memoryview


class McapFile:
    """A file, open for reading."""

    def __init__(self, path: Path) -> None:
        """Open it and read the index at its end, where it has one.

        Raises:
            RecordingError: It cannot be read, or its end is damaged.
        """
        self._path = path
        self.summary: Summary | None = None
        with _damage_of(path):
            self._stream: IO[bytes] = path.open('rb')
        try:
            with _damage_of(path):
                self._size = self._stream.seek(0, io.SEEK_END)
                self._stream.seek(max(0, self._size - len(MAGIC)))
                # A recorder writes the magic bytes once more when it closes a file.
                self.closed = self._stream.read() == MAGIC and self._size > len(MAGIC)
                if self.closed:
                    self.summary = self._read_summary()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> McapFile:
        """Read it within a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._stream.close()

    @property
    def message_count(self) -> int | None:
        """Messages by the statistics at its end; None where there are none."""
        statistics = self.summary.statistics if self.summary else None
        return None if statistics is None else statistics.message_count

    def declared(self) -> Iterator[tuple[Schema | None, Channel]]:
        """Channels that hold messages.

        Raises:
            RecordingError: The file is damaged.
        """
        statistics = self.summary.statistics if self.summary else None
        if self.summary is None or statistics is None or not self.summary.channels:
            seen = {c.id: (schema, c) for schema, c, _, _ in self.messages()}
            yield from seen.values()
            return
        for number, channel in self.summary.channels.items():
            counts = statistics.channel_message_counts
            if not counts or counts.get(number):
                yield self.summary.schemas.get(channel.schema_id), channel

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Recorded]:
        """Messages in the order of recording; of a file without its end, those that are whole.

        Raises:
            RecordingError: The file is damaged, other than by a missing end, or does not hold
                what its statistics count.
        """
        # Of both, what a chunk that is passed over declares stands in the index, too.
        schemas = dict(self.summary.schemas) if self.summary else {}
        channels = dict(self.summary.channels) if self.summary else {}
        counts: Counter[int] = Counter()
        with _damage_of(self._path):
            for opcode, content in self._data(topics):
                if opcode == Opcode.MESSAGE:
                    number, _, log_time, _ = _MESSAGE.unpack_from(content)
                    if number not in channels:
                        raise ValueError(f'a message of channel {number}, which it lacks')
                    channel = channels[number]
                    counts[number] += 1
                    if topics is None or channel.topic in topics:
                        schema = schemas.get(channel.schema_id)
                        yield Recorded(schema, channel, log_time, content[_MESSAGE.size :])
                elif opcode == Opcode.CHANNEL:
                    channel = _parsed(Channel.read, content)
                    if channels.setdefault(channel.id, channel) != channel:
                        raise ValueError(f'channel {channel.id} is declared in two ways')
                elif opcode == Opcode.SCHEMA:
                    schema = _parsed(Schema.read, content)
                    schemas[schema.id] = schema
        if self.summary is not None and self.summary.statistics is not None:
            self._compare(self.summary.statistics, channels, counts, topics)

    def _compare(
        self,
        statistics: Statistics,
        channels: dict[int, Channel],
        counts: Counter[int],
        topics: Collection[str] | None,
    ) -> None:
        """Refuse where other messages were read than counted."""
        declared = statistics.channel_message_counts
        compared = [('', counts.total(), statistics.message_count)] if topics is None else []
        for number in {*declared, *counts} if declared else ():  # empty: they were not counted
            topic = channels[number].topic if number in channels else f'channel {number}'
            if topics is None or topic in topics:
                compared.append((f' of {topic}', counts[number], declared.get(number, 0)))
        for name, read, counted in reversed(compared):
            if read != counted:
                raise RecordingError(
                    f'{self._path} is damaged: {read} messages{name} were read, its index counts '
                    f'{counted}; put the original back or move the file away'
                )

    def _data(self, topics: Collection[str] | None) -> Iterator[tuple[int, memoryview]]:
        """Schemas, channels and messages of the data section, out of their chunks."""
        self._stream.seek(0)
        if self._stream.read(len(MAGIC)) != MAGIC:
            raise ValueError('it does not begin as an MCAP file')
        passed_over = self._chunks_without(topics)
        try:
            for at, opcode, length in _records(self._stream, self._size):
                if opcode == Opcode.CHUNK and at not in passed_over:
                    yield from _inside(_unpacked(self._content(length)))
                elif opcode in {Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE}:
                    yield opcode, self._content(length)
                elif opcode == Opcode.DATA_END:
                    return
        except EndOfFile:
            if self.closed:
                raise
        else:
            if self.closed:
                raise ValueError('its data have no end')

    def _chunks_without(self, topics: Collection[str] | None) -> set[int]:
        """Where the chunks begin that hold none of the topics, by the index."""
        summary = self.summary
        if topics is None or summary is None or summary.statistics is None:
            return set()
        others = {n for n, channel in summary.channels.items() if channel.topic not in topics}
        return {
            chunk.chunk_start_offset
            for chunk in summary.chunk_indexes
            if chunk.message_index_offsets and others.issuperset(chunk.message_index_offsets)
        }

    def _content(self, length: int) -> memoryview:
        """The content of the record at which the stream stands."""
        if length > LARGEST_RECORD:
            raise ValueError(
                f'a record of {length / 1e6:.0f} MB, expected at most {LARGEST_RECORD / 1e6:.0f}'
            )
        return memoryview(self._stream.read(length))

    def _read_summary(self) -> Summary | None:
        """Index and statistics; None where the recorder wrote none."""
        footer = self._size - len(MAGIC) - _FOOTER.size - _HEAD.size
        if footer < len(MAGIC):
            raise ValueError('it is too short')
        self._stream.seek(footer)
        if _HEAD.unpack(self._stream.read(_HEAD.size)) != (Opcode.FOOTER, _FOOTER.size):
            raise ValueError('it does not end as an MCAP file')
        start, _, checksum = _FOOTER.unpack(self._stream.read(_FOOTER.size))
        if start > footer:
            raise ValueError('its index begins behind its end')
        if checksum:  # 0: the recorder made none
            end = footer + _HEAD.size + _FOOTER.size - 4  # of all before the checksum
            self._stream.seek(start or footer)
            if crc32.iso_hdlc(self._content(end - (start or footer))) != checksum:
                raise ValueError('its index has another checksum')
        if not start:
            return None
        summary = Summary()
        self._stream.seek(start)
        for _, opcode, length in _records(self._stream, footer):
            if opcode == Opcode.STATISTICS:
                summary.statistics = _parsed(Statistics.read, self._content(length))
            elif opcode == Opcode.SCHEMA:
                schema = _parsed(Schema.read, self._content(length))
                summary.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = _parsed(Channel.read, self._content(length))
                summary.channels[channel.id] = channel
            elif opcode == Opcode.CHUNK_INDEX:
                summary.chunk_indexes.append(_parsed(ChunkIndex.read, self._content(length)))
        return summary


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Name the file, what is wrong with it and the remedy."""
    try:
        yield
    except (EndOfFile, struct.error, ValueError, OSError) as error:
        reason = str(error) or 'a record ends early'
        raise RecordingError(
            f'{path} is damaged ({reason}); put the original back, or move it away to go on with '
            'the other files of the bag'
        ) from error


def _records(stream: IO[bytes], end: int) -> Iterator[tuple[int, int, int]]:
    """Place, opcode and length of each record from here on; the stream stands at its content."""
    at = stream.tell()
    while at < end:
        stream.seek(at)
        if end - at < _HEAD.size:
            raise EndOfFile
        opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
        following = at + _HEAD.size + length
        if following > end:
            raise EndOfFile
        yield at, opcode, length
        at = following


def _inside(chunk: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Records of an unpacked chunk."""
    at, end = 0, len(chunk)
    for _ in range(_MOST_RECORDS):
        if at == end:
            return
        opcode, length = _HEAD.unpack_from(chunk, at)
        at += _HEAD.size
        if opcode == 0 or length > end - at:
            raise ValueError('a chunk holds what is no record')
        yield opcode, chunk[at : at + length]
        at += length
    raise ValueError(f'a chunk holds more than {_MOST_RECORDS} records')


def _unpacked(chunk: memoryview) -> memoryview:
    """Records of a chunk, whose checksum is right; never more than the chunk declares."""
    _, _, size, checksum, length = _CHUNK.unpack_from(chunk)
    compression = bytes(chunk[_CHUNK.size : _CHUNK.size + length])
    begin = _CHUNK.size + len(compression) + 8
    (packed_size,) = struct.unpack_from('<Q', chunk, begin - 8)
    packed = chunk[begin : begin + packed_size]
    if size > LARGEST_RECORD:
        raise ValueError(
            f'a chunk unpacks to {size / 1e6:.0f} MB, expected at most {LARGEST_RECORD / 1e6:.0f}'
        )
    data: Any = packed
    try:
        if compression == b'zstd':
            # The size in the frame is what the library would take memory for.
            if zstandard.frame_content_size(packed) not in {-1, size}:
                raise ValueError('a chunk declares two sizes')
            data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        elif compression == b'lz4':
            data = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
        elif compression:
            raise ValueError(f'a chunk is packed with {compression[:20]!r}, not zstd or lz4')
    except (zstandard.ZstdError, RuntimeError) as error:
        raise ValueError(f'a chunk cannot be unpacked: {error}') from error
    if len(data) != size:
        raise ValueError(f'a chunk unpacks to another size than the {size} bytes it declares')
    if checksum and crc32.iso_hdlc(data) != checksum:
        raise ValueError('a chunk has another checksum')
    return memoryview(data)


def _parsed(read: Callable[[ReadDataStream], Any], content: memoryview) -> Any:
    """A small record."""
    return read(ReadDataStream(io.BytesIO(content)))
