# SPDX-License-Identifier: Apache-2.0
"""Checks that a pose, a posture and a whole path pass before the arm may move.

This is no safety function in the sense of a standard: keep a hand on the hardware stop.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deft_arm.configuration import ArmConfiguration
from deft_arm.geometry import Clearance, RobotGeometry
from deft_arm.paths import ARM_JOINTS, JointPath
from deft_core.errors import InvalidInputError, SafetyError, UnreachableError
from deft_core.validation import FloatArray, finite_array

_LIMIT_TOLERANCE: Final = 1e-6
_SPEED_TOLERANCE: Final = 1.02  # Finite differences of a sampled profile.
_MEASURED_TOLERANCE: Final = 0.05  # [rad] servo lag and sagging brakes at a limit


class WorkspaceError(UnreachableError):
    """A pose lies outside the box that the hand may enter."""


class CollisionError(SafetyError):
    """A posture runs into the table or into the arm itself."""


class MotionGuard:
    """Applies the limits of an arm configuration; every failed check raises.

    Attributes:
        geometry: Shapes of arm and hand.
    """

    def __init__(self, configuration: ArmConfiguration) -> None:
        """Prepare the limits."""
        self._configuration = configuration
        self._lower = np.asarray(configuration.position_lower)
        self._upper = np.asarray(configuration.position_upper)
        self._speed = np.asarray(configuration.speed_limit)
        # One margin more than is required, so that a distance at the limit is measured.
        self.geometry = RobotGeometry(2.0 * configuration.fold_clearance + 0.01)

    def check_workspace(self, label: str, position: FloatArray) -> None:
        """Refuse a position of the grasp centre outside the box.

        Args:
            label: Which pose it is, for the message.
            position: In the base frame. Shape (3,). [m].

        Raises:
            WorkspaceError: It lies outside.
        """
        lower, upper = self._configuration.workspace_lower, self._configuration.workspace_upper
        if np.all(position >= lower) and np.all(position <= upper):
            return
        raise WorkspaceError(
            f'The {label} at {np.round(position, 3).tolist()} m lies outside the workspace '
            f'{list(lower)} to {list(upper)} m; place the object further inside.'
        )

    def check_posture(self, label: str, arm: FloatArray, hand: FloatArray) -> Clearance:
        """Refuse a posture that touches what it must not touch.

        Args:
            label: Which pose it is, for the message.
            arm: Arm joint positions. Shape (6,). [rad].
            hand: Hand joint positions in `HAND_JOINT_NAMES` order. Shape (16,). [rad].

        Returns:
            The free space that was found.

        Raises:
            CollisionError: Something is lower than allowed or folded into the arm.
        """
        limits = self._configuration
        clearance = self.geometry.clearance(arm, hand)
        heights = (
            ('the arm or the motor housing', clearance.rigid, limits.rigid_clearance),
            ('the palm', clearance.palm, limits.palm_clearance),
            ('the fingers', clearance.fingers, limits.finger_clearance),
        )
        for what, lowest, least in heights:
            height = lowest - limits.table_height
            if height < least:
                raise CollisionError(
                    f'At the {label} {what} would be {height * 1000:.0f} mm above the table, '
                    f'at least {least * 1000:.0f} mm are required; grasp higher or turn the '
                    'wrist up.'
                )
        if clearance.fold < limits.fold_clearance:
            raise CollisionError(
                f'At the {label} the wrist would come within {clearance.fold * 1000:.0f} mm of '
                f'the arm, at least {limits.fold_clearance * 1000:.0f} mm are required; place '
                'the object further from the base.'
            )
        return clearance

    def check_path(self, label: str, path: JointPath) -> None:
        """Refuse a path that leaves the joint travel or is too fast.

        Args:
            label: Which phase it is, for the message.
            path: Planned setpoints.

        Raises:
            SafetyError: A joint would exceed a limit.
        """
        below = path.positions < self._lower - _LIMIT_TOLERANCE
        above = path.positions > self._upper + _LIMIT_TOLERANCE
        outside = np.argwhere(below | above)
        if len(outside):
            step, joint = (int(i) for i in outside[0])
            raise SafetyError(
                f'Phase {label} would move {self._configuration.joint_names[joint]} to '
                f'{path.positions[step, joint]:.3f} rad, allowed is '
                f'{self._lower[joint]} to {self._upper[joint]} rad.'
            )
        excess = path.maximum_speed() / self._speed
        joint = int(np.argmax(excess))
        if excess[joint] > _SPEED_TOLERANCE:
            raise SafetyError(
                f'Phase {label} would move {self._configuration.joint_names[joint]} at '
                f'{excess[joint] * self._speed[joint]:.2f} rad/s, allowed is '
                f'{self._speed[joint]} rad/s.'
            )

    def check_measured(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """Joint positions to start a plan from, moved to the limits where they sag over them.

        Args:
            joint_positions: Measured. Shape (6,). [rad].

        Returns:
            Shape (6,). [rad].

        Raises:
            InvalidInputError: Not six finite numbers.
            SafetyError: A joint is clearly outside its travel.
        """
        measured = finite_array('arm joint positions', joint_positions, (ARM_JOINTS,))
        inside = np.clip(measured, self._lower, self._upper)
        joint = int(np.argmax(np.abs(measured - inside)))
        if abs(measured[joint] - inside[joint]) > _MEASURED_TOLERANCE:
            raise SafetyError(
                f'{self._configuration.joint_names[joint]} is measured at {measured[joint]:.3f} '
                f'rad, allowed is {self._lower[joint]} to {self._upper[joint]} rad; move the '
                'arm back by hand or with the vendor software.'
            )
        return inside


def check_hand(label: str, joint_positions: npt.ArrayLike) -> FloatArray:
    """Hand joint positions as an array, shape (16,). [rad].

    Raises:
        InvalidInputError: Not sixteen finite numbers, or far beyond any hand's travel.
    """
    checked = finite_array(label, joint_positions, (16,))
    if np.any(np.abs(checked) > np.pi):
        raise InvalidInputError(
            f'{label} must be angles within +-pi rad, got {checked.round(2).tolist()}; '
            'are these degrees?'
        )
    return checked
