# SPDX-License-Identifier: Apache-2.0
"""When which message of a bag is due: the spacing of the recording, divided by a rate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Final

from deft_bag.reader import RawMessage
from deft_core.clock import MonotonicClock
from deft_core.errors import InvalidInputError

# A longer gap is no pause but a clock that began anew, or ran only later: not waited for.
LONGEST_GAP: Final = 3600.0  # [s] of recording


class Playback:
    """Hands out recorded messages as their time comes; the bag is read as it goes."""

    def __init__(
        self,
        messages: Iterator[RawMessage],
        *,
        rate: float,
        delay: float = 0.0,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            messages: In the order of recording.
            rate: Recorded seconds in one second, above 0.
            delay: Time before the first message. [s]
            clock: Source of monotonic seconds.

        Raises:
            InvalidInputError: A rate or a delay that cannot be.
        """
        if not (math.isfinite(rate) and rate > 0.0):
            raise InvalidInputError(f'rate is {rate}, expected a number above 0')
        if not (math.isfinite(delay) and delay >= 0.0):
            raise InvalidInputError(f'delay is {delay}, expected 0 or more seconds')
        self._messages = messages
        self._rate = rate
        self._clock = clock
        self._start = clock() + delay
        self._recorded = 0.0  # [s] of recording before the waiting message
        self._last_stamp: int | None = None
        self._waiting: RawMessage | None = None
        self._advance()

    @property
    def finished(self) -> bool:
        """Whether every message was handed out."""
        return self._waiting is None

    def due(self, limit: int) -> Iterator[RawMessage]:
        """Messages whose time has come.

        Raises:
            RecordingError: The bag is damaged further on.
        """
        for _ in range(limit):
            message = self._waiting
            if message is None or self._clock() < self._start + self._recorded / self._rate:
                return
            self._advance()
            yield message

    def _advance(self) -> None:
        self._waiting = next(self._messages, None)
        if self._waiting is None:
            return
        stamp = self._waiting.log_time
        if self._last_stamp is not None:
            # The clock of a simulation begins anew after an interruption; time here does not.
            gap = (stamp - self._last_stamp) * 1e-9
            self._recorded += gap if 0.0 < gap <= LONGEST_GAP else 0.0
        self._last_stamp = stamp
