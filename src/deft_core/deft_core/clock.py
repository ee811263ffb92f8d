# SPDX-License-Identifier: Apache-2.0
"""Time-outs on the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable

MonotonicClock = Callable[[], float]


class AwakeClock:
    """Monotonic time without the stretches in which this process was held up.

    Who is stopped, or swapped out, hears nobody: others were not silent for so long.

    Attributes:
        held_ups: How often that was noticed.
    """

    def __init__(self, longest: float, clock: MonotonicClock = time.monotonic) -> None:
        """Start counting.

        Args:
            longest: Longest time between two looks at it, which is to be looked at all the time;
                after more the process was held up. [s].
            clock: What it counts on.
        """
        self._longest = longest
        self._clock = clock
        self._looked_at = clock()
        self._lost = 0.0
        self.held_ups = 0

    def __call__(self) -> float:
        """Seconds that this process has been awake."""
        now = self._clock()
        since = now - self._looked_at
        self._looked_at = now
        if since > self._longest:
            self._lost += since
            self.held_ups += 1
        return now - self._lost


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
