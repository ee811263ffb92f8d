# SPDX-License-Identifier: Apache-2.0
"""Offline training as its own process: the same command that a user runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from deft_core.clock import Deadline
from deft_core.errors import TrainingError

LOG_FILE: Final = 'training.log'
_STOP_S: Final = 2.0  # [s] between the polite and the other way to end it


class TrainingProcess:
    """`deft train RUN` in the background; asked by `poll`, never waited for."""

    def __init__(self, run_directory: Path, settings: Path, seed: int, *, timeout: float) -> None:
        """Start it with this monotonic time allowed [s]; it writes training.log in the run folder.

        Raises:
            TrainingError: The process cannot be started.
        """
        self._log = run_directory / LOG_FILE
        self._timeout = timeout
        self._deadline = Deadline(timeout)
        command = [
            sys.executable,
            '-m',
            'deft_cem.commands.train',
            str(run_directory),
            '--settings',
            str(settings),
            '--seed',
            str(seed),
        ]
        try:
            with self._log.open('wb') as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        except OSError as error:
            raise TrainingError(f'training cannot be started: {error}') from error

    def poll(self) -> bool:
        """Whether training has ended well; False while it runs.

        Raises:
            TrainingError: It failed, with the last line it wrote, or takes too long.
        """
        code = self._process.poll()
        if code is None:
            if self._deadline.passed:
                self.stop()
                raise TrainingError(f'training took over {self._timeout:.0f} s and was stopped')
            return False
        if code != 0:
            raise TrainingError(f'training ended with exit code {code}: {self._last_line()}')
        return True

    def stop(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        lines = self._log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
        return lines[-1] if lines else f'nothing was written to {self._log}'
