# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 folder of MCAP files that survive a kill.

Messages come as the CDR bytes the middleware delivered and are stored as they are. They are
packed in small compressed chunks with a checksum; `flush` ends the chunk and waits for the
disk, so what was recorded before it can be read whatever happens after. `ros2 bag play`,
`ros2 bag info` and Foxglove read the result.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

import yaml
from mcap.writer import CompressionType, Writer
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_bag.contents import PartContents, TopicCount
from deft_bag.metadata import bag_information, quality_of_service
from deft_bag.parts import next_part, part_file
from deft_core.errors import ConfigurationError, RecordingError

METADATA_FILE: Final = 'metadata.yaml'
# Small: a killed recorder loses at most one chunk that no flush has ended.
CHUNK_BYTES: Final = 256 * 1024


class _FlushableWriter(Writer):
    """MCAP writer whose present chunk can be ended before it is full."""

    def end_chunk(self) -> None:
        """Write the present chunk; mcap 1.6 has this step but gives no public name to it."""
        self._Writer__finalize_chunk()  # type: ignore[attr-defined]


@dataclass
class _Topic:
    """One recorded topic and its counters."""

    name: str
    type: str
    latched: bool
    channel: int
    count: int = 0


class BagWriter:
    """Appends messages to a file in `folder` and keeps `folder`/metadata.yaml up to date."""

    def __init__(
        self, folder: Path, typestore: Typestore, *, earlier: Sequence[PartContents] | None = None
    ) -> None:
        """Create the folder and an empty file in it, or a further file.

        Args:
            folder: Folder of the bag; must not exist unless `earlier` is given.
            typestore: Definitions of the message types that will be recorded.
            earlier: What the files hold that are in the folder already; they stay as they are
                and metadata.yaml goes on to name them.

        Raises:
            RecordingError: The folder exists or cannot be written.
        """
        self._folder = folder
        self._typestore = typestore
        self._topics: dict[str, _Topic] = {}
        self._schemas: dict[str, int] = {}
        self._first_stamp = 0
        self._last_stamp = 0
        self._message_count = 0
        self._earlier = tuple(earlier or ())
        self._type_hashes: dict[str, str] = {}
        for part in self._earlier:
            for topic in part.topics.values():
                self._add_type_hash(topic.type, part.file)
        try:
            folder.mkdir(parents=True, exist_ok=earlier is not None)
            self._path = folder / part_file(next_part(folder))
            self._stream: BinaryIO = self._path.open('xb')
        except FileExistsError as error:
            raise RecordingError(
                f'{folder} exists already; record into a new folder or move the old bag away'
            ) from error
        except OSError as error:
            raise RecordingError(f'cannot record to {folder}: {error}') from error
        self._writer = _FlushableWriter(
            self._stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD
        )
        self._writer.start(profile='ros2', library='deft_cem')
        self._closed = False
        self.flush()

    def __enter__(self) -> BagWriter:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the bag."""
        self.close()

    @property
    def message_count(self) -> int:
        """Number of messages in all files."""
        return self._message_count + sum(part.message_count for part in self._earlier)

    @property
    def size(self) -> int:
        """Bytes of all files that are flushed."""
        before = sum((self._folder / part.file).stat().st_size for part in self._earlier)
        return before + (self._stream.tell() if not self._closed else self._path.stat().st_size)

    def add_topic(self, name: str, message_type: str, *, latched: bool) -> None:
        """Declare a topic before its first message.

        Args:
            name: Topic name.
            message_type: For example 'deft_msgs/msg/EpisodeRecord'.
            latched: Published with transient-local durability; a player offers it so again.

        Raises:
            ConfigurationError: The topic is declared already or its type is unknown.
        """
        if name in self._topics:
            raise ConfigurationError(f'topic {name} is recorded already; name it once')
        if message_type not in self._schemas:
            try:
                text, _ = self._typestore.generate_msgdef(message_type, ros_version=2)
            except (TypesysError, KeyError) as error:
                raise ConfigurationError(
                    f'cannot record {name}: unknown message type {message_type!r}'
                ) from error
            self._add_type_hash(message_type, name)
            self._schemas[message_type] = self._writer.register_schema(
                message_type, 'ros2msg', text.encode()
            )
        # As rosbag2 writes it; readers match channels with metadata.yaml by these.
        offered = yaml.safe_dump([quality_of_service(latched)], sort_keys=False)
        channel = self._writer.register_channel(
            topic=name,
            message_encoding='cdr',
            schema_id=self._schemas[message_type],
            metadata={
                'offered_qos_profiles': offered,
                'topic_type_hash': self._type_hashes[message_type],
            },
        )
        self._topics[name] = _Topic(name, message_type, latched, channel)

    def _add_type_hash(self, message_type: str, where: str) -> None:
        try:
            self._type_hashes[message_type] = self._typestore.hash_rihs01(message_type)
        except (TypesysError, KeyError) as error:
            raise RecordingError(f'{where} holds the unknown type {message_type!r}') from error

    def write(self, topic: str, data: bytes, log_time: int) -> None:
        """Append one message.

        Args:
            topic: A declared topic.
            data: The message as CDR bytes.
            log_time: When it was received, ROS clock. [ns]

        Raises:
            ConfigurationError: The topic was not declared.
            RecordingError: The disk refused the data.
        """
        entry = self._topics.get(topic)
        if entry is None:
            raise ConfigurationError(f'topic {topic} was not declared; call add_topic first')
        try:
            self._writer.add_message(
                channel_id=entry.channel,
                log_time=log_time,
                publish_time=log_time,
                sequence=entry.count,
                data=data,
            )
        except OSError as error:
            raise RecordingError(f'cannot write to {self._path}: {error}') from error
        if self._message_count == 0:
            self._first_stamp = log_time
        self._last_stamp = max(self._last_stamp, log_time)
        entry.count += 1
        self._message_count += 1

    def flush(self) -> None:
        """End the present chunk and wait until it and the metadata are on the disk.

        Raises:
            RecordingError: The disk refused the data.
        """
        try:
            self._writer.end_chunk()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._write_metadata()
        except OSError as error:
            raise RecordingError(f'cannot write to {self._path}: {error}') from error

    def close(self) -> None:
        """Write the index and close the file; a second call does nothing.

        Raises:
            RecordingError: The disk refused the data.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._write_metadata()
        except OSError as error:
            raise RecordingError(f'cannot write to {self._path}: {error}') from error
        finally:
            self._stream.close()

    def _write_metadata(self) -> None:
        """Replace metadata.yaml in one step, so that a reader never sees half of it."""
        own = PartContents(
            self._path.name,
            self._first_stamp,
            self._last_stamp,
            {topic.name: TopicCount(topic.type, topic.count) for topic in self._topics.values()},
            (),
        )
        latched = {topic.name for topic in self._topics.values() if topic.latched}
        information = bag_information((*self._earlier, own), latched, self._type_hashes)
        text = yaml.safe_dump({'rosbag2_bagfile_information': information}, sort_keys=False)
        temporary = self._folder / f'{METADATA_FILE}.part'
        with temporary.open('w', encoding='utf-8') as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._folder / METADATA_FILE)
