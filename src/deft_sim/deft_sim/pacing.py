# SPDX-License-Identifier: Apache-2.0
"""Keeps simulated time in step with real time."""

from __future__ import annotations

from deft_core.clock import MonotonicClock


class Pacer:
    """Says how much simulated time is due.

    A machine that is too slow for the wanted factor runs slower; it never makes up for more than
    `longest_step`, so that one slow picture is not followed by a burst.

    Args:
        real_time_factor: Simulated seconds per real second.
        longest_step: Most simulated time given at once. [s].
        clock: Source of monotonic seconds.
    """

    def __init__(
        self, real_time_factor: float, longest_step: float, clock: MonotonicClock
    ) -> None:
        """Start now."""
        self._factor = real_time_factor
        self._longest_step = longest_step
        self._clock = clock
        self._last = clock()

    def due(self, step: float) -> int:
        """How many steps of simulated time to make now.

        Args:
            step: Simulated time of one step. [s].
        """
        now = self._clock()
        elapsed = (now - self._last) * self._factor
        if elapsed > self._longest_step:
            self._last = now - self._longest_step / self._factor
            elapsed = self._longest_step
        steps = int(elapsed / step)
        self._last += steps * step / self._factor
        return steps
