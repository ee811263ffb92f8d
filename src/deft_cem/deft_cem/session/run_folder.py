# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: who may write to it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from deft_cem.session.store import leftovers
from deft_core.errors import ConfigurationError, RecordingError

STORE_FILE: Final = 'session.sqlite'
_LOCK_FILE: Final = 'session.lock'
# What other programs of the same launch, or a kill before the store was there, may have left.
_TOLERATED: Final = frozenset({'log', 'logs', _LOCK_FILE}) | leftovers(Path(STORE_FILE))


class RunOccupiedError(ConfigurationError):
    """The folder of the run holds something else, or another process is at it."""


class RunFolder:
    """The folder of a run while one process owns it; no other session may use it meanwhile.

    The lock belongs to the process and ends with it, also with a kill.
    """

    def __init__(self, directory: Path) -> None:
        """Make the folder, or find the session in it, and lock it.

        Raises:
            RunOccupiedError: It holds something else, or another process owns it.
            ConfigurationError: It is a file.
            RecordingError: It cannot be made or written.
        """
        self.directory = directory
        self.store = directory / STORE_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            occupants = sorted(entry.name for entry in directory.iterdir())
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(
                f'{directory} is a file or lies in one, expected a folder for the run'
            ) from error
        except OSError as error:
            raise RecordingError(f'cannot use {directory} as run folder: {error}') from error
        self.holds_session = STORE_FILE in occupants
        occupants = [name for name in occupants if name not in _TOLERATED]
        if occupants and not self.holds_session:
            raise RunOccupiedError(
                f'the run folder {directory} is occupied ({", ".join(occupants[:3])}) and holds '
                'no session to go on with; choose another one or remove it'
            )
        self._lock = self._take_lock()

    def release(self) -> None:
        """Let others use the folder; a second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> int | None:
        try:
            descriptor = os.open(self.directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordingError(f'cannot use {self.directory} as run folder: {error}') from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise RunOccupiedError(
                f'another process runs the session in {self.directory}; wait for it or stop it'
            ) from error
        return descriptor
