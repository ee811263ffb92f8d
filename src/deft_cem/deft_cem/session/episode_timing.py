# SPDX-License-Identifier: Apache-2.0
"""Where the time of an episode goes: software, robot, sensor or person.

At every moment of an episode exactly one of them is what it waits for, so the parts add up to the
whole and nothing is left out. What the software adds is what is neither of the other three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Part(Enum):
    """Parts of an episode, in order."""

    RESET = 'reset'  # the way home, then the scene is laid out
    OBSERVE = 'observe'  # a picture, the object in it
    PREDICT = 'predict'  # the prior
    SAMPLE = 'sample'  # the residual, committed to the store
    EXECUTE = 'execute'  # the plan, then the motion
    LAST_IMAGE = 'last_image'
    REWARD = 'reward'  # the score, and what of it is committed and published


class Kind(Enum):
    """What an episode waits for."""

    SOFTWARE = 'software'
    MOTION = 'motion'
    SENSOR = 'sensor'  # the next picture of the camera
    PERSON = 'person'  # or who stands in for one


@dataclass(frozen=True)
class Stretch:
    """Time that one part of an episode spent waiting for one thing.

    Attributes:
        part: Part of the episode.
        kind: What was waited for.
        seconds: On a monotonic clock. [s]
    """

    part: Part
    kind: Kind
    seconds: float


class EpisodeClock:
    """Adds up the time of one episode.

    Example:
        >>> now = iter([0.0, 2.0, 2.5])
        >>> watch = EpisodeClock(lambda: next(now))
        >>> watch.switch(Part.EXECUTE, Kind.MOTION)
        >>> watch.switch(Part.REWARD, Kind.SOFTWARE)
        >>> [stretch.seconds for stretch in watch.stop()]
        [2.0, 0.5]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait for the first `switch`.

        Args:
            clock: Source of monotonic seconds.
        """
        self._clock = clock
        self._seconds: dict[tuple[Part, Kind], float] = {}
        self._running: tuple[Part, Kind] | None = None
        self._since = 0.0

    def switch(self, part: Part, kind: Kind) -> None:
        """From now on the episode is in `part` and waits for `kind`."""
        self._stop_running()
        self._running = (part, kind)

    def stop(self) -> tuple[Stretch, ...]:
        """The episode is over; where its time went, in the order in which it was first spent."""
        self._stop_running()
        return tuple(Stretch(*key, seconds) for key, seconds in self._seconds.items())

    def _stop_running(self) -> None:
        now = self._clock()
        if self._running is not None:
            spent = self._seconds.get(self._running, 0.0) + now - self._since
            self._seconds[self._running] = spent
        self._running, self._since = None, now


def overhead(stretches: Iterable[Stretch]) -> float:
    """What the software itself added to one episode. [s]."""
    return sum(stretch.seconds for stretch in stretches if stretch.kind is Kind.SOFTWARE)


def timing_table(episodes: Sequence[Sequence[Stretch]]) -> list[Mapping[str, Any]]:
    """Median and 95th percentile of each part and kind over some episodes, largest kinds apart.

    Args:
        episodes: Stretches of each episode, at least one episode.

    Returns:
        Rows with part, kind, episodes, median_s and p95_s; an episode without such a stretch
        (nobody is asked about a grasp that could not be tried) does not count in its row.
    """
    rows: list[Mapping[str, Any]] = []
    for kind in Kind:
        for part in Part:
            spent = [
                stretch.seconds
                for stretches in episodes
                for stretch in stretches
                if (stretch.part, stretch.kind) == (part, kind)
            ]
            if spent:
                rows.append({'part': part.value, 'kind': kind.value, **_spread(spent)})
    return rows


def overhead_spread(episodes: Sequence[Sequence[Stretch]]) -> dict[str, float | int] | None:
    """Number of episodes, median and 95th percentile of `overhead`; None without episodes."""
    return _spread([overhead(stretches) for stretches in episodes]) if episodes else None


def _spread(seconds: Sequence[float]) -> dict[str, float | int]:
    return {
        'episodes': len(seconds),
        'median_s': round(float(np.median(seconds)), 4),
        'p95_s': round(float(np.percentile(seconds, 95.0)), 4),
    }
