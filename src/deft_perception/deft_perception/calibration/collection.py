# SPDX-License-Identifier: Apache-2.0
"""When to look at the board and where to move next: the calibration as a plain state machine.

Two ways: the arm is driven through given postures, or a person moves it and every new rest that
differs enough from the earlier ones is a look. Time is that of the stamps of arm and camera; they
share a clock.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from deft_core.errors import DeftError
from deft_core.validation import FloatArray
from deft_perception.calibration.hand_eye_refinement import pose_difference
from deft_perception.calibration.solve import CalibrationView


class MotionFailedError(DeftError):
    """The arm did not come to rest where it was sent."""


class Motion(enum.StrEnum):
    """Who moves the arm.

    Attributes:
        DRIVE: This program, through known postures.
        OPERATOR: A person.
    """

    DRIVE = 'drive'
    OPERATOR = 'operator'


@dataclass(frozen=True)
class CollectionSettings:
    """When the arm rests and when a view is a new one.

    Attributes:
        still_time: The arm must not move for this long before an image counts. [s].
        still_tolerance: Joints that change less do not move. [rad].
        arrival_tolerance: A driven arm must rest this close to its posture. [rad].
        least_turn: A person's view is new if the flange turned by this, or [rad].
        least_shift: shifted by this, since every earlier one. [m].
    """

    still_time: float = field(default=0.5, metadata={'minimum': 0.0, 'maximum': 10.0, 'unit': 's'})
    still_tolerance: float = field(
        default=0.003, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'rad'}
    )
    arrival_tolerance: float = field(
        default=0.03, metadata={'minimum': 0.001, 'maximum': 0.5, 'unit': 'rad'}
    )
    least_turn: float = field(
        default=0.12, metadata={'minimum': 0.0, 'maximum': 3.0, 'unit': 'rad'}
    )
    least_shift: float = field(
        default=0.05, metadata={'minimum': 0.0, 'maximum': 1.0, 'unit': 'm'}
    )


@dataclass(frozen=True, eq=False)
class ArmPose:
    """The arm at one instant.

    Attributes:
        stamp: [s].
        joints: Shape (n,). [rad].
        T_base_flange: Shape (4, 4). [m].
    """

    stamp: float
    joints: FloatArray
    T_base_flange: FloatArray


@dataclass(frozen=True, eq=False)
class Look:
    """What came of one look.

    Attributes:
        arm: Where the arm rested.
        view: The view, or None where the board was not seen.
        reason: Why it is useless, or an empty text.
    """

    arm: ArmPose
    view: CalibrationView | None
    reason: str


class RestWatch:
    """Since when the arm has stood still."""

    def __init__(self, settings: CollectionSettings) -> None:
        """Start without a pose."""
        self._settings = settings
        self._first: ArmPose | None = None
        self.newest: ArmPose | None = None

    def update(self, arm: ArmPose) -> None:
        """Take a new state of the arm."""
        first, newest = self._first, self.newest
        # Compared with the first pose of the rest, so that a slow creep is a motion too; a clock
        # that begins anew begins a new rest.
        moved = (
            first is None
            or newest is None
            or arm.stamp < newest.stamp
            or np.abs(arm.joints - first.joints).max() > self._settings.still_tolerance
        )
        if moved:
            self._first = arm
        self.newest = arm

    def forget(self) -> None:
        """The arm was told to move; what it did before does not count."""
        self._first = None

    @property
    def since(self) -> float | None:
        """Stamp at which the arm came to rest; None while it moves. [s]."""
        if self._first is None or self.newest is None:
            return None
        rested = self.newest.stamp - self._first.stamp >= self._settings.still_time
        return self._first.stamp if rested else None

    def covers(self, stamp: float) -> bool:
        """Whether an image of this stamp [s] was taken while the arm rested."""
        since = self.since
        return since is not None and stamp >= since + self._settings.still_time


class ViewCollection:
    """Collects looks until enough views are there or no posture is left.

    Example:
        >>> collection = ViewCollection(20, None, CollectionSettings())
        >>> collection.update(arm_pose)  # doctest: +SKIP
        >>> if collection.wants_image(image_stamp):  # doctest: +SKIP
        ...     collection.add(look)
    """

    def __init__(
        self, wanted: int, postures: FloatArray | None, settings: CollectionSettings
    ) -> None:
        """Start without views.

        Args:
            wanted: Views to collect.
            postures: Postures to drive to, shape (n, joints) [rad]; None when a person moves.
            settings: Rest and newness.
        """
        self._wanted = wanted
        self._postures = None if postures is None else deque(postures)
        self._settings = settings
        self._target: FloatArray | None = None
        self._rest = RestWatch(settings)
        self.looks: list[Look] = []

    @property
    def views(self) -> list[CalibrationView]:
        """Views that show the board, useful or not."""
        return [look.view for look in self.looks if look.view is not None]

    @property
    def useful(self) -> int:
        """Number of views without a reason against them."""
        return sum(look.view is not None and not look.reason for look in self.looks)

    @property
    def finished(self) -> bool:
        """Enough views, or no posture left."""
        exhausted = self._postures is not None and not self._postures and self._target is None
        return self.useful >= self._wanted or exhausted

    def next_posture(self) -> FloatArray | None:
        """Where to drive now; given once for each posture. None: nowhere."""
        if self._postures is None or self._target is not None or self.finished:
            return None
        if not self._postures:
            return None
        self._target = self._postures.popleft()
        self._rest.forget()
        return self._target

    def skip(self) -> None:
        """Give up the posture that the arm is driving to."""
        self._target = None

    def update(self, arm: ArmPose) -> None:
        """Take a new state of the arm."""
        self._rest.update(arm)

    def wants_image(self, stamp: float) -> bool:
        """Whether an image of this stamp [s] is to be looked at."""
        arm = self._rest.newest
        if self.finished or arm is None or not self._rest.covers(stamp):
            return False
        if self._postures is not None:
            return (
                self._target is not None
                and self._distance(arm) <= self._settings.arrival_tolerance
            )
        return all(self._differs(arm, look.arm) for look in self.looks)

    def resting_arm(self) -> ArmPose:
        """The arm as it rests; only where `wants_image` said yes."""
        assert self._rest.newest is not None
        return self._rest.newest

    def add(self, look: Look) -> None:
        """Take the result of a look and go on."""
        self.looks.append(look)
        self._target = None

    def missed_by(self) -> float:
        """How far the arm is from the posture it was sent to. [rad]."""
        return float('inf') if self._rest.newest is None else self._distance(self._rest.newest)

    def _distance(self, arm: ArmPose) -> float:
        if self._target is None:
            return 0.0
        return float(np.abs(arm.joints - self._target).max())

    def _differs(self, first: ArmPose, second: ArmPose) -> bool:
        shift, turn = pose_difference(first.T_base_flange, second.T_base_flange)
        return shift > self._settings.least_shift or turn > self._settings.least_turn
