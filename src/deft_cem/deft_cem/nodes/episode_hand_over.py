# SPDX-License-Identifier: Apache-2.0
"""Hands rated episodes over to the recorder; the store keeps them until it confirms."""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.node import Node
from rosbags.typesys.store import Typestore

from deft_bag.episode_record import decode_record
from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TYPE
from deft_cem.session.core import SessionCore
from deft_cem.session.stored_episode import StoredEpisode
from deft_core.errors import RecordingError
from deft_core.nodes.encode_records import SUCCESS_TO_MSG
from deft_core.nodes.qos import RECORDS
from deft_msgs.msg import EpisodeRecord


class EpisodeHandOver:
    """Publishes `/session/episode` when nobody waits for it: while the arm moves."""

    def __init__(self, node: Node, fail: Callable[[str], None]) -> None:
        """Create the publisher.

        Args:
            node: The session node.
            fail: Takes the reason when the store cannot be written.
        """
        self._publisher = node.create_publisher(EpisodeRecord, '/session/episode', RECORDS)
        self._fail = fail
        self._core: SessionCore | None = None
        self._record: EpisodeRecord | None = None

    def begin(self, core: SessionCore) -> None:
        """Take over a new session."""
        self._core, self._record = core, None

    def take(self, record: EpisodeRecord) -> None:
        """An episode is rated; it is handed over with the next `give`."""
        self._record = record

    def give(self) -> None:
        """Publish what was taken, and commit where its time went."""
        if self._record is None or self._core is None:
            return
        self._publisher.publish(self._record)
        self._record = None
        try:
            self._core.save_timing()
        except RecordingError as error:
            self._fail(str(error))

    def give_again(self) -> None:
        """Publish what an earlier process did not hand over; the recorder takes none twice.

        Raises:
            RecordingError: The store is damaged.
        """
        assert self._core is not None, 'handed over without a session'
        waiting = list(self._core.store.unrecorded())
        if not waiting:
            return
        typestore = message_typestore()
        for episode, data in waiting:
            self._publisher.publish(complete_record(data, episode, typestore))

    def confirm(self, episode_id: str) -> None:
        """The recorder has that episode on the disk."""
        if self._core is None:
            return
        try:
            self._core.store.confirm_recorded(episode_id)
        except RecordingError as error:
            self._fail(str(error))


def complete_record(data: bytes, episode: StoredEpisode, typestore: Typestore) -> bytes:
    """Put the score of a rated episode into the record that was made before it was given.

    Args:
        data: The record as CDR bytes.
        episode: What the store knows of the episode.
        typestore: Holds the type of episode records.

    Returns:
        The record as it belongs into the bag.

    Raises:
        RecordingError: The record cannot be decoded, or it is that of another episode.
    """
    record = decode_record(data, typestore, f'the record of {episode.episode_id}')
    if record.episode_id != episode.episode_id:
        raise RecordingError(
            f'the record of {episode.episode_id} is one of {record.episode_id!r}; the store is '
            'damaged'
        )
    record.reward = math.nan if episode.reward is None else episode.reward
    record.reward_source = episode.reward_source or ''
    record.success = SUCCESS_TO_MSG[episode.success]
    return bytes(typestore.serialize_cdr(record, EPISODE_TYPE))
