# SPDX-License-Identifier: Apache-2.0
"""A small process that outlives the launch, so that nothing else does.

A launch that is killed with SIGKILL cannot stop its nodes. The guardian is forked before the first
node, in a session of its own, and reads a pipe whose other end the launch and, until they execute
their program, the nodes hold. Every node writes its process group there before its program starts,
so no node can be missed. When the pipe ends, every group that is still registered is stopped:
SIGINT first, so that a recorder can close its bag, then SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Final

from deft_bringup.supervision.groups import signal_group

_POLL_S: Final = 0.05


@dataclass(frozen=True)
class StopLimits:
    """When a stop gets harder, counted from SIGINT.

    Attributes:
        sigterm_s: SIGTERM after this time. [s]
        sigkill_s: SIGKILL after this time. [s]
        abandon_s: What survives even that, such as a process in a dead driver, is reported. [s]
    """

    sigterm_s: float = 5.0
    sigkill_s: float = 10.0
    abandon_s: float = 12.0


class Guardian:
    """The launch's side of the pipe."""

    def __init__(self, limits: StopLimits) -> None:
        """Fork the guardian. Call it before threads and children exist.

        Args:
            limits: Escalation times that the guardian keeps.
        """
        reader, self._writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _run(reader, self._writer, limits)
        os.close(reader)

    @property
    def pipe(self) -> int:
        """File descriptor for `register`, closed automatically when a program is executed."""
        return self._writer

    def forget(self, group: int) -> None:
        """A group has ended; its number may be used by something else from now on."""
        try:
            os.write(self._writer, f'-{group}\n'.encode())
        except BrokenPipeError:
            # Somebody killed the guardian. It has nothing to forget, and the launch that still
            # lives stops its nodes itself.
            return

    def close(self) -> None:
        """End the guardian, which stops what is still registered, and wait for it."""
        os.close(self._writer)
        os.waitpid(self._pid, 0)


def register(pipe: int) -> None:
    """Called in a new child, after it became leader of its group and before its program starts."""
    os.write(pipe, f'+{os.getpid()}\n'.encode())


def _run(reader: int, writer: int, limits: StopLimits) -> None:
    """Body of the guardian process; never returns."""
    try:
        os.close(writer)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The screen of the launch must not stay open because of us.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        _stop(_registered(reader), limits)
    finally:
        # Not sys.exit: the exit handlers of the forked interpreter belong to the launch.
        os._exit(0)


def _registered(reader: int) -> set[int]:
    groups: set[int] = set()
    with os.fdopen(reader, 'r', encoding='ascii') as lines:
        for line in lines:
            group = int(line[1:])
            if line.startswith('+'):
                groups.add(group)
            else:
                groups.discard(group)
    return groups


def _stop(groups: set[int], limits: StopLimits) -> None:
    start = time.monotonic()
    for after_s, number in (
        (0.0, signal.SIGINT),
        (limits.sigterm_s, signal.SIGTERM),
        (limits.sigkill_s, signal.SIGKILL),
    ):
        while time.monotonic() - start < after_s:
            if not any(signal_group(group, 0) for group in groups):
                return
            time.sleep(_POLL_S)
        for group in groups:
            signal_group(group, number)
