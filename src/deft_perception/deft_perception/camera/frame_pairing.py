# SPDX-License-Identifier: Apache-2.0
"""Colour and aligned depth of one instant, and whether the camera still lives.

realsense2_camera gives both images of a frame set the same stamp, so pairs are found by equal
stamps. Whether a stream is alive is judged by when images arrive, on the monotonic clock: stamps
come from another clock, which may differ, jump or stand still.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
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


class FramePairing:
    """Pairs images by stamp, refuses a dead or frozen camera.

    Attributes:
        newest: The newest pair, however old it is; None before the first.
    """

    def __init__(
        self, maximum_age: float, frozen_after: float, clock: MonotonicClock = time.monotonic
    ) -> None:
        """Start without images.

        Args:
            maximum_age: A pair received longer ago than this is stale. [s].
            frozen_after: Depth that stays identical for this long means a frozen camera, as a real
                sensor is noisy. 0 switches the check off. [s].
            clock: Source of monotonic seconds.
        """
        self._maximum_age = maximum_age
        self._frozen_after = frozen_after
        self._clock = clock
        self.newest: ImagePair | None = None
        self._colors: dict[int, Any] = {}
        self._depths: dict[int, tuple[Any, int]] = {}
        self._signature: int | None = None
        self._changed = 0.0

    def add_color(self, stamp_ns: int, image: Any) -> ImagePair | None:
        """Take a colour image; returns the pair if its depth image has already come."""
        self._colors[stamp_ns] = image
        return self._pair(stamp_ns)

    def add_depth(self, stamp_ns: int, image: Any, signature: int) -> ImagePair | None:
        """Take a depth image; returns the pair if its colour image has already come.

        `signature` is a checksum of its pixels: equal signatures mean equal images.
        """
        self._depths[stamp_ns] = (image, signature)
        return self._pair(stamp_ns)

    def latest(self) -> ImagePair:
        """The newest pair.

        Raises:
            StaleDataError: No pair came yet, the last is too old, or the camera is frozen.
        """
        if self.newest is None:
            raise StaleDataError(self._why_no_pair())
        now = self._clock()
        age = now - self.newest.received
        if age > self._maximum_age:
            raise StaleDataError(
                f'The last camera image came {age:.2f} s ago, at most {self._maximum_age:.2f} s '
                'is allowed; is the camera still running and connected?'
            )
        still = self.newest.received - self._changed
        if self._frozen_after > 0.0 and still > self._frozen_after:
            raise StaleDataError(
                f'The depth image has not changed for {still:.2f} s: the camera is frozen; '
                'restart its driver.'
            )
        return self.newest

    def _pair(self, stamp_ns: int) -> ImagePair | None:
        if stamp_ns not in self._colors or stamp_ns not in self._depths:
            for waiting in (self._colors, self._depths):
                while len(waiting) > _CAPACITY:
                    del waiting[next(iter(waiting))]
            return None
        color, (depth, signature) = self._colors.pop(stamp_ns), self._depths.pop(stamp_ns)
        if self.newest is not None and 0 <= self.newest.stamp_ns - stamp_ns < _LATE_NS:
            return None  # late, or the same frame sent again: nothing new, let it grow stale
        now = self._clock()
        if signature != self._signature:
            self._signature, self._changed = signature, now
        self.newest = ImagePair(stamp_ns, color, depth, now)
        return self.newest

    def _why_no_pair(self) -> str:
        if self._colors and self._depths:
            return (
                'Colour and depth arrive with different stamps; start realsense2_camera with '
                'enable_sync:=true align_depth.enable:=true.'
            )
        if self._colors:
            return 'Colour images arrive but no aligned depth; set align_depth.enable:=true.'
        if self._depths:
            return 'Depth images arrive but no colour; set enable_color:=true.'
        return 'No camera image has arrived yet; is the camera node running?'
