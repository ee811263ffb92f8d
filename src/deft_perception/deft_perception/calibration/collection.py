# SPDX-License-Identifier: Apache-2.0
"""When to look at the board and where to move next.

Two ways: the arm is driven through given postures, or a person moves it and every new rest that
differs enough from the earlier ones is a look. Time is that of the stamps of arm and camera; they
share a clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from deft_core.errors import StaleDataError
from deft_core.validation import FloatArray
from deft_perception.calibration.hand_eye import CalibrationView, pose_difference
from deft_perception.calibration.settings import CollectionSettings


@dataclass(frozen=True, eq=False)
class ArmPose:
    """The arm at one instant: joints, shape (n,) [rad], and flange, shape (4, 4) [m]."""

    stamp: float
    joints: FloatArray
    T_base_flange: FloatArray


class ViewCollection:
    """Collects views until enough are there or no posture is left.

    Attributes:
        views: Views that show the board.
        useful: Number of those that nothing speaks against.
        looks: Number of all looks, also of those that did not show the board.
    """

    def __init__(
        self, wanted: int, postures: FloatArray | None, settings: CollectionSettings
    ) -> None:
        """Start without views.

        Args:
            wanted: Useful views to collect.
            postures: Where to drive to, shape (n, joints) [rad]; None when a person moves.
            settings: Rest and newness.
        """
        self.views: list[CalibrationView] = []
        self.useful = self.looks = 0
        self._wanted = wanted
        self._postures = None if postures is None else deque(postures)
        self._settings = settings
        self._target: FloatArray | None = None
        self._rest_began: ArmPose | None = None
        self._newest: ArmPose | None = None

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
        return all(self._differs(arm, view) for view in self.views)

    def resting_arm(self) -> ArmPose:
        """The arm as it rests.

        Raises:
            StaleDataError: No state of the arm has come.
        """
        if self._newest is None:
            raise StaleDataError('No state of the arm has come; is the arm node running?')
        return self._newest

    def add(self, view: CalibrationView | None, *, useful: bool) -> None:
        """Take the result of a look, None where the board was not seen, and go on."""
        self.looks += 1
        self._target = None
        if view is not None:
            self.views.append(view)
            self.useful += useful

    def missed_by(self) -> float:
        """How far the arm is from the posture it was sent to. [rad]."""
        if self._target is None:
            return 0.0
        return float(np.abs(self.resting_arm().joints - self._target).max())

    def _differs(self, arm: ArmPose, view: CalibrationView) -> bool:
        shift, turn = pose_difference(arm.T_base_flange, view.T_base_flange)
        return shift > self._settings.least_shift or turn > self._settings.least_turn
