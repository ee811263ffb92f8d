# SPDX-License-Identifier: Apache-2.0
"""Lines of many processes on one screen and in one log file."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

from deft_bringup.process import Output

# Bright enough on dark and light terminals: cyan, green, yellow, blue, magenta, bright cyan.
_COLOURS: Final = ('36', '32', '33', '34', '35', '96')


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Colour only on a terminal, and never when `NO_COLOR` is set to anything."""
    return stream.isatty() and not environment.get('NO_COLOR')


def log_directory(environment: Mapping[str, str]) -> Path:
    """Folder of ROS logs: `ROS_LOG_DIR`, else `ROS_HOME`/log, else `~/.ros/log`."""
    folder = environment.get('ROS_LOG_DIR')
    if folder:
        return Path(folder).expanduser()
    return Path(environment.get('ROS_HOME') or '~/.ros').expanduser() / 'log'


class Screen:
    """Prefixes lines with the label of their process."""

    def __init__(self, stream: TextIO, *, colour: bool, log_folder: Path) -> None:
        """Create a screen.

        Args:
            stream: Where lines go.
            colour: Colour the prefixes.
            log_folder: Parent folder of the log file, made with the first line for it.
        """
        self._stream = stream
        self._colour = colour
        self._log_folder = log_folder
        self._log: TextIO | None = None
        self._colours: dict[str, str] = {}
        self.log_file: Path | None = None

    def message(self, text: str) -> None:
        """Print a line of the launch itself."""
        self._print('launch', text)

    def line(self, label: str, text: str, output: Output, *, is_error: bool) -> None:
        """Print a line of a process where its `output` attribute says.

        Args:
            label: Label of the process.
            text: Line without its end.
            output: Destination.
            is_error: The line came from standard error.

        Raises:
            BrokenPipeError: Nobody reads the screen any more.
        """
        if output != 'screen':
            self._write_log(label, text)
        if output != 'log' or is_error:
            self._print(label, text)

    def _print(self, label: str, text: str) -> None:
        prefix = f'[{label}]'
        if self._colour:
            colour = self._colours.setdefault(label, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f'\x1b[{colour}m{prefix}\x1b[0m'
        self._stream.write(f'{prefix} {text}\n')
        self._stream.flush()

    def _write_log(self, label: str, text: str) -> None:
        if self._log is None:
            # Local time with the host and process, as the folders of ros2 launch are named.
            stamp = datetime.now().astimezone().strftime('%Y-%m-%d-%H-%M-%S-%f')
            folder = self._log_folder / f'{stamp}-{socket.gethostname()}-{os.getpid()}'
            folder.mkdir(parents=True, exist_ok=True)
            self.log_file = folder / 'launch.log'
            self._log = self.log_file.open('w', encoding='utf-8')
        self._log.write(f'{time.time():.7f} [{label}] {text}\n')
        self._log.flush()

    def close(self) -> None:
        """Close the log file."""
        if self._log is not None:
            self._log.close()
            self._log = None
