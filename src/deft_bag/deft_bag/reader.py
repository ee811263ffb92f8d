# SPDX-License-Identifier: Apache-2.0
"""Reads a bag without ROS: ours, one that rosbag2 recorded, or one whose recorder was killed.

What a bag says about its types is not parsed: the types we decode are those of this installation,
and a bag that was recorded with other ones is refused by their hash. Nothing in a bag is executed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import numpy as np
from mcap.records import Channel, Schema
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError

from deft_bag.mcap_file import McapFile
from deft_bag.message_types import message_typestore
from deft_core.decode import episode_from_msg
from deft_core.episode import Episode
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.files import read_yaml

BAG_FOLDER: Final = 'bag'  # in the folder of a run
PICTURES: Final = ('first_image', 'last_image', 'rollout_video')  # fields of an Episode
MOST_EPISODES: Final = 100_000  # of a session; more than can be asked for
METADATA_FILE: Final = 'metadata.yaml'  # of rosbag2, in the folder of a bag
EPISODE_TOPIC: Final = '/session/episode'
EPISODE_TYPE: Final = 'deft_msgs/msg/EpisodeRecord'
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
    log_time: int  # when it was received, ROS clock [ns]
    data: bytes


class RecordedTopic(NamedTuple):
    """One topic of a bag."""

    name: str
    type: str  # for example 'sensor_msgs/msg/Image'
    encoding: str  # of the messages; ROS 2 writes 'cdr'
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
            RecordingError: There is no bag, or one of another storage.
        """
        self._files = bag_files(path) if path.is_dir() else [path]
        others = sorted(path.glob('*.db3')) if path.is_dir() else [path] * (path.suffix == '.db3')
        if others and self._files in ([], others):
            raise RecordingError(
                f'{others[0]} is a bag in sqlite3 storage, which is not read; write it anew in '
                'mcap storage with `ros2 bag convert`'
            )
        if not self._files or not self._files[0].is_file():
            raise RecordingError(
                f'no bag at {path}; name a folder that holds .mcap files, or such a file'
            )
        self._metadata = path / METADATA_FILE

    @property
    def damaged(self) -> list[str]:
        """A sentence for whatever the bag lacks; what is whole in it is read.

        Raises:
            RecordingError: The index of a file is damaged.
        """
        sentences: list[str] = []
        counts: list[int | None] = []
        for path in self._files:
            with McapFile(path) as file:
                if not file.closed:
                    sentences.append(
                        f'{path} ends early, as after a kill of its recorder; what is whole in '
                        'it is used'
                    )
                counts.append(file.message_count)
        if not self._metadata.is_file():
            return sentences
        try:
            names, declared = _declared(self._metadata)
        except ConfigurationError as error:
            return [*sentences, f'What the bag should hold is not known: {error}']
        held = sum(count for count in counts if count is not None)
        missing = sorted(names - {path.name for path in self._files})
        if missing:
            sentences.append(
                f'{self._metadata} names {", ".join(missing)}, which is not there; put it back '
                'if you have it, the other files are used'
            )
        elif None not in counts and declared != held:
            sentences.append(
                f'{self._metadata} declares {declared} messages, the files hold {held}; these '
                'are used'
            )
        return sentences

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """All whole messages in the order of recording.

        Raises:
            RecordingError: A file is damaged, other than by a missing end, or does not hold what
                its statistics count.
        """
        for path in self._files:
            with McapFile(path) as file:
                for _, channel, log_time, data in file.messages(topics):
                    yield RawMessage(channel.topic, log_time, bytes(data))

    def topics(self) -> list[RecordedTopic]:
        """Topics that hold messages, in the order of their declaration.

        Raises:
            RecordingError: A file is damaged, or a topic has messages of two types.
        """
        found: dict[str, RecordedTopic] = {}
        for path in self._files:
            with McapFile(path) as file:
                for schema, channel in file.declared():
                    offered = channel.metadata.get('offered_qos_profiles', '')
                    name = schema.name if schema is not None else ''
                    topic = RecordedTopic(channel.topic, name, channel.message_encoding, offered)
                    known = found.setdefault(channel.topic, topic)
                    if known[:3] != topic[:3]:
                        raise RecordingError(
                            f'{path}: {topic.name} holds {topic.type!r} in {topic.encoding!r}, '
                            f'before it {known.type!r} in {known.encoding!r}; one topic has one '
                            'type, move one of the recordings away'
                        )
        return list(found.values())

    def episodes(self, pictures: Collection[str] = PICTURES) -> Iterator[Episode]:
        """All whole episodes in the order of recording.

        Args:
            pictures: Which of an episode are kept; the others are empty.

        Raises:
            RecordingError: A record cannot be decoded, is inconsistent, is there twice, or was
                recorded with other message definitions.
        """
        types = message_typestore()
        own_hash = types.hash_rihs01(EPISODE_TYPE)
        seen: set[str] = set()
        for path in self._files:
            checked: set[int] = set()
            with McapFile(path) as file:
                for schema, channel, _, data in file.messages({EPISODE_TOPIC}):
                    if channel.id not in checked:
                        _require_same_type(path, schema, channel, own_hash)
                        checked.add(channel.id)
                    try:
                        record = types.deserialize_cdr(data, EPISODE_TYPE)
                    except _UNDECODABLE as error:
                        raise RecordingError(
                            f'{path}: an episode record cannot be decoded: {error}'
                        ) from error
                    episode = episode_of_record(record, str(path))
                    if episode.episode_id in seen:
                        raise RecordingError(f'{path}: {episode.episode_id} is recorded twice')
                    seen.add(episode.episode_id)
                    yield _with_pictures(episode, pictures)


def _with_pictures(episode: Episode, kept: Collection[str]) -> Episode:
    """The episode without some of its pictures, which then take no memory."""
    if set(kept) >= set(PICTURES):
        return episode
    empty = np.zeros((0, 0, 3), dtype=np.uint8)
    return replace(
        episode,
        # Copies: the images of an episode are views of the whole chunk it came in.
        first_image=episode.first_image.copy() if 'first_image' in kept else empty,
        last_image=episode.last_image.copy() if 'last_image' in kept else empty,
        rollout_video=episode.rollout_video if 'rollout_video' in kept else (),
    )


def _declared(metadata: Path) -> tuple[set[str], int]:
    """Files and number of messages of a bag by its metadata.yaml; raises ConfigurationError."""
    information = read_yaml(metadata).get('rosbag2_bagfile_information')
    names, count = None, None
    if isinstance(information, dict):
        names, count = information.get('relative_file_paths'), information.get('message_count')
    if not isinstance(count, int) or not isinstance(names, list):
        raise ConfigurationError(f'{metadata} lists no files and messages as rosbag2 does')
    return {PurePosixPath(str(name)).name for name in names}, count


def _require_same_type(path: Path, schema: Schema | None, channel: Channel, own_hash: str) -> None:
    name = schema.name if schema is not None else 'no type'
    if name != EPISODE_TYPE or channel.message_encoding != 'cdr':
        raise RecordingError(
            f'{path}: {EPISODE_TOPIC} holds {name} in {channel.message_encoding!r}, expected '
            f"{EPISODE_TYPE} in 'cdr'"
        )
    if channel.metadata.get('topic_type_hash') not in (None, '', own_hash):
        raise RecordingError(
            f'{path} was recorded with another definition of {EPISODE_TYPE}; read it with the '
            'version of the program that recorded it'
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
        if episode.index >= MOST_EPISODES:
            raise InvalidInputError(f'index is {episode.index}, expected below {MOST_EPISODES}')
        if episode.reward is not None and not 0.0 <= episode.reward <= 1.0:
            raise InvalidInputError(f'reward is {episode.reward}, expected 0 to 1 or NaN')
    except (InvalidInputError, ValueError, KeyError, AttributeError) as error:
        name = getattr(record, 'episode_id', '?')
        raise RecordingError(
            f'{source}: episode record {name!r} is not usable: {error}'
        ) from error
    return episode
