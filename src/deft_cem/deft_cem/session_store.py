# SPDX-License-Identifier: Apache-2.0
"""What a session must not forget: one SQLite file, committed before every motion.

WAL mode with full synchronisation: after `record_*` has returned, a power cut loses nothing.
The optimiser's state is stored in the same transaction as the event that changed it, so a
sample can neither be drawn twice nor told twice.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE session (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    session_id TEXT NOT NULL,
    task TEXT NOT NULL,
    seed TEXT NOT NULL,
    configuration TEXT NOT NULL,
    optimiser TEXT NOT NULL
);
CREATE TABLE episode (
    number INTEGER PRIMARY KEY,
    episode_id TEXT NOT NULL UNIQUE,
    phase INTEGER NOT NULL,
    object_name TEXT NOT NULL,
    scene_seed INTEGER NOT NULL,
    sample_index INTEGER,
    prior TEXT NOT NULL,
    residual TEXT NOT NULL,
    outcome INTEGER,
    reward REAL,
    reward_source TEXT,
    success INTEGER,
    state TEXT NOT NULL CHECK (state IN ('asked', 'executed', 'rated', 'withdrawn'))
);
"""


@dataclass(frozen=True)
class StoredEpisode:
    """One row of the session: an episode that was at least asked for.

    Attributes:
        number: Position in the session, from 0; withdrawn episodes keep theirs.
        episode_id: Unique name.
        phase: Part of the session.
        object_name: What lay on the table.
        scene_seed: Seed of the scene; -1 where a person laid it out.
        sample_index: Proposal of the optimiser; None in evaluation.
        prior: xi as a vector. Length 22. [m, rad]
        residual: epsilon or delta as a vector. Length 22. [m, rad]
        outcome: How the motion ended; None while it has not.
        reward: 0..1; None while nobody gave one.
        reward_source: Who scored.
        success: Task criterion met; None when not judged.
        state: 'asked', 'executed', 'rated' or 'withdrawn'.
    """

    number: int
    episode_id: str
    phase: Phase
    object_name: str
    scene_seed: int
    sample_index: int | None
    prior: tuple[float, ...]
    residual: tuple[float, ...]
    outcome: Outcome | None = None
    reward: float | None = None
    reward_source: str | None = None
    success: bool | None = None
    state: str = 'asked'


class SessionStore:
    """The store of one session; use it as a context manager or call `close`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open connection; made by `create` and `open`."""
        self._connection = connection
        self._path = path

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        session_id: str,
        task: str,
        seed: int,
        configuration: dict[str, Any],
        optimiser_state: dict[str, Any],
    ) -> SessionStore:
        """Make the file of a new session.

        Args:
            path: File to create.
            session_id: Name of the session.
            task: Name of the task.
            seed: Seed of all random choices; up to 64 bits.
            configuration: Settings the session runs with, JSON values.
            optimiser_state: `state_dict` of the fresh optimiser.

        Raises:
            RecordingError: The file exists or cannot be written.
        """
        if path.exists():
            raise RecordingError(f'{path} exists already; choose another run folder')
        store = cls(_connect(path), path)
        with store._transaction() as connection:
            for statement in _SCHEMA.split(';'):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(
                'INSERT INTO session VALUES (1, ?, ?, ?, ?, ?)',
                (
                    session_id,
                    task,
                    str(seed),  # SQLite integers end at 2^63 - 1
                    json.dumps(configuration, allow_nan=False),
                    json.dumps(optimiser_state, allow_nan=False),
                ),
            )
            connection.execute(f'PRAGMA user_version = {SCHEMA_VERSION}')
        return store

    @classmethod
    def open(cls, path: Path) -> SessionStore:
        """Open the file of an earlier session.

        Raises:
            RecordingError: No such file, or not a session store.
            ConfigurationError: Written by a newer version of the program.
        """
        if not path.is_file():
            raise RecordingError(f'no session store at {path}; is this a run folder?')
        store = cls(_connect(path), path)
        version = store._version()
        if version > SCHEMA_VERSION:
            store.close()
            raise ConfigurationError(
                f'{path} has schema version {version}, this program knows {SCHEMA_VERSION}; '
                'update the program'
            )
        if version != SCHEMA_VERSION:
            store.close()
            raise RecordingError(f'{path} is not a session store (schema version {version})')
        return store

    def __enter__(self) -> SessionStore:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._connection.close()

    def _version(self) -> int:
        try:
            return int(self._connection.execute('PRAGMA user_version').fetchone()[0])
        except sqlite3.DatabaseError as error:
            self.close()
            raise RecordingError(f'{self._path} is not a session store: {error}') from error

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return str(self._session('session_id'))

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self._session('task'))

    @property
    def seed(self) -> int:
        """Seed of all random choices."""
        return int(self._session('seed'))

    @property
    def configuration(self) -> dict[str, Any]:
        """Settings the session was started with."""
        return dict(json.loads(self._session('configuration')))

    @property
    def optimiser_state(self) -> dict[str, Any]:
        """State of the optimiser after the last committed event."""
        return dict(json.loads(self._session('optimiser')))

    def record_ask(self, episode: StoredEpisode, optimiser_state: dict[str, Any]) -> None:
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
                'INSERT INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, NULL, ?)',
                (
                    episode.number,
                    episode.episode_id,
                    episode.phase.value,
                    episode.object_name,
                    episode.scene_seed,
                    episode.sample_index,
                    json.dumps(episode.prior, allow_nan=False),
                    json.dumps(episode.residual, allow_nan=False),
                    'asked',
                ),
            )
            self._write_optimiser(connection, optimiser_state)

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

    def record_reward(
        self,
        episode_id: str,
        reward: float,
        source: str,
        success: bool | None,
        optimiser_state: dict[str, Any],
    ) -> None:
        """Commit the score of the executed episode and what the optimiser made of it.

        Args:
            episode_id: The open episode.
            reward: 0..1.
            source: Who scored.
            success: Task criterion met; None when not judged.
            optimiser_state: State after `tell`; unchanged in evaluation.

        Raises:
            InvalidInputError: Not the open episode, or not a reward.
        """
        if not math.isfinite(reward) or not 0.0 <= reward <= 1.0:
            raise InvalidInputError(f'reward is {reward!r}, expected a number from 0 to 1')
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'executed'}, 'rated')
            connection.execute(
                'UPDATE episode SET reward = ?, reward_source = ?, success = ? '
                'WHERE episode_id = ?',
                (reward, source, success, episode_id),
            )
            self._write_optimiser(connection, optimiser_state)

    def record_withdrawal(self, episode_id: str, optimiser_state: dict[str, Any]) -> None:
        """Commit that the open episode does not count.

        Raises:
            InvalidInputError: The episode is not open.
        """
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'asked', 'executed'}, 'withdrawn')
            self._write_optimiser(connection, optimiser_state)

    def pending(self) -> StoredEpisode | None:
        """The episode that is asked or executed but neither rated nor withdrawn, if any."""
        unfinished = [e for e in self.episodes() if e.state in {'asked', 'executed'}]
        return unfinished[-1] if unfinished else None

    def episodes(self) -> tuple[StoredEpisode, ...]:
        """All episodes in order, withdrawn ones included."""
        rows = self._connection.execute('SELECT * FROM episode ORDER BY number').fetchall()
        return tuple(
            StoredEpisode(
                number=row['number'],
                episode_id=row['episode_id'],
                phase=Phase(row['phase']),
                object_name=row['object_name'],
                scene_seed=row['scene_seed'],
                sample_index=row['sample_index'],
                prior=tuple(json.loads(row['prior'])),
                residual=tuple(json.loads(row['residual'])),
                outcome=None if row['outcome'] is None else Outcome(row['outcome']),
                reward=row['reward'],
                reward_source=row['reward_source'],
                success=None if row['success'] is None else bool(row['success']),
                state=row['state'],
            )
            for row in rows
        )

    def _session(self, column: str) -> Any:
        row = self._connection.execute('SELECT * FROM session').fetchone()
        return row[column]

    @staticmethod
    def _advance(
        connection: sqlite3.Connection, episode_id: str, before: set[str], after: str
    ) -> None:
        row = connection.execute(
            'SELECT state FROM episode WHERE episode_id = ?', (episode_id,)
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

    @staticmethod
    def _write_optimiser(connection: sqlite3.Connection, state: dict[str, Any]) -> None:
        connection.execute(
            'UPDATE session SET optimiser = ?', (json.dumps(state, allow_nan=False),)
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all or nothing; disk errors become a RecordingError."""
        try:
            self._connection.execute('BEGIN IMMEDIATE')
            try:
                yield self._connection
            except BaseException:
                self._connection.execute('ROLLBACK')
                raise
            self._connection.execute('COMMIT')
        except sqlite3.Error as error:
            raise RecordingError(f'cannot write to {self._path}: {error}') from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute('PRAGMA journal_mode = WAL')
        connection.execute('PRAGMA synchronous = FULL')
    except sqlite3.Error as error:
        raise RecordingError(f'cannot open {path}: {error}') from error
    return connection
