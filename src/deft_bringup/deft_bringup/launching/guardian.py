# SPDX-License-Identifier: Apache-2.0
"""A small process that stops a launch, also one that was killed.

A launch that is killed with SIGKILL cannot stop its nodes. So the guardian does it always: it is
forked before the first node, leads the process group in which all nodes and their children are,
and reads a pipe whose other end only the launch holds. When the pipe ends, whoever is left in the
group is stopped: SIGINT first, so that a recorder can close its bag, then SIGTERM, then SIGKILL.

A guardian that is killed is followed by another one. Where both are killed at once, the kernel
still sends every node a SIGINT (`end_with_launch`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

_POLL_S: Final = 0.05
_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class StopLimits:
    """When a stop gets harder, counted from SIGINT: SIGTERM, then SIGKILL. [s]."""

    sigterm_s: float = 5.0
    sigkill_s: float = 10.0


class Guardian:
    """The launch's side of the pipe."""

    def __init__(self, limits: StopLimits) -> None:
        """Fork the guardian. Call it before threads and children exist."""
        self._limits = limits
        self.group = 0  # the process group for all nodes
        self._stopping = False
        self._fork()

    def _fork(self) -> None:
        reader, self._writer = os.pipe()
        self._ended = False
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._writer)
            _guard(reader, self.group, self._limits)
        os.close(reader)
        with contextlib.suppress(PermissionError):  # the group of a killed one is empty: all ended
            os.setpgid(self._pid, self.group)  # as the guardian does itself: whoever comes first
        self.group = self.group or self._pid

    def renew(self) -> bool:
        """Fork another guardian where this one was killed; whether it was."""
        if self._stopping or not self.has_ended():
            return False
        os.close(self._writer)
        self._fork()
        return True

    def stop(self) -> None:
        """Let it stop everything; it ends when nothing is left."""
        if not self._stopping:
            self._stopping = True
            os.close(self._writer)

    def has_ended(self) -> bool:
        """Whether it has done its work or was killed."""
        self._ended = self._ended or os.waitpid(self._pid, os.WNOHANG)[0] != 0
        return self._ended

    def kill_group(self) -> None:
        """SIGKILL whoever is left, when there is no guardian any more."""
        try:
            os.killpg(self.group, signal.SIGKILL)
        except ProcessLookupError:
            return


def end_with_launch() -> None:
    """Ask the kernel for a SIGINT to this process when its parent dies; it outlasts an exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _guard(reader: int, group: int, limits: StopLimits) -> NoReturn:
    """Body of the guardian process; group 0: one of its own."""
    try:
        os.setpgid(0, group)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The screen of the launch must not stay open because of us.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # Nor the output of the nodes, which a follower inherits: they would wait for a reader.
        for descriptor in [int(entry.name) for entry in Path('/proc/self/fd').iterdir()]:
            if descriptor not in (0, 1, 2, reader):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        while os.read(reader, 1):
            pass
        start = time.monotonic()
        for after_s, number in (
            (0.0, signal.SIGINT),
            (limits.sigterm_s, signal.SIGTERM),
            (limits.sigkill_s, signal.SIGKILL),
        ):
            while _others_live() and time.monotonic() - start < after_s:
                time.sleep(_POLL_S)
            if not _others_live():
                break
            os.killpg(0, number)
    finally:
        # Not sys.exit: the exit handlers of the forked interpreter belong to the launch.
        os._exit(0)


def _others_live() -> bool:
    """Whether this process group has members that are not this process and no zombies."""
    own, own_group = os.getpid(), os.getpgid(0)
    for folder in Path('/proc').iterdir():
        if not folder.name.isdigit() or int(folder.name) == own:
            continue
        try:
            stat = (folder / 'stat').read_text(encoding='utf-8', errors='replace')
        except OSError:  # it has just ended
            continue
        state, _parent, group, *_rest = stat.rpartition(')')[2].split()
        if int(group) == own_group and state not in 'ZX':
            return True
    return False
