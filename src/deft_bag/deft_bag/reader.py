# SPDX-License-Identifier: Apache-2.0
"""Reads a bag without ROS: ours, one that rosbag2 recorded, or one whose recorder was killed.

What a bag says about its types is not parsed: the types we decode are those of this installation,
and a bag that was recorded with other ones is refused by their hash. Nothing in a bag is executed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import McapReader, NonSeekingReader, SeekingReader
from mcap.records import Channel, Message, Schema
from mcap.summary import Summary
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_bag.message_types import message_typestore
from deft_core.decode import episode_from_msg
from deft_core.episode import Episode
from deft_core.errors import InvalidInputError, RecordingError

BAG_FOLDER: Final = 'bag'  # in the folder of a run
EPISODE_TOPIC: Final = '/session/episode'
EPISODE_TYPE: Final = 'deft_msgs/msg/EpisodeRecord'
_MAGIC: Final = b'\x89MCAP0\r\n'  # first and last bytes of a closed file
_LARGEST_CHUNK: Final = 256 * 1024 * 1024  # [byte] unpacked; refused before memory is taken
# What the libraries raise on bytes that are no bag.
_DAMAGE: Final = (
    McapError,
    zstandard.ZstdError,
    RuntimeError,  # of lz4
    struct.error,
    ValueError,
    KeyError,
    IndexError,
    AssertionError,
    OverflowError,
    OSError,
)
_UNDECODABLE: Final = (
    SerdeError,
    TypesysError,
    struct.error,
    ValueError,
    IndexError,
    AssertionError,
)


class RawMessage(NamedTuple):
    """One recorded message."""

    topic: str
    type: str  # message type, for example 'sensor_msgs/msg/Image'
    log_time: int  # when it was received, ROS clock [ns]
    data: bytes


class RecordedTopic(NamedTuple):
    """One topic of a bag."""

    name: str
    type: str
    offered: str  # quality of service, in the YAML of rosbag2; empty where it was not noted


def bag_of(path: Path) -> Path:
    """The bag that is meant by a run folder, a bag folder or an .mcap file."""
    bag = path / BAG_FOLDER
    return bag if bag.is_dir() or not path.exists() else path


def bag_files(folder: Path) -> list[Path]:
    """MCAP files of a bag folder in the order of recording; none where there is no folder."""

    def numbers_as_numbers(path: Path) -> list[tuple[int, str]]:
        return [(int(n or 0), text) for n, text in re.findall(r'(\d{1,18})|(\D+)', path.name)]

    if not folder.is_dir():
        return []
    # A recorder that was killed at once leaves an empty file.
    files = (p for p in folder.glob('*.mcap') if p.is_file() and p.stat().st_size > 0)
    return sorted(files, key=numbers_as_numbers)


class BagReader:
    """A bag folder (or one .mcap file) as a stream of messages or episodes."""

    def __init__(self, path: Path) -> None:
        """Find the files.

        Raises:
            RecordingError: There is no bag.
        """
        self._files = bag_files(path) if path.is_dir() else [path]
        if not self._files or not self._files[0].is_file():
            raise RecordingError(
                f'no bag at {path}; name a folder that holds .mcap files, or such a file'
            )

    @property
    def damaged(self) -> list[str]:
        """A sentence for each file that ends early; what is whole in it is read."""
        return [
            f'{path} ends early, as after a kill of its recorder; what is whole in it is used'
            for path in self._files
            if not _closed(path)
        ]

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """All whole messages in the order of recording.

        Raises:
            RecordingError: A file is damaged, other than by a missing end.
        """
        for path in self._files:
            for schema, channel, message in _read(path, topics):
                name = schema.name if schema is not None else ''
                yield RawMessage(channel.topic, name, message.log_time, message.data)

    def topics(self) -> list[RecordedTopic]:
        """Topics that hold messages, in the order of their declaration.

        Raises:
            RecordingError: A file is damaged.
        """
        found: dict[str, RecordedTopic] = {}
        for path in self._files:
            for schema, channel in _declared(path):
                offered = channel.metadata.get('offered_qos_profiles', '')
                found.setdefault(channel.topic, RecordedTopic(channel.topic, schema.name, offered))
        return list(found.values())

    def episodes(self) -> Iterator[Episode]:
        """All whole episodes in the order of recording.

        Raises:
            RecordingError: A record cannot be decoded, is inconsistent, is there twice, or was
                recorded with other message definitions.
        """
        types = message_typestore()
        seen: set[str] = set()
        for path in self._files:
            checked: set[int] = set()
            for schema, channel, message in _read(path, {EPISODE_TOPIC}):
                if channel.id not in checked:
                    _require_same_type(path, schema, channel, types)
                    checked.add(channel.id)
                try:
                    record = types.deserialize_cdr(message.data, EPISODE_TYPE)
                except _UNDECODABLE as error:
                    raise RecordingError(
                        f'{path}: an episode record cannot be decoded: {error}'
                    ) from error
                episode = episode_of_record(record, str(path))
                if episode.episode_id in seen:
                    raise RecordingError(f'{path}: {episode.episode_id} is recorded twice')
                seen.add(episode.episode_id)
                yield episode


def summary_of(path: Path) -> Summary | None:
    """Index and statistics at the end of a file; None where it ends early.

    Raises:
        RecordingError: The file is damaged.
    """
    if not _closed(path):
        return None
    with path.open('rb') as stream:
        try:
            _check_summary(stream)
            summary = SeekingReader(stream).get_summary()
            if summary is None:
                raise ValueError('it has no index')
            largest = max((c.uncompressed_size for c in summary.chunk_indexes), default=0)
        except _DAMAGE as error:
            raise _damaged(path, error) from error
    if largest > _LARGEST_CHUNK:
        raise RecordingError(
            f'{path}: a chunk unpacks to {largest / 1e6:.0f} MB, expected at most '
            f'{_LARGEST_CHUNK / 1e6:.0f} MB; move the file out of the bag'
        )
    return summary


def _check_summary(stream: IO[bytes]) -> None:
    """Compare the index at the end of a file with its checksum, which the library does not."""
    footer = len(_MAGIC) + 29  # opcode, length, start of summary and offsets, checksum
    end = stream.seek(-footer, 2)
    start, _, expected = struct.unpack('<QQI', stream.read(footer)[9:29])
    stream.seek(start)
    # 0: the writer made none.
    if expected and (start > end or zlib.crc32(stream.read(end + 25 - start)) != expected):
        raise ValueError('its index has another checksum')
    stream.seek(0)


def _closed(path: Path) -> bool:
    """Whether a file has its end."""
    try:
        with path.open('rb') as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - len(_MAGIC)))
            return size > len(_MAGIC) and stream.read() == _MAGIC
    except OSError as error:
        raise _damaged(path, error) from error


def _read(
    path: Path, topics: Collection[str] | None
) -> Iterator[tuple[Schema | None, Channel, Message]]:
    """Messages of one file; a file without its end is read up to where it breaks off."""
    summary = summary_of(path)
    wanted = None if topics is None else list(topics)
    counts: Counter[int] = Counter()
    with path.open('rb') as stream:
        reader: McapReader
        if summary is not None:
            reader = SeekingReader(stream, validate_crcs=True)
        else:
            reader = NonSeekingReader(stream, validate_crcs=True, record_size_limit=_LARGEST_CHUNK)
        try:
            for schema, channel, message in reader.iter_messages(wanted, log_time_order=False):
                counts[channel.id] += 1
                yield schema, channel, message
        except (EndOfFile, struct.error) as error:  # it breaks off within a record
            if summary is not None:
                raise _damaged(path, error) from error
        except _DAMAGE as error:
            raise _damaged(path, error) from error
    if summary is not None and summary.statistics is not None:
        for number, count in summary.statistics.channel_message_counts.items():
            topic = summary.channels[number].topic if number in summary.channels else '?'
            if (wanted is None or topic in wanted) and counts[number] != count:
                raise RecordingError(
                    f'{path} is damaged: {counts[number]} messages of {topic} were read, its '
                    f'index counts {count}; put the original back or move the file away'
                )


def _declared(path: Path) -> Iterator[tuple[Schema, Channel]]:
    """Types and channels of one file."""
    summary = summary_of(path)
    if summary is not None:
        for channel in summary.channels.values():
            if channel.schema_id in summary.schemas:
                yield summary.schemas[channel.schema_id], channel
        return
    seen: set[int] = set()
    for schema, channel, _ in _read(path, None):
        if schema is not None and channel.id not in seen:
            seen.add(channel.id)
            yield schema, channel


def _require_same_type(
    path: Path, schema: Schema | None, channel: Channel, types: Typestore
) -> None:
    name = schema.name if schema is not None else 'no type'
    if name != EPISODE_TYPE:
        raise RecordingError(f'{path}: {EPISODE_TOPIC} holds {name}, expected {EPISODE_TYPE}')
    recorded, own = channel.metadata.get('topic_type_hash'), types.hash_rihs01(EPISODE_TYPE)
    if recorded not in (None, '', own):
        raise RecordingError(
            f'{path} was recorded with another definition of {EPISODE_TYPE}; read it with the '
            'version of the program that recorded it'
        )


def _damaged(path: Path, error: Exception) -> RecordingError:
    reason = str(error) or type(error).__name__
    return RecordingError(
        f'{path} is damaged ({reason}); put the original back, or move it away to go on with the '
        'other files of the bag'
    )


def episode_of_record(record: Any, source: str) -> Episode:
    """Check and convert one record; a file is trusted with less than a running node.

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
