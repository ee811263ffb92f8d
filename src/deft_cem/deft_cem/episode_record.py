# SPDX-License-Identifier: Apache-2.0
"""Episode records as bytes, without ROS."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, Final

from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_cem.bag_reader import EPISODE_TYPE
from deft_cem.stored_episode import StoredEpisode
from deft_core.decode import SUCCESS_FROM_MSG
from deft_core.errors import RecordingError

_SUCCESS: Final = {value: number for number, value in SUCCESS_FROM_MSG.items()}


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
    record = _decode(data, typestore, f'the record of {episode.episode_id}')
    if record.episode_id != episode.episode_id:
        raise RecordingError(
            f'the record of {episode.episode_id} is one of {record.episode_id!r}; the store is '
            'damaged'
        )
    record.reward = math.nan if episode.reward is None else episode.reward
    record.reward_source = episode.reward_source or ''
    record.success = _SUCCESS[episode.success]
    return bytes(typestore.serialize_cdr(record, EPISODE_TYPE))


def episode_id_of(data: bytes, typestore: Typestore, source: Path) -> str:
    """Name of a recorded episode.

    Args:
        data: The record as CDR bytes.
        typestore: Holds its type.
        source: Where it comes from, for the message.

    Raises:
        RecordingError: The record cannot be decoded.
    """
    return str(_decode(data, typestore, f'{source}: an episode record').episode_id)


def _decode(data: bytes, typestore: Typestore, what: str) -> Any:
    try:
        return typestore.deserialize_cdr(data, EPISODE_TYPE)
    except (
        SerdeError,
        TypesysError,
        struct.error,
        ValueError,
        IndexError,
        AssertionError,
    ) as error:
        raise RecordingError(f'{what} cannot be decoded: {error}') from error
