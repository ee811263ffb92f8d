# SPDX-License-Identifier: Apache-2.0
"""Reads bags of MCAP files without ROS: those of a session, and what rosbag2 recorded elsewhere.

Definitions come from the bag itself. Nothing in it is executed; the checksum of every chunk that
is opened is verified.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import zstandard
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Schema
from mcap.summary import Summary
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from deft_core.decode import episode_from_msg
from deft_core.episode import Episode
from deft_core.errors import InvalidInputError, RecordingError

BAG_FOLDER: Final = 'bag'  # in the folder of a run
EPISODE_TOPIC: Final = '/session/episode'
EPISODE_TYPE: Final = 'deft_msgs/msg/EpisodeRecord'
_MAGIC: Final = b'\x89MCAP0\r\n'  # the first and the last bytes of a closed file
_LARGEST_RECORD: Final = 256 * 1024 * 1024  # [byte]
_NUMBER: Final = re.compile(r'(\d+)\.mcap$')
# What the library raises on contents that are not what they should be.
_DAMAGE: Final = (
    McapError, struct.error, ValueError, KeyError, IndexError, AssertionError, RuntimeError,
    EOFError, zstandard.ZstdError,
)  # fmt: skip
_UNDECODABLE: Final = (SerdeError, TypesysError, struct.error, ValueError, IndexError,
                       AssertionError)  # fmt: skip


class RawMessage(NamedTuple):
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


class RecordedTopic(NamedTuple):
    """One topic of a bag.

    Attributes:
        name: Topic name.
        type: Message type.
        offered: Quality of service it was published with, in the words of rosbag2 (YAML);
            empty where the recorder did not note it.
    """

    name: str
    type: str
    offered: str


def bag_files(folder: Path) -> list[Path]:
    """MCAP files of a folder, by the number at the end of their names."""

    def order(path: Path) -> tuple[int, str]:
        match = _NUMBER.search(path.name)
        return (-1 if match is None else int(match[1]), path.name)

    return sorted(folder.glob('*.mcap'), key=order)


def bag_of(path: Path) -> Path:
    """The bag that is meant by a run folder, a bag folder or an .mcap file."""
    bag = path / BAG_FOLDER
    return bag if bag.is_dir() else path


def summary_of(path: Path) -> Summary:
    """Index of a closed file.

    Raises:
        RecordingError: There is none, as after a kill, or the file is damaged.
    """
    with _opened(path) as (_, summary):
        return summary


class BagReader:
    """A bag folder (or one .mcap file) as a stream of messages or episodes.

    Attributes:
        damaged: A sentence for each file of the folder that was left out: its recorder was
            killed, or the end is lost. The others are read.
    """

    def __init__(self, path: Path) -> None:
        """Find the files.

        Args:
            path: Folder of a bag, or an .mcap file.

        Raises:
            RecordingError: There is no bag, or no file of it is closed.
        """
        files = bag_files(path) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise RecordingError(
                f'no bag at {path}; name a run folder, a folder that holds .mcap files, or one '
                'such file'
            )
        self._files: list[Path] = []
        self.damaged: list[str] = []
        for file in files:
            try:
                summary_of(file)
            except RecordingError as error:
                if len(files) == 1:
                    raise
                self.damaged.append(str(error))
            else:
                self._files.append(file)
        if not self._files:
            raise RecordingError(self.damaged[0])
        self._schemas: dict[str, Schema] = {}

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """All messages: file by file, each in the order of recording.

        Args:
            topics: Only these; None for all.

        Raises:
            RecordingError: A file is damaged.
        """
        for file in self._files:
            yield from self._messages(file, topics)

    def topics(self) -> list[RecordedTopic]:
        """Topics of the bag, in the order of their declaration.

        Raises:
            RecordingError: The bag is damaged.
        """
        found: dict[str, RecordedTopic] = {}
        for file in self._files:
            summary = summary_of(file)
            for channel in summary.channels.values():
                offered = channel.metadata.get('offered_qos_profiles', '')
                name = summary.schemas[channel.schema_id].name
                found.setdefault(channel.topic, RecordedTopic(channel.topic, name, offered))
        return list(found.values())

    def episodes(self) -> Iterator[Episode]:
        """All episodes, in order.

        Raises:
            RecordingError: A record cannot be decoded, is inconsistent, or is there twice.
        """
        store: Typestore | None = None
        seen: set[str] = set()
        for file in self._files:
            for message in self._messages(file, {EPISODE_TOPIC}):
                if message.type != EPISODE_TYPE:
                    raise RecordingError(
                        f'{file}: {EPISODE_TOPIC} holds {message.type}, expected {EPISODE_TYPE}'
                    )
                if store is None:
                    store = self._typestore(file)
                try:
                    record = store.deserialize_cdr(message.data, message.type)
                except _UNDECODABLE as error:
                    raise RecordingError(
                        f'{file}: an episode record cannot be decoded: {error}'
                    ) from error
                episode = episode_of_record(record, str(file))
                if episode.episode_id in seen:
                    raise RecordingError(f'{file}: episode {episode.episode_id} is recorded twice')
                seen.add(episode.episode_id)
                yield episode

    def _messages(self, file: Path, topics: Collection[str] | None) -> Iterator[RawMessage]:
        with _opened(file) as (reader, _):
            for schema, channel, message in reader.iter_messages(topics):
                if schema is None:
                    raise RecordingError(f'{file}: {channel.topic} has no message definition')
                # All files of a bag must mean the same by a name.
                if self._schemas.setdefault(schema.name, schema).data != schema.data:
                    raise RecordingError(
                        f'{file} defines {schema.name} in another way than the files before it; '
                        'one bag holds messages of one version'
                    )
                yield RawMessage(channel.topic, schema.name, message.log_time, message.data)

    def _typestore(self, file: Path) -> Typestore:
        """Definitions of the message types read so far, from the bag's own text."""
        store = get_typestore(Stores.EMPTY)
        types: dict[str, Any] = {}
        try:
            for schema in self._schemas.values():
                types.update(get_types_from_msg(schema.data.decode(), schema.name))
            store.register(types)
        except (TypesysError, UnicodeDecodeError) as error:
            raise RecordingError(
                f'{file}: the message definitions cannot be parsed: {error}'
            ) from error
        return store


@contextmanager
def _opened(file: Path) -> Iterator[tuple[SeekingReader, Summary]]:
    """A closed file and its index; what is wrong with it becomes a RecordingError."""
    try:
        with file.open('rb') as stream:
            if not _is_closed(stream):
                raise RecordingError(
                    f'{file} is damaged: it has no end, its recorder was killed or the disk was '
                    'full; `mcap recover` makes a whole file of what is there'
                )
            reader = SeekingReader(stream, validate_crcs=True, record_size_limit=_LARGEST_RECORD)
            summary = reader.get_summary()
            if summary is None:
                raise RecordingError(
                    f'{file} has no index; `mcap recover` makes a file that has one'
                )
            yield reader, summary
    except OSError as error:
        raise RecordingError(f'cannot read {file}: {error.strerror}') from error
    except _DAMAGE as error:
        raise RecordingError(
            f'{file} is damaged ({error}); put the original back, or move it away to read the '
            'others'
        ) from error


def _is_closed(stream: BinaryIO) -> bool:
    begins = stream.read(len(_MAGIC)) == _MAGIC
    size = stream.seek(0, 2)
    stream.seek(max(0, size - len(_MAGIC)))
    ends = stream.read() == _MAGIC
    stream.seek(0)
    return begins and ends and size > 2 * len(_MAGIC)


def episode_of_record(record: Any, source: str) -> Episode:
    """Check and convert one record; a file is trusted with less than a running node.

    Args:
        record: An EpisodeRecord of rclpy or of rosbags.
        source: Where it comes from, for the message.

    Raises:
        RecordingError: The record is inconsistent.
    """
    try:
        episode = episode_from_msg(record)
        if not episode.episode_id:
            raise InvalidInputError('episode_id is empty')
        if episode.reward is not None and not 0.0 <= episode.reward <= 1.0:
            raise InvalidInputError(f'reward is {episode.reward}, expected 0 to 1 or NaN')
    except (InvalidInputError, ValueError, KeyError, AttributeError) as error:
        name = getattr(record, 'episode_id', '?')
        raise RecordingError(
            f'{source}: episode record {name!r} is not usable: {error}'
        ) from error
    return episode
