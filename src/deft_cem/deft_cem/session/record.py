# SPDX-License-Identifier: Apache-2.0
"""What the store of a session says; `SessionStore` adds to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import zstandard

from deft_cem.session.episode_timing import Kind, Part, Stretch
from deft_cem.session.file import open_file
from deft_cem.session.method import Method
from deft_cem.session.run_config import SessionIdentity
from deft_cem.session.stored_episode import StoredEpisode, episode_from_row
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, RecordingError

_MAXIMUM_RECORD_BYTES: Final = 256 * 1024 * 1024


class SessionRecord:
    """Reads the store of a session; use it as a context manager or call `close`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open connection; made by `open`."""
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file of a session, also one that is running.

        Raises:
            RecordingError: No such file, damaged, or not a session store.
            ConfigurationError: Written by a newer or an older version of the program.
        """
        return cls(open_file(path, read_only=True), path)

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

    # What the session is.

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return str(self._session('session_id'))

    @property
    def identity(self) -> SessionIdentity:
        """What the session was started as."""
        row = self._rows('SELECT * FROM session')[0]
        try:
            return SessionIdentity(
                task=row['task'],
                seed=int(row['seed']),
                method=Method.parse(row['method']),
                predictor=row['predictor'],
                configuration=dict(json.loads(row['configuration'])),
            )
        except (ValueError, TypeError, ConfigurationError) as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    @property
    def optimiser_state(self) -> dict[str, Any]:
        """State of the optimiser after the last committed event."""
        try:
            return dict(json.loads(self._session('optimiser')))
        except (ValueError, TypeError) as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    @property
    def trained(self) -> bool:
        """Whether the policy was trained and taken."""
        return bool(self._session('trained'))

    @property
    def finished(self) -> bool:
        """Whether the session came to its end and its summary is written."""
        return bool(self._session('finished'))

    @property
    def wall_s(self) -> float:
        """Real time of all launches until their last commit. [s]."""
        return float(self._rows('SELECT TOTAL(wall_s) FROM launch')[0][0])

    @property
    def launches(self) -> tuple[tuple[str, str], ...]:
        """Software version and time of the start (ISO 8601, UTC) of each launch."""
        rows = self._rows('SELECT software_version, started FROM launch ORDER BY number')
        return tuple((row[0], row[1]) for row in rows)

    # What of it is in the bag.

    def unrecorded(self) -> Iterator[tuple[StoredEpisode, bytes]]:
        """Rated episodes that nobody confirmed to be in the bag, with their record, in order.

        The records were made before the score; `complete_record` puts it in.
        """
        waiting = {row['number'] for row in self._rows('SELECT number FROM unrecorded')}
        for episode in self._episodes("WHERE state = 'rated'"):
            if episode.number not in waiting:
                continue
            (found,) = self._rows(
                'SELECT bytes, record FROM unrecorded WHERE number = ?', (episode.number,)
            )
            size = min(max(found['bytes'], 1), _MAXIMUM_RECORD_BYTES)
            try:
                yield episode, zstandard.decompress(found['record'], max_output_size=size)
            except zstandard.ZstdError as error:
                raise RecordingError(f'{self._path} is damaged: {error}') from error

    def pending(self) -> StoredEpisode | None:
        """The episode that is asked or executed but neither rated nor withdrawn, if any."""
        unfinished = self._episodes("WHERE state IN ('asked', 'executed')")
        return unfinished[-1] if unfinished else None

    def episodes(self) -> tuple[StoredEpisode, ...]:
        """All episodes in order, withdrawn ones included."""
        return self._episodes('')

    def rated(self, episode_id: str) -> StoredEpisode | None:
        """The episode of that name when it has a reward, else None."""
        found = self._episodes("WHERE state = 'rated' AND episode_id = ?", (episode_id,))
        return found[0] if found else None

    def verdicts(self, phase: Phase) -> list[bool]:
        """Whether the task criterion was met, of the judged episodes of one part, in order."""
        return [
            episode.success
            for episode in self._episodes("WHERE state = 'rated'")
            if episode.phase is phase and episode.success is not None
        ]

    def skipped(self) -> tuple[tuple[int, Phase], ...]:
        """Places in the plan that stay empty, and the part of the session they belong to."""
        rows = self._rows('SELECT position, phase FROM skipped ORDER BY position')
        return tuple((row['position'], Phase(row['phase'])) for row in rows)

    def timings(self) -> dict[int, list[Stretch]]:
        """Where the time of each rated episode went, by its number."""
        found: dict[int, list[Stretch]] = {}
        for row in self._rows('SELECT * FROM timing ORDER BY number, rowid'):
            stretch = Stretch(Part(row['part']), Kind(row['kind']), row['seconds'])
            found.setdefault(row['number'], []).append(stretch)
        return found

    def _episodes(self, where: str, values: Sequence[Any] = ()) -> tuple[StoredEpisode, ...]:
        rows = self._rows(f'SELECT * FROM episode {where} ORDER BY number', values)  # noqa: S608
        try:
            return tuple(episode_from_row(row) for row in rows)
        except (ValueError, TypeError, IndexError) as error:
            raise RecordingError(f'{self._path} is damaged: {error}') from error

    def _session(self, column: str) -> Any:
        return self._rows('SELECT * FROM session')[0][column]

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f'cannot read {self._path}: {error}') from error
