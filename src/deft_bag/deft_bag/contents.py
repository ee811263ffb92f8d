# SPDX-License-Identifier: Apache-2.0
"""What a file of a bag holds, for a recorder that goes on after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rosbags.typesys.store import Typestore

from deft_bag.episode_record import episode_id_of
from deft_bag.reader import EPISODE_TOPIC, BagReader


@dataclass(frozen=True)
class TopicCount:
    """Messages of one topic.

    Attributes:
        type: Message type.
        count: Number of messages.
    """

    type: str
    count: int


@dataclass(frozen=True)
class PartContents:
    """What one file of a bag holds.

    Attributes:
        file: Name of the file in its folder.
        first: Least time of recording, ROS clock; 0 without messages. [ns]
        last: Greatest time of recording, ROS clock; 0 without messages. [ns]
        topics: Topic name to its messages.
        episode_ids: Recorded episodes, in order.
    """

    file: str
    first: int
    last: int
    topics: Mapping[str, TopicCount]
    episode_ids: tuple[str, ...]

    @property
    def message_count(self) -> int:
        """Number of messages."""
        return sum(topic.count for topic in self.topics.values())


def read_part(path: Path, typestore: Typestore) -> PartContents:
    """Read a file of a bag from front to back; it may be cut off.

    Args:
        path: An .mcap file.
        typestore: Holds the type of episode records.

    Raises:
        RecordingError: The file is damaged.
    """
    topics: dict[str, TopicCount] = {}
    episode_ids: list[str] = []
    first = last = 0
    for message in BagReader(path).messages():
        count = topics[message.topic].count if message.topic in topics else 0
        first = message.log_time if not topics else min(first, message.log_time)
        last = max(last, message.log_time)
        topics[message.topic] = TopicCount(message.type, count + 1)
        if message.topic == EPISODE_TOPIC:
            episode_ids.append(episode_id_of(message.data, typestore, path))
    return PartContents(path.name, first, last, topics, tuple(episode_ids))
