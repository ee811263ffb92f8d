# SPDX-License-Identifier: Apache-2.0
"""Writes rosbag2 folders of MCAP files.

Messages come as the CDR bytes the middleware delivers and are stored as they are. The episodes of
a session lie in closed files, one each; streams of other topics in one file per launch. `ros2 bag
play`, `ros2 bag info` and Foxglove read both.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import yaml
from mcap.records import Channel
from mcap.writer import CompressionType, Writer
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE, bag_files, summary_of
from deft_core.errors import ConfigurationError, RecordingError
from deft_core.files import write_atomically

METADATA_FILE: Final = 'metadata.yaml'
_VERSION: Final = 9  # of the metadata, what rosbag2 of Jazzy writes
_OFFERED: Final = 'offered_qos_profiles'
_TYPE_HASH: Final = 'topic_type_hash'


class BagWriter:
    """One MCAP file; use it as a context manager or call `close`."""

    def __init__(self, stream: BinaryIO, typestore: Typestore) -> None:
        """Begin the file.

        Args:
            stream: Open for writing; it is left open.
            typestore: Definitions of the message types that will be recorded.
        """
        self._typestore = typestore
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._writer = Writer(stream, compression=CompressionType.ZSTD)
        self._writer.start(profile='ros2', library='deft_bag')

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the file."""
        self.close()

    def add_topic(self, name: str, message_type: str, *, latched: bool) -> None:
        """Declare a topic before its first message.

        Args:
            name: Topic name.
            message_type: For example 'deft_msgs/msg/EpisodeRecord'.
            latched: Published with transient-local durability; a player offers it so again.

        Raises:
            ConfigurationError: The topic is declared already or its type is unknown.
        """
        if name in self._channels:
            raise ConfigurationError(f'topic {name} is recorded already; name it once')
        try:
            text, _ = self._typestore.generate_msgdef(message_type, ros_version=2)
            type_hash = self._typestore.hash_rihs01(message_type)
        except (TypesysError, KeyError) as error:
            raise ConfigurationError(
                f'cannot record {name}: unknown message type {message_type!r}'
            ) from error
        if message_type not in self._schemas:
            self._schemas[message_type] = self._writer.register_schema(
                message_type, 'ros2msg', text.encode()
            )
        # As rosbag2 writes it; readers match channels with metadata.yaml by these.
        offered = yaml.safe_dump([_quality_of_service(latched)], sort_keys=False)
        self._channels[name] = self._writer.register_channel(
            topic=name,
            message_encoding='cdr',
            schema_id=self._schemas[message_type],
            metadata={_OFFERED: offered, _TYPE_HASH: type_hash},
        )

    def write(self, topic: str, data: bytes, log_time: int) -> None:
        """Append one message.

        Args:
            topic: A declared topic.
            data: The message as CDR bytes.
            log_time: When it was received, ROS clock. [ns]

        Raises:
            ConfigurationError: The topic was not declared.
            OSError: The disk refused the data.
        """
        if topic not in self._channels:
            raise ConfigurationError(f'topic {topic} was not declared; call add_topic first')
        self._writer.add_message(
            channel_id=self._channels[topic], log_time=log_time, publish_time=log_time, data=data
        )

    def close(self) -> None:
        """Write the index; raises OSError where the disk refuses it."""
        self._writer.finish()  # type: ignore[no-untyped-call]


class EpisodeBag:
    """The bag of a session: one closed file per episode, named by its number."""

    def __init__(self, folder: Path, typestore: Typestore, numbers: Collection[int]) -> None:
        """Begin the bag, or go on with it.

        A process that was killed between writing an episode and acknowledging its reward left a
        file whose reward nobody was told; it goes, the episode is tried again.

        Args:
            folder: Bag folder of the run.
            typestore: Holds the type of episode records.
            numbers: Episodes that were acknowledged.

        Raises:
            RecordingError: An episode is missing or damaged, or the folder cannot be written.
        """
        self._folder, self._typestore = folder, typestore
        expected = {self._path(number).name for number in numbers}
        present = bag_files(folder) if folder.is_dir() else []
        missing = sorted(expected - {path.name for path in present})
        if missing:
            raise RecordingError(
                f'{folder} lacks {", ".join(missing)}, which the session holds as rewarded; put '
                'the files back or choose another run folder'
            )
        self._files = {
            path.name: _FileInformation(path) for path in present if path.name in expected
        }
        if not present:
            return
        self._write_metadata()
        try:
            for path in present:
                if path.name not in expected:
                    path.unlink()
        except OSError as error:
            raise RecordingError(f'cannot write to {folder}: {error.strerror}') from error

    def write(self, number: int, data: bytes, log_time: int) -> None:
        """Have an episode on the disk, closed and readable, before this returns.

        Args:
            number: Of the episode; a file of that number is replaced.
            data: The EpisodeRecord as CDR bytes.
            log_time: When it ended, ROS clock. [ns]

        Raises:
            RecordingError: The disk refused the data.
        """
        content = io.BytesIO()
        with BagWriter(content, self._typestore) as writer:
            writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
            writer.write(EPISODE_TOPIC, data, log_time)
        path = self._path(number)
        write_atomically(path, content.getvalue())
        self._files[path.name] = _FileInformation(path)
        self._write_metadata()

    def _path(self, number: int) -> Path:
        return self._folder / f'episode_{number:04d}.mcap'

    def _write_metadata(self) -> None:
        _write_metadata(self._folder, dict(sorted(self._files.items())))


def write_metadata(folder: Path) -> None:
    """Describe the closed files of a bag in metadata.yaml, so that rosbag2 reads the folder.

    Raises:
        RecordingError: The folder cannot be written.
    """
    files: dict[str, _FileInformation] = {}
    for path in bag_files(folder):
        try:
            files[path.name] = _FileInformation(path)
        except RecordingError:
            continue  # a kill left it without an index; readers say so by name
    _write_metadata(folder, files)


class _FileInformation:
    """What metadata.yaml says of one file."""

    def __init__(self, path: Path) -> None:
        """Read it from the index of the file; raises RecordingError where there is none."""
        summary = summary_of(path)
        statistics = summary.statistics
        counts = {} if statistics is None else statistics.channel_message_counts
        self.first = 0 if statistics is None else statistics.message_start_time
        self.last = 0 if statistics is None else statistics.message_end_time
        self.count = sum(counts.values())
        self.topics = {
            channel.topic: (_topic_metadata(channel, summary.schemas[channel.schema_id].name), n)
            for channel in summary.channels.values()
            for n in [counts.get(channel.id, 0)]
        }

    @property
    def span(self) -> dict[str, Any]:
        """From the first message to the last."""
        return _span(self.first, self.last)


def _write_metadata(folder: Path, files: Mapping[str, _FileInformation]) -> None:
    counts: dict[str, int] = {}
    topics: dict[str, dict[str, Any]] = {}
    for file in files.values():
        for name, (topic, count) in file.topics.items():
            topics.setdefault(name, topic)
            counts[name] = counts.get(name, 0) + count
    filled = [file for file in files.values() if file.count]
    information = {
        'version': _VERSION,
        'storage_identifier': 'mcap',
        # The clock of a simulation begins anew with each launch.
        **_span(
            min((file.first for file in filled), default=0),
            max((file.last for file in filled), default=0),
        ),
        'message_count': sum(counts.values()),
        'topics_with_message_count': [
            {'topic_metadata': topic, 'message_count': counts[name]}
            for name, topic in topics.items()
        ],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': list(files),
        'files': [
            {'path': name, **file.span, 'message_count': file.count}
            for name, file in files.items()
        ],
        'custom_data': {},
        'ros_distro': 'jazzy',
    }
    text = yaml.safe_dump({'rosbag2_bagfile_information': information}, sort_keys=False)
    write_atomically(folder / METADATA_FILE, text)


def _topic_metadata(channel: Channel, message_type: str) -> dict[str, Any]:
    return {
        'name': channel.topic,
        'type': message_type,
        'serialization_format': 'cdr',
        'offered_qos_profiles': yaml.safe_load(channel.metadata.get(_OFFERED, '')) or [],
        'type_description_hash': channel.metadata.get(_TYPE_HASH, ''),
    }


def _span(first: int, last: int) -> dict[str, Any]:
    return {
        'duration': {'nanoseconds': last - first},
        'starting_time': {'nanoseconds_since_epoch': first},
    }


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
