# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 folder with one MCAP file that survives a kill.

Messages come as the CDR bytes the middleware delivered and are stored as they are. They are
packed in small compressed chunks with a checksum; `flush` ends the chunk and waits for the
disk, so what was recorded before it can be read whatever happens after. `ros2 bag play`,
`ros2 bag info` and Foxglove read the result.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import yaml
from mcap.writer import CompressionType, Writer
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_core.errors import ConfigurationError, RecordingError

BAG_FILE: Final = 'bag_0.mcap'
METADATA_FILE: Final = 'metadata.yaml'
# Small: a killed recorder loses at most one chunk that no flush has ended.
CHUNK_BYTES: Final = 256 * 1024
_ROSBAG2_METADATA_VERSION: Final = 9  # what rosbag2 of Jazzy writes


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
    type_hash: str
    latched: bool
    channel: int
    count: int = 0


class BagWriter:
    """Appends messages to `folder`/bag_0.mcap and keeps `folder`/metadata.yaml up to date."""

    def __init__(self, folder: Path, typestore: Typestore) -> None:
        """Create the folder and an empty bag in it.

        Args:
            folder: Folder of the bag; must not exist.
            typestore: Definitions of the message types that will be recorded.

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
        try:
            folder.mkdir(parents=True)
            self._stream: BinaryIO = (folder / BAG_FILE).open('xb')
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
        """Number of messages written."""
        return self._message_count

    @property
    def size(self) -> int:
        """Bytes of the bag file that are flushed."""
        return self._stream.tell() if not self._closed else self._path.stat().st_size

    @property
    def _path(self) -> Path:
        return self._folder / BAG_FILE

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
            self._schemas[message_type] = self._writer.register_schema(
                message_type, 'ros2msg', text.encode()
            )
        type_hash = self._typestore.hash_rihs01(message_type)
        # As rosbag2 writes it; readers match channels with metadata.yaml by these.
        offered = yaml.safe_dump([_quality_of_service(latched)], sort_keys=False)
        channel = self._writer.register_channel(
            topic=name,
            message_encoding='cdr',
            schema_id=self._schemas[message_type],
            metadata={'offered_qos_profiles': offered, 'topic_type_hash': type_hash},
        )
        self._topics[name] = _Topic(name, message_type, type_hash, latched, channel)

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
        start = {'nanoseconds_since_epoch': self._first_stamp}
        duration = {'nanoseconds': max(0, self._last_stamp - self._first_stamp)}
        information: dict[str, Any] = {
            'version': _ROSBAG2_METADATA_VERSION,
            'storage_identifier': 'mcap',
            'duration': duration,
            'starting_time': start,
            'message_count': self._message_count,
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': topic.name,
                        'type': topic.type,
                        'serialization_format': 'cdr',
                        'offered_qos_profiles': [_quality_of_service(topic.latched)],
                        'type_description_hash': topic.type_hash,
                    },
                    'message_count': topic.count,
                }
                for topic in self._topics.values()
            ],
            'compression_format': '',
            'compression_mode': '',
            'relative_file_paths': [BAG_FILE],
            'files': [
                {
                    'path': BAG_FILE,
                    'starting_time': dict(start),
                    'duration': dict(duration),
                    'message_count': self._message_count,
                }
            ],
            'custom_data': {},
            'ros_distro': 'jazzy',
        }
        text = yaml.safe_dump({'rosbag2_bagfile_information': information}, sort_keys=False)
        temporary = self._folder / f'{METADATA_FILE}.part'
        with temporary.open('w', encoding='utf-8') as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._folder / METADATA_FILE)


def _quality_of_service(latched: bool) -> dict[str, Any]:
    """What a player should offer the topic with, in the words of rosbag2."""
    forever = {'sec': 9223372036, 'nsec': 854775807}
    return {
        'history': 'keep_last',
        'depth': 100 if latched else 10,
        'reliability': 'reliable',
        'durability': 'transient_local' if latched else 'volatile',
        'deadline': dict(forever),
        'lifespan': dict(forever),
        'liveliness': 'automatic',
        'liveliness_lease_duration': dict(forever),
        'avoid_ros_namespace_conventions': False,
    }
