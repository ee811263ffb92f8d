# SPDX-License-Identifier: Apache-2.0
"""Reads a bag without ROS, also one whose recorder was killed.

A file is read from front to back (`mcap_scan`), never through its index: a cut file has none,
and one way of reading is one way to test. Definitions come from the bag itself. Nothing in it is
executed, sizes are bounded before memory is taken, and the checksum of every chunk that is opened
is verified.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from mcap.records import Schema
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from deft_cem.bag_parts import parts_in
from deft_cem.mcap_scan import McapScan, ScannedMessage
from deft_core.decode import episode_from_msg
from deft_core.episode import Episode
from deft_core.errors import InvalidInputError, RecordingError

EPISODE_TOPIC: Final = '/session/episode'
EPISODE_TYPE: Final = 'deft_msgs/msg/EpisodeRecord'
_MAXIMUM_SCHEMA_BYTES: Final = 1024 * 1024


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
        for message in self._scan(topics):
            yield RawMessage(
                message.channel.topic, message.schema.name, message.log_time, bytes(message.data)
            )

    def topics(self) -> list[RecordedTopic]:
        """Topics that are declared in the bag, in the order of their declaration.

        Raises:
            RecordingError: The bag is damaged.
        """
        found: dict[str, RecordedTopic] = {}
        for part in self._parts:
            scan = McapScan(part, frozenset())
            for _ in scan.messages():
                raise AssertionError('no topic was wanted')
            for channel, schema in scan.declared():
                offered = channel.metadata.get('offered_qos_profiles', '')
                topic = RecordedTopic(channel.topic, schema.name, offered)
                found.setdefault(channel.topic, topic)
        return list(found.values())

    def _scan(self, topics: Collection[str] | None) -> Iterator[ScannedMessage]:
        """All whole messages of all parts."""
        self._truncated = None
        cut = False
        for part in self._parts:
            self._file = part
            scan = McapScan(part, topics)
            known: set[int] = set()
            for message in scan.messages():
                if message.schema.id not in known:
                    self._define(message.schema)
                    known.add(message.schema.id)
                yield message
            cut = cut or bool(scan.truncated)
        self._truncated = cut

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
        for message in self._scan({EPISODE_TOPIC}):
            name = message.schema.name
            if name != EPISODE_TYPE:
                raise RecordingError(
                    f'{self._file}: {EPISODE_TOPIC} holds {name}, expected {EPISODE_TYPE}'
                )
            if store is None:
                store = self.typestore()
            try:
                record = store.deserialize_cdr(message.data, name)
            except (
                SerdeError,
                TypesysError,
                struct.error,
                ValueError,
                IndexError,
                AssertionError,
            ) as error:
                raise RecordingError(
                    f'{self._file}: an episode record cannot be decoded: {error}'
                ) from error
            episode = episode_of_record(record, str(self._file))
            if episode.episode_id in seen:
                raise RecordingError(
                    f'{self._file}: episode {episode.episode_id} is recorded twice'
                )
            seen.add(episode.episode_id)
            yield episode


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
