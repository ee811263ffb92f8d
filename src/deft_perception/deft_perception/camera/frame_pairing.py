# SPDX-License-Identifier: Apache-2.0
"""Colour and aligned depth of one instant, and whether the camera still lives.

realsense2_camera gives both images of a frame set the same stamp, so pairs are found by equal
stamps. Whether a stream is alive is judged by when images arrive, on the monotonic clock: stamps
come from another clock, which may differ, jump or stand still.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from deft_core.clock import MonotonicClock
from deft_core.errors import StaleDataError

_LATE_NS: Final = 1_000_000_000  # farther back is no late image but a clock that began again
_CAPACITY: Final = 6  # images that wait for their partner, a fifth of a second at 30 Hz


@dataclass(frozen=True)
class ImagePair:
    """Two images with equal stamps [ns], in whatever form they were added.

    `received` says when the second of the two arrived. [s], monotonic clock.
    """

    stamp_ns: int
    color: Any
    depth: Any
    received: float


@dataclass(eq=False)
class _Stream:
    """One of the two streams; times on the monotonic clock. [s]."""

    waiting: dict[int, Any] = field(default_factory=dict)  # by stamp [ns]
    signature: int | None = None  # of the newest image
    came: float = float('-inf')  # the newest image
    changed: float = float('-inf')  # the picture

    def take(self, stamp_ns: int, image: Any, signature: int | None, now: float) -> None:
        self.waiting[stamp_ns] = image
        if len(self.waiting) > _CAPACITY:
            del self.waiting[next(iter(self.waiting))]
        if signature is None or signature != self.signature:
            self.changed = now
        self.signature, self.came = signature, now


class FramePairing:
    """Pairs images by stamp, refuses a dead or frozen camera.

    A signature is a checksum of the pixels: equal ones mean equal images. None is that of a
    picture in which nothing is seen, for one such picture is as good as another.

    Attributes:
        newest: The newest pair, however old it is; None before the first.
    """

    def __init__(
        self, maximum_age: float, frozen_after: float, clock: MonotonicClock = time.monotonic
    ) -> None:
        """Start without images.

        Args:
            maximum_age: A pair received longer ago than this is stale. [s].
            frozen_after: Colour or depth that stays identical for this long means a frozen
                camera, as a real sensor is noisy. 0 switches the check off. [s].
            clock: Source of monotonic seconds.
        """
        self._maximum_age = maximum_age
        self._frozen_after = frozen_after
        self._clock = clock
        self.newest: ImagePair | None = None
        self._color, self._depth = _Stream(), _Stream()

    def add_color(
        self, stamp_ns: int, image: Any, signature: int | None = None
    ) -> ImagePair | None:
        """Take a colour image; returns the pair if its depth image has already come."""
        self._color.take(stamp_ns, image, signature, self._clock())
        return self._pair(stamp_ns)

    def add_depth(self, stamp_ns: int, image: Any, signature: int | None) -> ImagePair | None:
        """Take a depth image; returns the pair if its colour image has already come."""
        self._depth.take(stamp_ns, image, signature, self._clock())
        return self._pair(stamp_ns)

    def latest(self) -> ImagePair:
        """The newest pair.

        Raises:
            StaleDataError: No pair came yet, the last is too old, or the camera is frozen.
        """
        now = self._clock()
        if self.newest is None or now - self.newest.received > self._maximum_age:
            raise StaleDataError(self._why_no_pair(now))
        # Where depth shows nothing the lens is covered: the driver lives, and the picture says it.
        if self._frozen_after > 0.0 and self._depth.signature is not None:
            for name, stream in (('colour', self._color), ('depth', self._depth)):
                still = stream.came - stream.changed
                if still > self._frozen_after:
                    raise StaleDataError(
                        f'The {name} image has not changed for {still:.2f} s: the camera is '
                        'frozen; restart its driver.'
                    )
        return self.newest

    def _pair(self, stamp_ns: int) -> ImagePair | None:
        colors, depths = self._color.waiting, self._depth.waiting
        if stamp_ns not in colors or stamp_ns not in depths:
            return None
        color, depth = colors.pop(stamp_ns), depths.pop(stamp_ns)
        if self.newest is not None and 0 <= self.newest.stamp_ns - stamp_ns < _LATE_NS:
            return None  # late, or the same frame sent again: nothing new, let it grow stale
        self.newest = ImagePair(stamp_ns, color, depth, self._clock())
        return self.newest

    def _why_no_pair(self, now: float) -> str:
        received = float('-inf') if self.newest is None else self.newest.received
        since = '' if self.newest is None else f' for {now - received:.2f} s'
        # Of two streams that ended together the one is hardly older than the other.
        alive = now - 0.5 * self._maximum_age
        color, depth = self._color.came >= alive, self._depth.came >= alive
        if color and depth and self._color.waiting and self._depth.waiting:
            return (
                f'Colour and depth arrive with different stamps{since}; start realsense2_camera '
                'with enable_sync:=true align_depth.enable:=true.'
            )
        if color and not depth:
            return (
                f'Colour images arrive but no aligned depth{since}; set align_depth.enable:=true, '
                'or restart the camera.'
            )
        if depth and not color:
            return (
                f'Depth images arrive but no colour{since}; set enable_color:=true, or restart '
                'the camera.'
            )
        if self.newest is None:
            return 'No camera image has arrived yet; is the camera node running?'
        return (
            f'The last new camera image came {now - received:.2f} s ago, at most '
            f'{self._maximum_age:.2f} s is allowed; is the camera still running and connected?'
        )
