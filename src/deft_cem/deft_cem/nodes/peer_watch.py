# SPDX-License-Identifier: Apache-2.0
"""Waits until all other nodes of a session are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deft_core.clock import Deadline
from deft_core.errors import DeviceError

_REMINDER_PERIOD: Final = 5.0  # [s] of real time between two lines about who is missing


class PeerWatch:
    """One wait for the peers of a session."""

    def __init__(
        self, timeout: float, missing: Callable[[], list[str]], remind: Callable[[str], None]
    ) -> None:
        """Begin to wait.

        Args:
            timeout: Monotonic time allowed. [s].
            missing: Names of what is not there.
            remind: Takes a sentence about who is still missing.
        """
        self._timeout = timeout
        self._deadline = Deadline(timeout)
        self._missing = missing
        self._remind = remind
        self._next_reminder = time.monotonic() + _REMINDER_PERIOD

    def complete(self) -> bool:
        """Whether nobody is missing any more.

        Raises:
            DeviceError: The time is over; names who is missing.
        """
        missing = ', '.join(self._missing())
        if not missing:
            return True
        if self._deadline.passed:
            raise DeviceError(
                f'still missing after {self._timeout:.0f} s: {missing}; look at the output of '
                'the nodes that offer them'
            )
        if time.monotonic() >= self._next_reminder:
            self._next_reminder += _REMINDER_PERIOD
            self._remind(f'Waiting for {missing}.')
        return False
