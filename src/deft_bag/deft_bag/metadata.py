# SPDX-License-Identifier: Apache-2.0
"""The content of metadata.yaml, in the words of rosbag2."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from deft_bag.contents import PartContents, TopicCount

_VERSION: Final = 9  # what rosbag2 of Jazzy writes


def bag_information(
    parts: Sequence[PartContents], latched: Collection[str], type_hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Describe a bag of one or more files.

    Args:
        parts: The files in the order of recording.
        latched: Topics that a player should offer with transient-local durability.
        type_hashes: Message type to its hash as ROS 2 forms it.

    Returns:
        Value of `rosbag2_bagfile_information`.
    """
    topics: dict[str, TopicCount] = {}
    for part in parts:
        for name, topic in part.topics.items():
            before = topics[name].count if name in topics else 0
            topics[name] = TopicCount(topic.type, before + topic.count)
    return {
        'version': _VERSION,
        'storage_identifier': 'mcap',
        **_span([part for part in parts if part.message_count]),
        'message_count': sum(part.message_count for part in parts),
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': name,
                    'type': topic.type,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': [quality_of_service(name in latched)],
                    'type_description_hash': type_hashes[topic.type],
                },
                'message_count': topic.count,
            }
            for name, topic in topics.items()
        ],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [part.file for part in parts],
        'files': [
            {'path': part.file, **_span([part]), 'message_count': part.message_count}
            for part in parts
        ],
        'custom_data': {},
        'ros_distro': 'jazzy',
    }


def _span(parts: Sequence[PartContents]) -> dict[str, Any]:
    """From the first message to the last; the clock of a simulation begins anew in each file."""
    first = min((part.first for part in parts), default=0)
    last = max((part.last for part in parts), default=0)
    return {
        'duration': {'nanoseconds': max(0, last - first)},
        'starting_time': {'nanoseconds_since_epoch': first},
    }


def quality_of_service(latched: bool) -> dict[str, Any]:
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
