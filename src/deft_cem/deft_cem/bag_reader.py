# SPDX-License-Identifier: Apache-2.0
"""Reads a bag without ROS, also one whose recorder was killed.

The file is read from front to back, never through its index: a cut file has none, and one way
of reading is one way to test. Definitions come from the bag itself. Nothing in it is executed,
sizes are bounded before memory is taken, and every chunk's checksum is verified.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from deft_cem.bag_parts import parts_in
from deft_core.decode_records import episode_from_msg
from deft_core.episode import Episode
from deft_core.errors import InvalidInputError, RecordingError

EPISODE_TOPIC: Final = '/session/episode'
EPISODE_TYPE: Final = 'deft_msgs/msg/EpisodeRecord'
# A VGA episode record is 2 MB, a chunk holds little more than its largest message.
_MAXIMUM_RECORD_BYTES: Final = 256 * 1024 * 1024
_MAXIMUM_SCHEMA_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class RawMessage:
    """One recorded message.

    Attributes:
        topic: Topic name.
        type: Message type, for example 'sensor_msgs/msg/Image'.
        log_time: When it was received, ROS clock. [ns]
        data: CDR bytes.
    """

    topic: str
    type: str
    log_time: int
    data: bytes


class BagReader:
    """A bag folder (or one .mcap file) as a stream of messages or episodes.

    A session that was interrupted left several files (`bag_parts`); they are read as one.
    """

    def __init__(self, path: Path) -> None:
        """Find the file.

        Args:
            path: Folder written by `BagWriter`, or an .mcap file.

        Raises:
            RecordingError: There is no bag.
        """
        self._parts = parts_in(path) if path.is_dir() else [path]
        self._file = self._parts[0] if self._parts else path  # the one that is read now
        if not self._file.is_file():
            raise RecordingError(
                f'no bag at {path}; name a folder that holds bag_0.mcap, or an .mcap file'
            )
        self._truncated: bool | None = None
        self._schemas: dict[str, Schema] = {}

    @property
    def truncated(self) -> bool:
        """Whether a file ends early, as after a kill; known once all were read to their end.

        Raises:
            RecordingError: Nothing has been read to the end yet.
        """
        if self._truncated is None:
            raise RecordingError(f'{self._file} has not been read to its end yet')
        return self._truncated

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """All whole messages in the order of recording.

        Args:
            topics: Only these; None for all.

        Raises:
            RecordingError: Damage other than a missing end, or sizes beyond reason.
        """
        self._truncated = None
        cut = False
        for part in self._parts:
            self._file = part
            yield from self._messages_of_part(topics)
            cut = cut or bool(self._truncated)
        self._truncated = cut

    def _messages_of_part(self, topics: Collection[str] | None) -> Iterator[RawMessage]:
        channels: dict[int, Channel] = {}
        schemas: dict[int, Schema] = {}
        try:
            with self._file.open('rb') as stream:
                for record in self._records(stream):
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                        self._define(record)
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message):
                        channel = channels.get(record.channel_id)
                        if channel is None or channel.schema_id not in schemas:
                            raise RecordingError(
                                f'{self._file} is damaged: message of undeclared '
                                f'channel {record.channel_id}'
                            )
                        if topics is None or channel.topic in topics:
                            schema = schemas[channel.schema_id]
                            yield RawMessage(
                                channel.topic, schema.name, record.log_time, record.data
                            )
        except OSError as error:
            raise RecordingError(f'cannot read {self._file}: {error}') from error

    def _define(self, schema: Schema) -> None:
        """Keep a definition; all files of a bag must mean the same by a name.

        Raises:
            RecordingError: Another file of the bag defines the type in another way.
        """
        known = self._schemas.setdefault(schema.name, schema)
        if known.data != schema.data:
            raise RecordingError(
                f'{self._file} defines {schema.name} in another way than the files before it; '
                'one bag holds messages of one version'
            )

    def _records(self, stream: Any) -> Iterator[Any]:
        """Records of the file, chunks opened; a missing end sets `truncated`, not an error."""
        reader = StreamReader(stream, emit_chunks=True, record_size_limit=_MAXIMUM_RECORD_BYTES)
        records = reader.records
        while True:
            try:
                record = next(records)
            except StopIteration:
                self._truncated = False
                return
            except (McapError, struct.error, ValueError) as error:
                # EndOfFile is a McapError; the other two come from a record read short.
                self._refuse_unless_at_end(stream, error)
                return
            if not isinstance(record, Chunk):
                yield record
                continue
            if record.uncompressed_size > _MAXIMUM_RECORD_BYTES:
                raise RecordingError(
                    f'{self._file} is damaged: a chunk claims {record.uncompressed_size} bytes'
                )
            try:
                yield from breakup_chunk(record, validate_crc=True)
            except (
                CRCValidationError,
                McapError,
                zstandard.ZstdError,
                struct.error,
                ValueError,
            ) as error:
                self._refuse_unless_at_end(stream, error)
                return

    def _refuse_unless_at_end(self, stream: Any, error: Exception) -> None:
        """Note a missing end: all before the record that a kill cut is whole.

        A cut record comes back short and fails in one of several ways; what tells it from
        damage is that nothing follows.

        Raises:
            RecordingError: Something follows, so the file is damaged.
        """
        if stream.read(1):
            raise RecordingError(f'{self._file} is damaged: {error}') from error
        self._truncated = True

    def typestore(self) -> Typestore:
        """Definitions of the message types read so far, from the bag's own text.

        Raises:
            RecordingError: A definition cannot be parsed.
        """
        store = get_typestore(Stores.EMPTY)
        types: dict[str, Any] = {}
        for schema in self._schemas.values():
            if schema.encoding != 'ros2msg' or len(schema.data) > _MAXIMUM_SCHEMA_BYTES:
                raise RecordingError(
                    f'{self._file}: schema {schema.name} is {schema.encoding} of '
                    f'{len(schema.data)} bytes, expected ros2msg of at most 1 MB'
                )
            try:
                types.update(get_types_from_msg(schema.data.decode(), schema.name))
            except (TypesysError, UnicodeDecodeError) as error:
                raise RecordingError(
                    f'{self._file}: definition of {schema.name} cannot be parsed: {error}'
                ) from error
        try:
            store.register(types)
        except TypesysError as error:
            raise RecordingError(f'{self._file}: definitions do not agree: {error}') from error
        return store

    def episodes(self) -> Iterator[Episode]:
        """All whole episodes in the order of recording.

        Raises:
            RecordingError: A record cannot be decoded, is inconsistent, or is there twice.
        """
        store: Typestore | None = None
        seen: set[str] = set()
        for message in self.messages({EPISODE_TOPIC}):
            if message.type != EPISODE_TYPE:
                raise RecordingError(
                    f'{self._file}: {EPISODE_TOPIC} holds {message.type}, expected {EPISODE_TYPE}'
                )
            if store is None:
                store = self.typestore()
            try:
                record = store.deserialize_cdr(message.data, message.type)
            except (TypesysError, struct.error, ValueError, IndexError, AssertionError) as error:
                raise RecordingError(
                    f'{self._file}: an episode record cannot be decoded: {error}'
                ) from error
            episode = self._episode(record)
            if episode.episode_id in seen:
                raise RecordingError(
                    f'{self._file}: episode {episode.episode_id} is recorded twice'
                )
            seen.add(episode.episode_id)
            yield episode

    def _episode(self, record: Any) -> Episode:
        """Convert one record; a file is trusted with less than a running node."""
        try:
            episode = episode_from_msg(record)
            if not episode.episode_id:
                raise InvalidInputError('episode_id is empty')
            if episode.reward is not None and not 0.0 <= episode.reward <= 1.0:
                raise InvalidInputError(f'reward is {episode.reward}, expected 0 to 1 or NaN')
        except (InvalidInputError, ValueError, KeyError, AttributeError) as error:
            name = getattr(record, 'episode_id', '?')
            raise RecordingError(
                f'{self._file}: episode record {name!r} is not usable: {error}'
            ) from error
        return episode
