# SPDX-License-Identifier: Apache-2.0
"""The messages of an MCAP file from front to back, opening no more chunks than needed.

After each chunk the format lists which channels have messages in it. A chunk that holds nothing
of the wanted topics is neither decompressed nor taken apart: a session records some thousand
joint states beside every episode. The record contents are read by the `mcap` library.
Format: https://mcap.dev/spec
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema

from deft_core.errors import RecordingError

MAGIC: Final = b'\x89MCAP0\r\n'
# A VGA episode record is 2 MB, a chunk holds little more than its largest message.
MAXIMUM_RECORD_BYTES: Final = 256 * 1024 * 1024
_RECORD: Final = struct.Struct('<BQ')  # opcode, length of the content
_MESSAGE: Final = struct.Struct('<HIQQ')  # channel, sequence, log time, publish time
_CHANNEL_ID: Final = struct.Struct('<H')
# What the parsers of the library raise on contents that are not what they should be.
_PARSE_ERRORS: Final = (McapError, struct.error, ValueError, zstandard.ZstdError, RuntimeError)


class ScannedMessage(NamedTuple):
    """One message as it stands in the file.

    Attributes:
        channel: Topic and encoding.
        schema: Definition of its type.
        log_time: When it was received, ROS clock. [ns]
        data: CDR bytes, a view of the opened chunk.
    """

    channel: Channel
    schema: Schema
    log_time: int
    data: memoryview


class _UndeclaredChannelError(Exception):
    """A message came before its channel, as far as the opened chunks tell."""


class _Content(NamedTuple):
    """A record without what it says."""

    opcode: int
    content: bytes


class McapScan:
    """One pass over a file.

    Attributes:
        truncated: Whether the file ends early, as after a kill; None until the pass has ended.
    """

    def __init__(self, file: Path, topics: Collection[str] | None) -> None:
        """Prepare a pass; nothing is read yet.

        Args:
            file: An .mcap file.
            topics: Only these; None for all.
        """
        self._file = file
        self._topics = topics
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._closed = False
        self.truncated: bool | None = None

    def declared(self) -> Iterator[tuple[Channel, Schema]]:
        """Channels that the pass has met so far, with the definitions of their types."""
        for channel in self._channels.values():
            if channel.schema_id in self._schemas:
                yield channel, self._schemas[channel.schema_id]

    def messages(self) -> Iterator[ScannedMessage]:
        """All whole messages of the topics in the order of recording.

        Raises:
            RecordingError: Damage other than a missing end, or sizes beyond reason.
        """
        given = 0
        try:
            for message in self._pass(skipping=self._topics is not None):
                given += 1
                yield message
        except _UndeclaredChannelError:
            # The channel may be declared in a chunk that was passed over: leave out none.
            try:
                yield from itertools.islice(self._pass(skipping=False), given, None)
            except _UndeclaredChannelError as error:
                raise self._damage(str(error)) from error

    def _pass(self, *, skipping: bool) -> Iterator[ScannedMessage]:
        try:
            with self._file.open('rb') as stream:
                self._closed = self._ends_with_magic(stream)
                yield from self._messages(stream, skipping=skipping)
        except OSError as error:
            raise RecordingError(f'cannot read {self._file}: {error}') from error

    def _messages(self, stream: BinaryIO, *, skipping: bool) -> Iterator[ScannedMessage]:
        chunk: bytes | None = None
        listed: set[int] = set()
        for opcode, content in self._records(stream):
            if opcode == Opcode.MESSAGE_INDEX and chunk is not None:
                listed.add(self._channel_id(content))
                continue
            if chunk is not None:
                # Something follows, so the list of its channels is complete.
                if not (skipping and listed and self._holds_nothing(listed)):
                    yield from self._open(chunk, last=False)
                chunk = None
            if opcode == Opcode.CHUNK:
                chunk, listed = content, set()
            else:
                message = self._take(opcode, content)
                if message is not None:
                    yield message
        if chunk is not None:
            yield from self._open(chunk, last=True)

    def _holds_nothing(self, listed: set[int]) -> bool:
        """Whether all channels are known and none is wanted."""
        assert self._topics is not None, 'everything is wanted'
        return all(
            number in self._channels and self._channels[number].topic not in self._topics
            for number in listed
        )

    def _records(self, stream: BinaryIO) -> Iterator[_Content]:
        """Whole records up to the footer; sets `truncated` at the end."""
        self.truncated = None
        if stream.read(len(MAGIC)) != MAGIC:
            raise self._damage('it does not begin as an MCAP file')
        while True:
            head = stream.read(_RECORD.size)
            if len(head) < _RECORD.size:
                self._end_early('the footer is missing')
                return
            opcode, length = _RECORD.unpack(head)
            if opcode == 0 or length > MAXIMUM_RECORD_BYTES:
                # A power cut may leave zeros where data was promised.
                rest = stream.read(1024 * 1024)
                if (head + rest).strip(b'\0') or stream.read(1):
                    raise self._damage(f'record {opcode:#04x} claims {length} bytes')
                self._end_early('it ends in zeros')
                return
            content = stream.read(length)
            if len(content) < length:
                self._end_early(f'record {opcode:#04x} is cut off')
                return
            if opcode == Opcode.FOOTER:
                self.truncated = stream.read(len(MAGIC)) != MAGIC
                return
            yield _Content(opcode, content)

    def _take(self, opcode: int, content: bytes) -> ScannedMessage | None:
        """Note a declaration, or return a message of a wanted topic."""
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(ReadDataStream(io.BytesIO(content)))
                self._schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(ReadDataStream(io.BytesIO(content)))
                self._channels[channel.id] = channel
            elif opcode == Opcode.MESSAGE:
                return self._message(memoryview(content), 0, len(content))
        except _PARSE_ERRORS as error:
            raise self._damage(str(error)) from error
        return None

    def _message(self, block: memoryview, start: int, end: int) -> ScannedMessage | None:
        number, _, log_time, _ = _MESSAGE.unpack_from(block, start)
        channel = self._channels.get(number)
        if channel is None or channel.schema_id not in self._schemas:
            raise _UndeclaredChannelError(f'message of undeclared channel {number}')
        if self._topics is not None and channel.topic not in self._topics:
            return None
        if start + _MESSAGE.size > end:
            raise ValueError(f'a message of {end - start} bytes')
        data = block[start + _MESSAGE.size : end]
        return ScannedMessage(channel, self._schemas[channel.schema_id], log_time, data)

    def _open(self, content: bytes, *, last: bool) -> Iterator[ScannedMessage]:
        """Messages of a chunk; the last one of a file without an end may be damaged."""
        try:
            block = memoryview(self._decompress(content))
        except _PARSE_ERRORS as error:
            if not last or self._closed:
                raise self._damage(str(error)) from error
            self.truncated = True
            return
        position = 0
        while position < len(block):
            try:
                opcode, length = _RECORD.unpack_from(block, position)
            except struct.error as error:
                raise self._damage(f'a chunk ends within a record: {error}') from error
            start = position + _RECORD.size
            position = start + length
            if position > len(block):
                raise self._damage('a record is longer than its chunk')
            if opcode == Opcode.MESSAGE:
                # The frequent case, without a copy of the record.
                try:
                    message = self._message(block, start, position)
                except (ValueError, struct.error) as error:
                    raise self._damage(str(error)) from error
            else:
                message = self._take(opcode, bytes(block[start:position]))
            if message is not None:
                yield message

    def _decompress(self, content: bytes) -> bytes:
        """Contents of a chunk, its checksum verified."""
        chunk = Chunk.read(ReadDataStream(io.BytesIO(content)))
        size = chunk.uncompressed_size
        if size > MAXIMUM_RECORD_BYTES:
            raise ValueError(f'a chunk claims {size} bytes')
        if chunk.compression == 'zstd':
            # A frame may claim a size of its own, for which memory would be taken.
            claimed = zstandard.frame_content_size(chunk.data)
            if claimed > size:
                raise ValueError(f'a chunk of {size} bytes claims {claimed}')
            block = zstandard.decompress(chunk.data, max_output_size=size)
        elif chunk.compression == 'lz4':
            block = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size)
        elif chunk.compression == '':
            block = chunk.data
        else:
            raise ValueError(f'unknown compression {chunk.compression!r}')
        if len(block) != size:
            raise ValueError(f'a chunk holds {len(block)} bytes instead of {size}')
        if chunk.uncompressed_crc not in (0, zlib.crc32(block)):
            raise ValueError('the checksum of a chunk is wrong')
        return block

    def _channel_id(self, content: bytes) -> int:
        try:
            return int(_CHANNEL_ID.unpack_from(content)[0])
        except struct.error as error:
            raise self._damage(f'an index of {len(content)} bytes') from error

    def _ends_with_magic(self, stream: BinaryIO) -> bool:
        """Whether the file was closed, so that nothing of it may be missing."""
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - len(MAGIC)))
        closed = size > 2 * len(MAGIC) and stream.read() == MAGIC
        stream.seek(0)
        return closed

    def _end_early(self, reason: str) -> None:
        """Note that the end is missing.

        Raises:
            RecordingError: The end is there, so something else is wrong.
        """
        if self._closed:
            raise self._damage(reason)
        self.truncated = True

    def _damage(self, reason: str) -> RecordingError:
        return RecordingError(f'{self._file} is damaged: {reason}')
