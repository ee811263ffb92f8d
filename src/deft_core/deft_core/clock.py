# SPDX-License-Identifier: Apache-2.0
"""Time-outs on the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable

MonotonicClock = Callable[[], float]


class Deadline:
    """A point in time that either has passed or has not."""

    def __init__(self, duration: float, clock: MonotonicClock = time.monotonic) -> None:
        """Start counting; `duration` in seconds."""
        self._clock = clock
        self._end = clock() + duration

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._clock() >= self._end

    @property
    def remaining(self) -> float:
        """Time left, never negative. [s]."""
        return max(0.0, self._end - self._clock())
