# SPDX-License-Identifier: Apache-2.0
"""The file of a session: made whole or not at all, opened only when it is whole and ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deft_core.errors import ConfigurationError, RecordingError

SCHEMA_VERSION: Final = 2
_APPLICATION_ID: Final = 0x44454654  # 'DEFT' in the header of the file
_PART: Final = '.part'
_SCHEMA: Final = """
CREATE TABLE session (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    session_id TEXT NOT NULL,
    task TEXT NOT NULL,
    seed TEXT NOT NULL,
    method TEXT NOT NULL,
    predictor TEXT NOT NULL,
    configuration TEXT NOT NULL,
    optimiser TEXT NOT NULL,
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
    state TEXT NOT NULL CHECK (state IN ('asked', 'executed', 'rated', 'withdrawn')),
    reason TEXT NOT NULL
);
CREATE TABLE skipped (position INTEGER PRIMARY KEY, phase INTEGER NOT NULL);
CREATE TABLE unrecorded (
    number INTEGER PRIMARY KEY REFERENCES episode,
    bytes INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE TABLE timing (
    number INTEGER NOT NULL REFERENCES episode,
    part TEXT NOT NULL,
    kind TEXT NOT NULL,
    seconds REAL NOT NULL
);
"""


def leftovers(path: Path) -> frozenset[str]:
    """Names of what a kill during `create_file` can leave beside the file."""
    return frozenset(f'{path.name}{_PART}{suffix}' for suffix in ('', '-wal', '-shm', '-journal'))


def create_file(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make the file; it appears when it is complete and on the disk.

    Only who holds the lock of the run folder may do this.

    Args:
        path: File to create.
        fill: Inserts the first rows.

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
            # From the start: a kill while a file changes to WAL would leave a journal that only
            # a writer can roll back, and no look without changes would be possible.
            connection.execute('PRAGMA journal_mode = WAL')
            connection.executescript(f'PRAGMA synchronous = FULL; BEGIN; {_SCHEMA}')
            fill(connection)
            connection.execute(f'PRAGMA application_id = {_APPLICATION_ID}')
            connection.execute(f'PRAGMA user_version = {SCHEMA_VERSION}')
            connection.execute('COMMIT')
        finally:
            connection.close()
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise RecordingError(f'cannot write {path}: {error}; is the disk full?') from error


def open_file(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a file of this version after a look at it that changes nothing.

    Args:
        path: File to open.
        read_only: Only to look at it.

    Raises:
        RecordingError: No such file, damaged, not one of ours, or it cannot be written.
        ConfigurationError: Written by a newer or an older version of the program.
    """
    if not path.is_file():
        raise RecordingError(f'no session store at {path}; is this a run folder?')
    _check(path)
    try:
        connection = _connect(path, 'ro' if read_only else 'rw')
        if not read_only:
            connection.execute('PRAGMA synchronous = FULL')
            # A folder or file that cannot be written is noticed now, not before the first motion.
            connection.execute('BEGIN IMMEDIATE')
            connection.execute('UPDATE session SET only_row = only_row')
            connection.execute('ROLLBACK')
    except sqlite3.Error as error:
        raise RecordingError(f'cannot open {path}: {error}') from error
    return connection


def _check(path: Path) -> None:
    try:
        connection = _connect(path, 'ro')
        try:
            application = connection.execute('PRAGMA application_id').fetchone()[0]
            version = connection.execute('PRAGMA user_version').fetchone()[0]
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
    if verdict != 'ok':
        what = ' '.join(str(verdict).split())
        raise RecordingError(f'{path} is damaged ({what}); put the original back')


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f'{path.absolute().as_uri()}?mode={mode}', uri=True, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection


def _sync_folder(folder: Path) -> None:
    """Have a new name of the folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
