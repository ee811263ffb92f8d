# SPDX-License-Identifier: Apache-2.0
"""Writes the bag of a session: a rosbag2 folder with one closed MCAP file per episode.

    bag/episode_0000.mcap   appears whole or not at all, and is never changed again
    bag/episode_0001.mcap
    bag/metadata.yaml       names all of them, as rosbag2 does with a bag that was split

`ros2 bag play`, `ros2 bag info` and Foxglove read the folder at any moment of a session.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from mcap.writer import CompressionType, Writer

from deft_bag.mcap_file import LARGEST_RECORD, McapFile
from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE, METADATA_FILE, bag_files
from deft_core.errors import RecordingError
from deft_core.files import write_atomically

# [byte]; a chunk holds the definition, too.
_LARGEST_EPISODE: Final = LARGEST_RECORD - 2**20
_ROSBAG2_VERSION: Final = 9  # what rosbag2 of Jazzy writes
_FOREVER: Final = {'sec': 9223372036, 'nsec': 854775807}
# What a player should offer the episodes with, in the words of rosbag2: late listeners get them.
_QUALITY_OF_SERVICE: Final[dict[str, Any]] = {
    'history': 'keep_last',
    'depth': 100,
    'reliability': 'reliable',
    'durability': 'transient_local',
    'deadline': dict(_FOREVER),
    'lifespan': dict(_FOREVER),
    'liveliness': 'automatic',
    'liveliness_lease_duration': dict(_FOREVER),
    'avoid_ros_namespace_conventions': False,
}


class _Contents(NamedTuple):
    """What one file holds; times of recording on the ROS clock. [ns]."""

    first: int
    last: int
    messages: int


class EpisodeBag:
    """The bag of one session, over any number of interruptions."""

    def __init__(self, folder: Path, numbers: Collection[int] = ()) -> None:
        """Begin a bag, or go on with the one in the folder.

        A process that was killed between writing an episode and acknowledging its reward left a
        file whose reward nobody was told; it goes, the episode is tried again.

        Raises:
            RecordingError: One of them is missing or damaged, or the folder cannot be written.
        """
        self._folder = folder
        types = message_typestore()
        self._definition = types.generate_msgdef(EPISODE_TYPE, ros_version=2)[0].encode()
        self._type_hash = types.hash_rihs01(EPISODE_TYPE)
        expected = {self._path(number) for number in numbers}
        present = set(bag_files(folder))
        missing = sorted(path.name for path in expected - present)
        if missing:
            raise RecordingError(
                f'{folder} lacks {", ".join(missing)}, which the session holds as rewarded; put '
                'the files back or choose another run folder'
            )
        self._files = {path.name: _contents(path) for path in expected}
        if present != expected:
            write_atomically(folder / METADATA_FILE, self._metadata())
        try:
            for path in present - expected:
                path.unlink()
        except OSError as error:
            raise RecordingError(f'Cannot write to {folder}: {error.strerror}') from error

    def _path(self, number: int) -> Path:
        return self._folder / f'episode_{number:04d}.mcap'

    def write_episode(
        self, number: int, record: bytes, log_time: int, publish_time: int | None = None
    ) -> Path:
        """Have an episode on the disk, closed and readable, before this returns.

        Args:
            number: Of the episode in its session, from 0. A file of that number is replaced: a
                kill between this and the commit of the reward had the episode tried again.
            record: The EpisodeRecord as CDR bytes.
            log_time: When its motion ended, ROS clock. [ns]
            publish_time: When it was scored; as `log_time` when None. [ns]

        Raises:
            RecordingError: The disk refused the data, or no reader would take an episode so large.
        """
        path = self._path(number)
        if len(record) > _LARGEST_EPISODE:
            raise RecordingError(
                f'the episode of {path} takes {len(record) / 1e6:.0f} MB, expected at most '
                f'{_LARGEST_EPISODE / 1e6:.0f} MB; set the camera to smaller images'
            )
        write_atomically(path, self._mcap(record, log_time, publish_time or log_time))
        self._files[path.name] = _Contents(log_time, log_time, 1)
        write_atomically(self._folder / METADATA_FILE, self._metadata())
        return path

    def _mcap(self, record: bytes, log_time: int, publish_time: int) -> bytes:
        """The content of a file with one message."""
        stream = io.BytesIO()
        writer = Writer(stream, compression=CompressionType.ZSTD)
        writer.start(profile='ros2', library='deft_bag')
        schema = writer.register_schema(EPISODE_TYPE, 'ros2msg', self._definition)
        channel = writer.register_channel(
            topic=EPISODE_TOPIC,
            message_encoding='cdr',
            schema_id=schema,
            # Readers match channels with metadata.yaml by these.
            metadata={
                'offered_qos_profiles': yaml.safe_dump([_QUALITY_OF_SERVICE], sort_keys=False),
                'topic_type_hash': self._type_hash,
            },
        )
        writer.add_message(channel, log_time, record, publish_time)
        writer.finish()  # type: ignore[no-untyped-call]
        return stream.getvalue()

    def _metadata(self) -> str:
        files = [(name, self._files[name]) for name in sorted(self._files)]
        count = sum(contents.messages for _, contents in files)
        information = {
            'version': _ROSBAG2_VERSION,
            'storage_identifier': 'mcap',
            **_span(list(self._files.values())),
            'message_count': count,
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': EPISODE_TOPIC,
                        'type': EPISODE_TYPE,
                        'serialization_format': 'cdr',
                        'offered_qos_profiles': [_QUALITY_OF_SERVICE],
                        'type_description_hash': self._type_hash,
                    },
                    'message_count': count,
                }
            ],
            'compression_format': '',
            'compression_mode': '',
            'relative_file_paths': [name for name, _ in files],
            'files': [
                {'path': name, **_span([contents]), 'message_count': contents.messages}
                for name, contents in files
            ],
            'custom_data': {},
            'ros_distro': 'jazzy',
        }
        return yaml.dump(
            {'rosbag2_bagfile_information': information}, Dumper=_PlainDumper, sort_keys=False
        )


class _PlainDumper(yaml.CSafeDumper):
    """YAML without references, which rosbag2 does not expect."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out each time."""
        del data
        return True


def _contents(path: Path) -> _Contents:
    with McapFile(path) as file:
        summary = file.summary
    if summary is None or summary.statistics is None:
        raise RecordingError(
            f'{path} ends early, as no file of this bag should; move it away to go on'
        )
    statistics = summary.statistics
    return _Contents(
        statistics.message_start_time, statistics.message_end_time, statistics.message_count
    )


def _span(files: list[_Contents]) -> dict[str, Any]:
    """From the first message to the last; the clock of a simulation may begin anew."""
    first = min((contents.first for contents in files), default=0)
    last = max((contents.last for contents in files), default=0)
    return {
        'duration': {'nanoseconds': last - first},
        'starting_time': {'nanoseconds_since_epoch': first},
    }
