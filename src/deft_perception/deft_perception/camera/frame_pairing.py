# SPDX-License-Identifier: Apache-2.0
"""Colour and aligned depth of one instant, and whether the camera still lives.

realsense2_camera gives both images of a frame set the same stamp, so pairs are found by equal
stamps. Whether a stream is alive is judged by when images arrive, on the monotonic clock: stamps
come from another clock, which may differ, jump or stand still.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deft_core.clock import MonotonicClock
from deft_core.errors import InvalidInputError, StaleDataError

ColorT = TypeVar('ColorT')
DepthT = TypeVar('DepthT')
ItemT = TypeVar('ItemT')

_LATE_NS: Final = 1_000_000_000  # farther back is no late image but a clock that began again
_CAPACITY: Final = 6  # images that wait for their partner, a fifth of a second at 30 Hz


@dataclass(frozen=True)
class ImagePair(Generic[ColorT, DepthT]):
    """Two images with equal stamps.

    Attributes:
        stamp_ns: Acquisition time on the camera's clock. [ns].
        color: Colour image, in whatever form it was added.
        depth: Depth image aligned to it.
        received: When the second of the two arrived. [s], monotonic clock.
    """

    stamp_ns: int
    color: ColorT
    depth: DepthT
    received: float


class FramePairing(Generic[ColorT, DepthT]):
    """Pairs images by stamp, keeps the newest pair, refuses a dead or frozen camera.

    Example:
        >>> pairing: FramePairing[str, str] = FramePairing(1.0, 5.0, clock=lambda: 0.0)
        >>> pairing.add_color(7, 'colour') is None
        True
        >>> pairing.add_depth(7, 'depth', signature=1).stamp_ns
        7
    """

    def __init__(
        self, maximum_age: float, frozen_after: float, clock: MonotonicClock = time.monotonic
    ) -> None:
        """Start without images.

        Args:
            maximum_age: A pair received longer ago than this is stale. [s].
            frozen_after: Depth images that stay identical for this long mean a frozen camera.
                A real sensor is noisy, so no two images are alike. 0 switches the check off. [s].
            clock: Source of monotonic seconds.

        Raises:
            InvalidInputError: `maximum_age` is not positive or `frozen_after` is negative.
        """
        if not maximum_age > 0.0 or not frozen_after >= 0.0:
            raise InvalidInputError(
                'maximum_age must be above 0 s and frozen_after at least 0 s, '
                f'got {maximum_age} and {frozen_after}.'
            )
        self._maximum_age = maximum_age
        self._frozen_after = frozen_after
        self._clock = clock
        self._colors: OrderedDict[int, ColorT] = OrderedDict()
        self._depths: OrderedDict[int, tuple[DepthT, int]] = OrderedDict()
        self._latest: ImagePair[ColorT, DepthT] | None = None
        self._signature: int | None = None
        self._changed = 0.0
        self._unpaired = 0

    @property
    def unpaired(self) -> int:
        """Images dropped so far because no partner with the same stamp came."""
        return self._unpaired

    @property
    def newest(self) -> ImagePair[ColorT, DepthT] | None:
        """The newest pair, however old it is; None before the first."""
        return self._latest

    def add_color(self, stamp_ns: int, image: ColorT) -> ImagePair[ColorT, DepthT] | None:
        """Take a colour image; returns the pair if its depth image has already come."""
        partner = self._depths.pop(stamp_ns, None)
        if partner is None:
            self._keep(self._colors, stamp_ns, image)
            return None
        return self._complete(stamp_ns, image, *partner)

    def add_depth(
        self, stamp_ns: int, image: DepthT, signature: int
    ) -> ImagePair[ColorT, DepthT] | None:
        """Take a depth image; returns the pair if its colour image has already come.

        Args:
            stamp_ns: Acquisition time on the camera's clock. [ns].
            image: Depth image in any form.
            signature: Checksum of the pixels; equal signatures mean equal images.
        """
        partner = self._colors.pop(stamp_ns, None)
        if partner is None:
            self._keep(self._depths, stamp_ns, (image, signature))
            return None
        return self._complete(stamp_ns, partner, image, signature)

    def latest(self) -> ImagePair[ColorT, DepthT]:
        """The newest pair.

        Raises:
            StaleDataError: No pair came yet, the last is too old, or the camera is frozen.
        """
        if self._latest is None:
            raise StaleDataError(self._why_no_pair())
        now = self._clock()
        age = now - self._latest.received
        if age > self._maximum_age:
            raise StaleDataError(
                f'The last camera image came {age:.2f} s ago, at most {self._maximum_age:.2f} s '
                'is allowed; is the camera still running and connected?'
            )
        still = self._latest.received - self._changed
        if self._frozen_after > 0.0 and still > self._frozen_after:
            raise StaleDataError(
                f'The depth image has not changed for {still:.2f} s: the camera is frozen; '
                'restart its driver.'
            )
        return self._latest

    def _complete(
        self, stamp_ns: int, color: ColorT, depth: DepthT, signature: int
    ) -> ImagePair[ColorT, DepthT] | None:
        previous = self._latest
        if previous is not None and 0 <= previous.stamp_ns - stamp_ns < _LATE_NS:
            return None  # late, or the same frame sent again: nothing new, let it grow stale
        now = self._clock()
        if signature != self._signature:
            self._signature, self._changed = signature, now
        # Partners of earlier stamps will not come any more.
        for waiting in (self._colors, self._depths):
            for old in [stamp for stamp in waiting if stamp < stamp_ns]:
                del waiting[old]
                self._unpaired += 1
        self._latest = ImagePair(stamp_ns, color, depth, now)
        return self._latest

    def _keep(self, waiting: OrderedDict[int, ItemT], stamp_ns: int, item: ItemT) -> None:
        waiting[stamp_ns] = item
        while len(waiting) > _CAPACITY:
            waiting.popitem(last=False)
            self._unpaired += 1

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
