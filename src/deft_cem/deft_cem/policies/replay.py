# SPDX-License-Identifier: Apache-2.0
"""Episodes heard while bags are played, until somebody asks to train on them.

What is heard is held to what a file would be held to: the same checks, every episode once. A
policy trained on it is therefore the one that `deft train` makes from the same bags. Only a
loss on the way cannot be told from an episode that the operator skipped; `gaps` names both.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from deft_bag.dataset import Dataset
from deft_bag.reader import episode_of_record
from deft_core.episode import Episode
from deft_core.errors import RecordingError

_NAMED: Final = 5  # positions that are listed before they are only counted


class ReplayedEpisodes:
    """Collects episode records by session, in the order in which they are heard."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sessions: dict[str, dict[int, Episode]] = {}
        self._digests: dict[str, bytes] = {}
        self._refused: list[str] = []

    @property
    def episode_count(self) -> int:
        """Number of different episodes heard."""
        return len(self._digests)

    @property
    def session_count(self) -> int:
        """Number of sessions they belong to."""
        return len(self._sessions)

    def hear(self, record: Any, data: bytes) -> Episode | None:
        """Take a published EpisodeRecord and its CDR bytes; None when it was heard before.

        Raises:
            RecordingError: The record is not usable, or another one has its name; from now on
                `practice` refuses.
        """
        digest = hashlib.sha256(data).digest()
        try:
            known = self._digests.get(record.episode_id)
            if known == digest:
                return None
            episode = episode_of_record(record, 'the replay')
            if known is not None:
                raise RecordingError(
                    f'the replay: two different records are named {episode.episode_id}'
                )
            session = self._sessions.setdefault(record.session_id, {})
            if episode.index in session:
                raise RecordingError(
                    f'the replay: {episode.episode_id} and {session[episode.index].episode_id} '
                    f'are both episode {episode.index} of session {record.session_id}'
                )
        except RecordingError as error:
            self._refused.append(str(error))
            raise
        session[episode.index] = episode
        self._digests[episode.episode_id] = digest
        return episode

    def gaps(self) -> str:
        """Positions between those heard, one sentence; empty when there is none."""
        parts = []
        for session_id, episodes in self._sessions.items():
            missing = sorted(set(range(max(episodes))) - set(episodes))
            if missing:
                more = '' if len(missing) <= _NAMED else f' and {len(missing) - _NAMED} more'
                numbers = ', '.join(str(number) for number in missing[:_NAMED])
                parts.append(f'{numbers}{more} of session {session_id}')
        if not parts:
            return ''
        return (
            f'Not heard: positions {"; ".join(parts)}; they were skipped by the operator, or '
            'lost: then play the bag again from its beginning, or at a lower rate.'
        )

    def practice(self) -> Dataset:
        """What can be trained on, session by session.

        Raises:
            RecordingError: A record was refused.
            TrainingError: Episodes do not fit each other.
        """
        if self._refused:
            raise RecordingError(self._refused[0])
        collected = Dataset()
        for session_id, episodes in self._sessions.items():
            ordered = [episodes[index] for index in sorted(episodes)]
            collected.add(ordered, f'session {session_id}')
        return collected
