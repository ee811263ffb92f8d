# SPDX-License-Identifier: Apache-2.0
"""Episode records as bytes, without ROS."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from deft_bag.reader import EPISODE_TYPE
from deft_core.errors import RecordingError


def episode_id_of(data: bytes, typestore: Typestore, source: Path) -> str:
    """Name of a recorded episode.

    Args:
        data: The record as CDR bytes.
        typestore: Holds its type.
        source: Where it comes from, for the message.

    Raises:
        RecordingError: The record cannot be decoded.
    """
    return str(decode_record(data, typestore, f'{source}: an episode record').episode_id)


def decode_record(data: bytes, typestore: Typestore, what: str) -> Any:
    """The record in the CDR bytes; raises RecordingError where it cannot be decoded."""
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
