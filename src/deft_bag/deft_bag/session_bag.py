# SPDX-License-Identifier: Apache-2.0
"""The bag of one run over all its interruptions: every episode is in it once."""

from __future__ import annotations

from pathlib import Path

from rosbags.typesys.store import Typestore

from deft_bag.contents import read_part
from deft_bag.episode_record import episode_id_of
from deft_bag.parts import parts_in
from deft_bag.reader import EPISODE_TOPIC
from deft_bag.writer import BagWriter


class SessionBag:
    """Opens the bag of a run, or goes on with it in a further file."""

    def __init__(self, folder: Path, typestore: Typestore) -> None:
        """Read what is recorded already and begin a file after it.

        Args:
            folder: Bag folder of the run; made where it does not exist.
            typestore: Definitions of the message types that will be recorded.

        Raises:
            RecordingError: An earlier file is damaged, or the folder cannot be written.
        """
        self.folder = folder
        self._typestore = typestore
        earlier = [read_part(path, typestore) for path in parts_in(folder)]
        self._episode_ids = [name for part in earlier for name in part.episode_ids]
        self._writer = BagWriter(folder, typestore, earlier=earlier)

    @property
    def episode_ids(self) -> tuple[str, ...]:
        """Episodes in all files, in the order of recording."""
        return tuple(self._episode_ids)

    @property
    def message_count(self) -> int:
        """Number of messages in all files."""
        return self._writer.message_count

    @property
    def size(self) -> int:
        """Bytes of all files that are flushed."""
        return self._writer.size

    def add_topic(self, name: str, message_type: str, *, latched: bool) -> None:
        """Declare a topic; see `BagWriter.add_topic`."""
        self._writer.add_topic(name, message_type, latched=latched)

    def write(self, topic: str, data: bytes, log_time: int) -> None:
        """Append a message that is no episode record; see `BagWriter.write`."""
        self._writer.write(topic, data, log_time)

    def record_episode(self, data: bytes, log_time: int) -> str:
        """Have an episode on the disk before this returns; one that is there is left as it is.

        A session that was killed sends again what nobody had confirmed.

        Args:
            data: The record as CDR bytes.
            log_time: When it was received, ROS clock. [ns]

        Returns:
            Name of the episode.

        Raises:
            RecordingError: The disk refused the data, or it is no episode record.
        """
        name = episode_id_of(data, self._typestore, self.folder)
        if name not in self._episode_ids:
            self._writer.write(EPISODE_TOPIC, data, log_time)
            self._writer.flush()
            self._episode_ids.append(name)
        return name

    def flush(self) -> None:
        """Wait until everything is on the disk; see `BagWriter.flush`."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        self._writer.close()
