# SPDX-License-Identifier: Apache-2.0
"""When to look at the board and where to move next.

Two ways: the arm is driven through given postures, or a person moves it and every new rest that
differs enough from the earlier ones is a look. Time is that of the stamps of arm and camera; they
share a clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from deft_core.errors import StaleDataError
from deft_core.validation import FloatArray
from deft_perception.calibration.hand_eye import pose_difference
from deft_perception.calibration.solve import CalibrationView


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


class ViewCollection:
    """Collects looks until enough views are there or no posture is left.

    Attributes:
        looks: All looks so far.
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
        self.looks: list[Look] = []
        self._wanted = wanted
        self._postures = None if postures is None else deque(postures)
        self._settings = settings
        self._target: FloatArray | None = None
        self._rest_began: ArmPose | None = None
        self._newest: ArmPose | None = None

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
        if not self._postures or self._target is not None or self.finished:
            return None
        self._target = self._postures.popleft()
        self._rest_began = None  # what the arm did before it was sent does not count
        return self._target

    def update(self, arm: ArmPose) -> None:
        """Take a new state of the arm."""
        began, newest = self._rest_began, self._newest
        # Compared with the first pose of the rest, so that a slow creep is a motion too; a clock
        # that begins anew begins a new rest.
        if (
            began is None
            or newest is None
            or arm.stamp < newest.stamp
            or np.abs(arm.joints - began.joints).max() > self._settings.still_tolerance
        ):
            self._rest_began = arm
        self._newest = arm

    def wants_image(self, stamp: float) -> bool:
        """Whether an image of this stamp [s] is to be looked at."""
        began, arm = self._rest_began, self._newest
        if self.finished or began is None or arm is None:
            return False
        if min(stamp, arm.stamp) < began.stamp + self._settings.still_time:
            return False
        if self._postures is not None:
            return (
                self._target is not None and self.missed_by() <= self._settings.arrival_tolerance
            )
        return all(self._differs(arm, look.arm) for look in self.looks)

    def resting_arm(self) -> ArmPose:
        """The arm as it rests.

        Raises:
            StaleDataError: No state of the arm has come.
        """
        if self._newest is None:
            raise StaleDataError('No state of the arm has come; is the arm node running?')
        return self._newest

    def add(self, look: Look) -> None:
        """Take the result of a look and go on."""
        self.looks.append(look)
        self._target = None

    def missed_by(self) -> float:
        """How far the arm is from the posture it was sent to. [rad]."""
        if self._target is None:
            return 0.0
        return float(np.abs(self.resting_arm().joints - self._target).max())

    def _differs(self, first: ArmPose, second: ArmPose) -> bool:
        shift, turn = pose_difference(first.T_base_flange, second.T_base_flange)
        return shift > self._settings.least_shift or turn > self._settings.least_turn
