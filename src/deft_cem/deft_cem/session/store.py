# SPDX-License-Identifier: Apache-2.0
"""What a session must not forget: one SQLite file, committed before every motion.

WAL mode with full synchronisation: after `record_*` has returned, neither a kill nor a power cut
loses anything. The optimiser's state is stored in the same transaction as the event that changed
it, so a sample can neither be drawn twice nor told twice. The record of a rated episode waits
here until it is in the bag.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import zstandard

from deft_cem.session.episode_timing import Stretch
from deft_cem.session.file import create_file, open_file
from deft_cem.session.record import SessionRecord
from deft_cem.session.run_config import SessionIdentity
from deft_cem.session.stored_episode import StoredEpisode
from deft_core.episode import Outcome, Phase
from deft_core.errors import InvalidInputError, RecordingError

_COMPRESSION_LEVEL: Final = 1  # fast: an operator may be waiting


class SessionStore(SessionRecord):
    """The store of one session; use it as a context manager or call `close`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open connection; made by `create` and `open`."""
        super().__init__(connection, path)
        self._launch: int | None = None
        self._begun = time.monotonic()

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        session_id: str,
        identity: SessionIdentity,
        optimiser_state: Mapping[str, Any],
    ) -> SessionStore:
        """Make the file of a new session.

        Args:
            path: File to create.
            session_id: Name of the session.
            identity: What the session is.
            optimiser_state: `state_dict` of the fresh optimiser.

        Raises:
            RecordingError: The file exists or cannot be written.
        """

        def fill(connection: sqlite3.Connection) -> None:
            connection.execute(
                'INSERT INTO session VALUES (1, ?, ?, ?, ?, ?, ?, ?, 0, 0)',
                (
                    session_id,
                    identity.task,
                    str(identity.seed),  # SQLite integers end at 2^63 - 1
                    identity.method.value,
                    identity.predictor,
                    _json(dict(identity.configuration)),
                    _json(dict(optimiser_state)),
                ),
            )

        create_file(path, fill)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file of an earlier session to go on with it.

        Raises:
            RecordingError: No such file, damaged, not a session store, or not writable.
            ConfigurationError: Written by a newer or an older version of the program.
        """
        return cls(open_file(path, read_only=False), path)

    def begin_launch(self, software_version: str) -> None:
        """Commit that a process takes the session over; its time counts from here on."""
        self._begun = time.monotonic()
        with self._transaction() as connection:
            number = connection.execute('SELECT COUNT(*) FROM launch').fetchone()[0]
            started = datetime.now(UTC).isoformat(timespec='seconds')
            connection.execute(
                'INSERT INTO launch VALUES (?, ?, ?, 0.0)', (number, software_version, started)
            )
        self._launch = number

    def record_ask(self, episode: StoredEpisode, optimiser_state: Mapping[str, Any]) -> None:
        """Commit a proposal before anything moves.

        Args:
            episode: The new episode, state 'asked'.
            optimiser_state: State with the proposal pending.

        Raises:
            InvalidInputError: An episode before it is still open, or the number is not the next.
        """
        waiting = self.pending()
        if waiting is not None:
            raise InvalidInputError(
                f'episode {waiting.episode_id} is still open; finish or withdraw it first'
            )
        with self._transaction() as connection:
            following = connection.execute('SELECT COUNT(*) FROM episode').fetchone()[0]
            if episode.number != following:
                raise InvalidInputError(
                    f'episode number is {episode.number}, the next one is {following}'
                )
            connection.execute(
                'INSERT INTO episode VALUES '
                "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, NULL, NULL, NULL, NULL, 'asked', '')",
                (
                    episode.number,
                    episode.episode_id,
                    episode.position,
                    episode.phase.value,
                    episode.object_name,
                    episode.scene_seed,
                    episode.sample_index,
                    _json(episode.prior),
                    _json(episode.residual),
                    episode.prior_source,
                    episode.calibration_id,
                ),
            )
            self._write_optimiser(connection, optimiser_state)

    def record_attempt(
        self,
        episode_id: str,
        *,
        object_name: str,
        scene_seed: int,
        prior: Sequence[float],
        residual: Sequence[float],
    ) -> None:
        """Commit that the open episode is tried once more, before anything moves.

        Args:
            episode_id: The open episode.
            object_name: What lies on the table now.
            scene_seed: Seed of the scene now.
            prior: xi of the new picture. Length 22. [m, rad]
            residual: The same epsilon; in a trial the delta that follows from the new picture.

        Raises:
            InvalidInputError: The episode is not open.
        """
        with self._transaction() as connection:
            number = self._advance(connection, episode_id, {'asked', 'executed'}, 'asked')
            connection.execute('DELETE FROM unrecorded WHERE number = ?', (number,))
            connection.execute(
                'UPDATE episode SET attempt = attempt + 1, outcome = NULL, object_name = ?, '
                'scene_seed = ?, prior = ?, residual = ? WHERE episode_id = ?',
                (object_name, scene_seed, _json(prior), _json(residual), episode_id),
            )

    def record_outcome(self, episode_id: str, outcome: Outcome) -> None:
        """Commit how the motion of the open episode ended.

        Raises:
            InvalidInputError: The episode is not the one that was asked.
        """
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'asked'}, 'executed')
            connection.execute(
                'UPDATE episode SET outcome = ? WHERE episode_id = ?', (outcome.value, episode_id)
            )

    def record_evidence(self, episode_id: str, record: bytes) -> None:
        """Commit what the executed episode left, while the operator looks at it.

        Args:
            episode_id: The open episode.
            record: The episode as it goes into the bag, still without its score. Kept until
                `confirm_recorded`.

        Raises:
            InvalidInputError: Not the open episode.
        """
        compressed = zstandard.compress(record, _COMPRESSION_LEVEL)
        with self._transaction() as connection:
            number = self._advance(connection, episode_id, {'executed'}, 'executed')
            connection.execute(
                'INSERT OR REPLACE INTO unrecorded VALUES (?, ?, ?)',
                (number, len(record), compressed),
            )

    def record_reward(
        self,
        episode_id: str,
        reward: float,
        source: str,
        success: bool | None,
        optimiser_state: Mapping[str, Any],
    ) -> None:
        """Commit the score of the executed episode and what the optimiser made of it.

        Args:
            episode_id: The open episode.
            reward: 0..1.
            source: Who scored.
            success: Task criterion met; None when not judged.
            optimiser_state: State after `tell`; unchanged in evaluation.

        Raises:
            InvalidInputError: Not the open episode, no record of it, or not a reward.
        """
        if not math.isfinite(reward) or not 0.0 <= reward <= 1.0:
            raise InvalidInputError(f'reward is {reward!r}, expected a number from 0 to 1')
        with self._transaction() as connection:
            number = self._advance(connection, episode_id, {'executed'}, 'rated')
            kept = 'SELECT COUNT(*) FROM unrecorded WHERE number = ?'
            if not connection.execute(kept, (number,)).fetchone()[0]:
                raise InvalidInputError(f'episode {episode_id!r} has no record; keep it first')
            connection.execute(
                'UPDATE episode SET reward = ?, reward_source = ?, success = ? '
                'WHERE episode_id = ?',
                (reward, source, success, episode_id),
            )
            self._write_optimiser(connection, optimiser_state)

    def record_withdrawal(
        self, episode_id: str, reason: str, optimiser_state: Mapping[str, Any]
    ) -> None:
        """Commit that the open episode does not count; its place in the plan is taken again.

        Raises:
            InvalidInputError: The episode is not open.
        """
        with self._transaction() as connection:
            self._withdraw(connection, episode_id, reason)
            self._write_optimiser(connection, optimiser_state)

    def record_skip(
        self,
        position: int,
        phase: Phase,
        episode_id: str | None,
        reason: str,
        optimiser_state: Mapping[str, Any],
    ) -> None:
        """Commit that a place in the plan stays empty.

        Args:
            position: Place in the plan.
            phase: Part of the session.
            episode_id: The episode that is open there, if any; it is withdrawn.
            reason: Why.
            optimiser_state: State after the withdrawal.

        Raises:
            InvalidInputError: The episode is not open.
        """
        with self._transaction() as connection:
            if episode_id is not None:
                self._withdraw(connection, episode_id, reason)
            connection.execute('INSERT INTO skipped VALUES (?, ?)', (position, phase.value))
            self._write_optimiser(connection, optimiser_state)

    def record_timing(self, number: int, stretches: Sequence[Stretch]) -> None:
        """Commit where the time of an episode went."""
        with self._transaction() as connection:
            connection.executemany(
                'INSERT INTO timing VALUES (?, ?, ?, ?)',
                [(number, s.part.value, s.kind.value, s.seconds) for s in stretches],
            )

    def record_training(self) -> None:
        """Commit that the policy was trained and taken."""
        with self._transaction() as connection:
            connection.execute('UPDATE session SET trained = 1')

    def record_finish(self) -> None:
        """Commit that the session is over and its summary written."""
        with self._transaction() as connection:
            connection.execute('UPDATE session SET finished = 1')

    def confirm_recorded(self, episode_id: str) -> None:
        """Forget the records of rated episodes up to that one: they are in the bag, in order."""
        rows = self._rows(
            'SELECT number FROM unrecorded WHERE number <= '
            '(SELECT number FROM episode WHERE episode_id = ?) AND number IN '
            "(SELECT number FROM episode WHERE state = 'rated')",
            (episode_id,),
        )
        if rows:
            with self._transaction() as connection:
                connection.executemany(
                    'DELETE FROM unrecorded WHERE number = ?', [(row[0],) for row in rows]
                )

    @classmethod
    def _withdraw(cls, connection: sqlite3.Connection, episode_id: str, reason: str) -> None:
        number = cls._advance(connection, episode_id, {'asked', 'executed'}, 'withdrawn')
        connection.execute('DELETE FROM unrecorded WHERE number = ?', (number,))
        connection.execute(
            'UPDATE episode SET reason = ? WHERE episode_id = ?', (reason, episode_id)
        )

    @staticmethod
    def _advance(
        connection: sqlite3.Connection, episode_id: str, before: set[str], after: str
    ) -> int:
        """Change the state of an episode that is in one of some states; its number."""
        row = connection.execute(
            'SELECT number, state FROM episode WHERE episode_id = ?', (episode_id,)
        ).fetchone()
        state = None if row is None else row['state']
        if state not in before:
            raise InvalidInputError(
                f'episode {episode_id!r} is {state or "unknown"}, '
                f'expected {" or ".join(sorted(before))}'
            )
        connection.execute(
            'UPDATE episode SET state = ? WHERE episode_id = ?', (after, episode_id)
        )
        return int(row['number'])

    @staticmethod
    def _write_optimiser(connection: sqlite3.Connection, state: Mapping[str, Any]) -> None:
        connection.execute('UPDATE session SET optimiser = ?', (_json(dict(state)),))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all or nothing; disk errors become a RecordingError."""
        connection = self._connection
        try:
            connection.execute('BEGIN IMMEDIATE')
            try:
                yield connection
                if self._launch is not None:
                    connection.execute(
                        'UPDATE launch SET wall_s = ? WHERE number = ?',
                        (time.monotonic() - self._begun, self._launch),
                    )
                connection.execute('COMMIT')
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute('ROLLBACK')
                raise
        except sqlite3.Error as error:
            raise RecordingError(f'cannot write to {self._path}: {error}') from error


def _json(values: Any) -> str:
    return json.dumps(values, allow_nan=False)
