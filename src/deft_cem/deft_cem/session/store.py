# SPDX-License-Identifier: Apache-2.0
"""What a session must not forget: one SQLite file, committed before every motion.

WAL mode with full synchronisation: after `record_*` has returned, neither a kill nor a power cut
loses anything. The file is made whole or not at all, and opened only when it is whole and ours.
The optimiser is not in it: its state follows from the samples that were rewarded or discarded.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from deft_cem.session.run_config import Baseline, RunConfig
from deft_core.configuration import build
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, RecordingError
from deft_core.files import parse_json, sync_folder
from deft_core.grasp import GRASP_DIMENSION
from deft_core.validation import finite_array

SCHEMA_VERSION: Final = 3
_APPLICATION_ID: Final = 0x44454654  # 'DEFT' in the header of the file
_PART: Final = '.part'
_SCHEMA: Final = """
CREATE TABLE session (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    session_id TEXT NOT NULL,
    task TEXT NOT NULL,
    seed TEXT NOT NULL,
    baseline TEXT NOT NULL,
    predictor TEXT NOT NULL,
    settings TEXT NOT NULL,
    trained INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE launch (
    number INTEGER PRIMARY KEY,
    software_version TEXT NOT NULL,
    started TEXT NOT NULL,
    wall_s REAL NOT NULL
);
CREATE TABLE episode (
    number INTEGER PRIMARY KEY,
    episode_id TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    object_name TEXT NOT NULL,
    scene_seed INTEGER NOT NULL,
    sample_index INTEGER,
    prior TEXT NOT NULL,
    residual TEXT NOT NULL,
    prior_source TEXT NOT NULL,
    calibration_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    outcome INTEGER,
    reward REAL,
    reward_source TEXT,
    success INTEGER,
    state TEXT NOT NULL CHECK (state IN ('asked', 'executed', 'rewarded', 'discarded')),
    reason TEXT NOT NULL
);
CREATE TABLE skipped (position INTEGER PRIMARY KEY, phase INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class StoredEpisode:
    """One row of the session: an episode that was at least asked for."""

    number: int  # among all rows, from 0; discarded episodes keep theirs
    episode_id: str
    position: int  # place in the schedule; a discarded episode's place is taken again
    phase: Phase
    object_name: str
    scene_seed: int  # seed of the scene; -1 where a person laid it out
    sample_index: int | None  # proposal of the optimiser; None in evaluation
    prior: tuple[float, ...]  # xi as a vector. Length 22 [m, rad]
    residual: tuple[float, ...]  # epsilon or delta as a vector. Length 22 [m, rad]
    prior_source: str = ''
    calibration_id: str = ''
    attempt: int = 1  # one more after each interruption or redo
    outcome: Outcome | None = None  # how the motion ended; None while it has not
    reward: float | None = None  # 0..1; None while nobody gave one
    reward_source: str | None = None
    success: bool | None = None  # task criterion met; None when not judged
    state: str = 'asked'  # 'asked', 'executed', 'rewarded' or 'discarded'
    reason: str = ''  # why it was discarded; empty otherwise


class SessionStore:
    """The store of one session; use it as a context manager or call `close`.

    Every `record_*` commits all or nothing. It raises InvalidInputError where an episode is not in
    the state for it, and RecordingError where the disk refuses.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open connection; made by `create`, `open` and `read`."""
        self._connection = connection
        self._path = path
        self._launch: int | None = None
        self._begun = time.monotonic()

    @classmethod
    def create(cls, path: Path, *, session_id: str, config: RunConfig) -> Self:
        """Make the file of a new session; it appears when it is complete and on the disk.

        Only who holds the lock of the run folder may do this.

        Raises:
            RecordingError: The file exists or cannot be written.
        """
        if path.exists():
            raise RecordingError(f'{path} exists already; choose another run folder')
        temporary = path.with_name(f'{path.name}{_PART}')
        try:
            for name in leftovers(path):
                path.with_name(name).unlink(missing_ok=True)
            connection = sqlite3.connect(temporary, isolation_level=None)
            try:
                # From the start: a kill while a file changes to WAL would leave a journal that
                # only a writer can roll back, and no look without changes would be possible.
                connection.execute('PRAGMA journal_mode = WAL')
                connection.executescript(f'PRAGMA synchronous = FULL; BEGIN; {_SCHEMA}')
                connection.execute(
                    'INSERT INTO session VALUES (1, ?, ?, ?, ?, ?, ?, 0, 0)',
                    (
                        session_id,
                        config.task,
                        str(config.seed),  # SQLite integers end at 2^63 - 1
                        config.baseline.value,
                        config.predictor,
                        _json(dict(config.settings)),
                    ),
                )
                connection.execute(f'PRAGMA application_id = {_APPLICATION_ID}')
                connection.execute(f'PRAGMA user_version = {SCHEMA_VERSION}')
                connection.execute('COMMIT')
            finally:
                connection.close()
            temporary.replace(path)
            sync_folder(path.parent)
        except (OSError, sqlite3.Error) as error:
            raise RecordingError(f'cannot write {path}: {error}; is the disk full?') from error
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file of an earlier session to go on with it.

        Raises:
            RecordingError: No such file, damaged, not a session store, or not writable.
            ConfigurationError: Written by a newer or an older version of the program.
        """
        _check(path)
        try:
            connection = _connect(path, 'rw')
            connection.execute('PRAGMA synchronous = FULL')
            # A folder or file that cannot be written is noticed now, not before the first motion.
            connection.execute('BEGIN IMMEDIATE')
            connection.execute('UPDATE session SET only_row = only_row')
            connection.execute('ROLLBACK')
        except sqlite3.Error as error:
            raise RecordingError(f'cannot open {path}: {error}') from error
        return cls(connection, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the file to look at it, also while its session runs; raises as `open`."""
        _check(path)
        try:
            return cls(_connect(path, 'ro'), path)
        except sqlite3.Error as error:
            raise RecordingError(f'cannot open {path}: {error}') from error

    def __enter__(self) -> Self:
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

    # What it says.

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return str(self._session()['session_id'])

    @property
    def config(self) -> RunConfig:
        """What the session was started as."""
        row = self._session()
        try:
            values = {name: row[name] for name in ('task', 'predictor')}
            values['baseline'] = Baseline.parse(str(row['baseline']))
            for name in ('seed', 'settings'):
                values[name] = parse_json(str(row[name]), 'session')
            return build(RunConfig, values, 'session')
        except DeftError as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    @property
    def trained(self) -> bool:
        """Whether the policy was trained and taken."""
        return bool(self._session()['trained'])

    @property
    def finished(self) -> bool:
        """Whether the session came to its end and its summary is written."""
        return bool(self._session()['finished'])

    @property
    def wall_s(self) -> float:
        """Real time of all launches until their last commit. [s]."""
        total = float(self._rows('SELECT TOTAL(wall_s) FROM launch')[0][0])
        if not math.isfinite(total):
            raise RecordingError(f'{self._path} is damaged: wall_s is {total}')
        return total

    @property
    def launches(self) -> tuple[tuple[str, str], ...]:
        """Software version and time of the start (ISO 8601, UTC) of each launch."""
        rows = self._rows('SELECT software_version, started FROM launch ORDER BY number')
        return tuple((str(row[0]), str(row[1])) for row in rows)

    def pending(self) -> StoredEpisode | None:
        """The episode that is asked or executed but neither rewarded nor discarded, if any."""
        unfinished = self._episodes("WHERE state IN ('asked', 'executed')")
        return unfinished[-1] if unfinished else None

    def episodes(self) -> tuple[StoredEpisode, ...]:
        """All episodes in order, discarded ones included."""
        return self._episodes('')

    def rewarded(self, episode_id: str) -> StoredEpisode | None:
        """The episode of that name when it has a reward, else None."""
        found = self._episodes("WHERE state = 'rewarded' AND episode_id = ?", (episode_id,))
        return found[0] if found else None

    def skipped(self) -> tuple[tuple[int, Phase], ...]:
        """Places in the schedule that stay empty, and the part of the session they belong to."""
        rows = self._rows('SELECT position, phase FROM skipped ORDER BY position')
        try:
            return tuple((row['position'], Phase(row['phase'])) for row in rows)
        except ValueError as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    # What happens.

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

    def record_ask(self, episode: StoredEpisode) -> None:
        """Commit a proposal before anything moves."""
        waiting = self.pending()
        if waiting is not None:
            raise InvalidInputError(
                f'episode {waiting.episode_id} is still open; finish or discard it first'
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
        """
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'asked', 'executed'}, 'asked')
            connection.execute(
                'UPDATE episode SET attempt = attempt + 1, outcome = NULL, object_name = ?, '
                'scene_seed = ?, prior = ?, residual = ? WHERE episode_id = ?',
                (object_name, scene_seed, _json(prior), _json(residual), episode_id),
            )

    def record_outcome(self, episode_id: str, outcome: Outcome) -> None:
        """Commit how the motion of the open episode ended."""
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'asked'}, 'executed')
            connection.execute(
                'UPDATE episode SET outcome = ? WHERE episode_id = ?', (outcome.value, episode_id)
            )

    def record_reward(
        self, episode_id: str, reward: float, source: str, success: bool | None
    ) -> None:
        """Commit the score of the executed episode."""
        if not math.isfinite(reward) or not 0.0 <= reward <= 1.0:
            raise InvalidInputError(f'reward is {reward!r}, expected a number from 0 to 1')
        with self._transaction() as connection:
            self._advance(connection, episode_id, {'executed'}, 'rewarded')
            connection.execute(
                'UPDATE episode SET reward = ?, reward_source = ?, success = ? '
                'WHERE episode_id = ?',
                (reward, source, success, episode_id),
            )

    def record_discard(self, episode_id: str, reason: str) -> None:
        """Commit that the open episode does not count; its place is taken again."""
        with self._transaction() as connection:
            self._discard(connection, episode_id, reason)

    def record_skip(
        self, position: int, phase: Phase, episode_id: str | None, reason: str
    ) -> None:
        """Commit that a place in the schedule stays empty."""
        with self._transaction() as connection:
            if episode_id is not None:
                self._discard(connection, episode_id, reason)
            connection.execute('INSERT INTO skipped VALUES (?, ?)', (position, phase.value))

    def record_training(self) -> None:
        """Commit that the policy was trained and taken."""
        with self._transaction() as connection:
            connection.execute('UPDATE session SET trained = 1')

    def record_finish(self) -> None:
        """Commit that the session is over and its summary written."""
        with self._transaction() as connection:
            connection.execute('UPDATE session SET finished = 1')

    @classmethod
    def _discard(cls, connection: sqlite3.Connection, episode_id: str, reason: str) -> None:
        cls._advance(connection, episode_id, {'asked', 'executed'}, 'discarded')
        connection.execute(
            'UPDATE episode SET reason = ? WHERE episode_id = ?', (reason, episode_id)
        )

    @staticmethod
    def _advance(
        connection: sqlite3.Connection, episode_id: str, before: set[str], after: str
    ) -> None:
        """Change the state of an episode that is in one of some states."""
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
            raise RecordingError(
                f'cannot write to {self._path}: {error}; make room on the disk and launch '
                'again, the session goes on where it was'
            ) from error

    def _episodes(self, where: str, values: Sequence[Any] = ()) -> tuple[StoredEpisode, ...]:
        rows = self._rows(f'SELECT * FROM episode {where} ORDER BY number', values)  # noqa: S608
        try:
            return tuple(_episode_from_row(row) for row in rows)
        except (DeftError, ValueError) as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    def _session(self) -> sqlite3.Row:
        rows = self._rows('SELECT * FROM session')
        if len(rows) != 1:
            raise RecordingError(f'{self._path} is damaged: it has no session')
        return rows[0]

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f'cannot read {self._path}: {error}') from error


def leftovers(path: Path) -> frozenset[str]:
    """Names of what a kill during `SessionStore.create` can leave beside the file."""
    return frozenset(f'{path.name}{_PART}{suffix}' for suffix in ('', '-wal', '-shm', '-journal'))


def _check(path: Path) -> None:
    """Look at a file without changing it; refuse what is not a whole one of this version."""
    if not path.is_file():
        raise RecordingError(f'no session store at {path}; is this a run folder?')
    try:
        connection = _connect(path, 'ro')
        try:
            application = connection.execute('PRAGMA application_id').fetchone()[0]
            version = connection.execute('PRAGMA user_version').fetchone()[0]
            tables = _tables(connection)
            verdict = connection.execute('PRAGMA quick_check(1)').fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RecordingError(
            f'{path} cannot be read as a session store ({error}); put the original back or choose '
            'another run folder'
        ) from error
    # The first version had no application id.
    if application != _APPLICATION_ID and (application, version) != (0, 1):
        raise RecordingError(f'{path} is not a session store; choose another run folder')
    if version != SCHEMA_VERSION:
        age, remedy = (
            ('a newer', 'update the program')
            if version > SCHEMA_VERSION
            else ('an older', 'go on with that version or choose another run folder')
        )
        raise ConfigurationError(
            f'{path} was written by {age} version of the program (schema {version}, this one '
            f'has {SCHEMA_VERSION}); {remedy}'
        )
    if tables != _our_tables():
        raise RecordingError(f'{path} has other tables than a session store; choose another one')
    if verdict != 'ok':
        what = ' '.join(str(verdict).split())
        raise RecordingError(f'{path} is damaged ({what}); put the original back')


def _tables(connection: sqlite3.Connection) -> list[Any]:
    """What a database is made of; a view or a trigger would be a program."""
    query = 'SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name'
    return [tuple(row) for row in connection.execute(query)]


def _our_tables() -> list[Any]:
    with closing(sqlite3.connect(':memory:')) as connection:
        connection.executescript(_SCHEMA)
        return _tables(connection)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f'{path.absolute().as_uri()}?mode={mode}', uri=True, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def _episode_from_row(row: sqlite3.Row) -> StoredEpisode:
    """Raises DeftError or ValueError where the row does not hold an episode."""
    values = dict(row)
    for name, kind in (('phase', Phase), ('outcome', Outcome), ('success', bool)):
        values[name] = None if values[name] is None else kind(values[name])
    for name in ('prior', 'residual'):
        values[name] = parse_json(str(values[name]), name)
        finite_array(name, values[name], (GRASP_DIMENSION,))
    return build(StoredEpisode, values, 'episode')


def _json(values: Any) -> str:
    return json.dumps(values, allow_nan=False)
