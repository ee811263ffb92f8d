# SPDX-License-Identifier: Apache-2.0
"""Closed-form maps between the joints and the motors of a hand.

`DirectMap` is that of a hand with a motor on every joint, such as LEAP. `TendonMap` is that of
tendon motors (paper, appendix B), which do not see the joints. What they hold is a tendon length,
reduced by what the position loop gives way under the pull of the flexures:

    side, forward:  c = r q + k q / (K r)
    PIP and DIP:    c = L + f / K,  L = r_p q_p + r_d q_d,  f = L / (r_p^2 / k_p + r_d^2 / k_d)

with excursion c, moment arms r, flexure stiffnesses k, stiffness K of the position loop and tendon
tension f. One tendon cannot choose PIP and DIP apart: it sets L, and in free space the flexures
share it in the ratio (r_p / k_p) : (r_d / k_d). A map learned from observed joint angles corrects
what friction and contact add to this.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import MOTOR_NAMES, MOTOR_OF_JOINT, TENDON, HandDescription

_JOINT_COUNT = len(HAND_JOINT_NAMES)
_MOTOR_COUNT = len(MOTOR_NAMES)


class JointMap(Protocol):
    """Joints to motors and back, for one hand with n motors.

    Joints are in `HAND_JOINT_NAMES` order, motors in `HandDescription.motor_names` order. Every
    method raises InvalidInputError where it gets no finite numbers of the shape it names.
    """

    @property
    def description(self) -> HandDescription:
        """The hand."""

    @property
    def lower(self) -> FloatArray:
        """Motor commands at the lowest joint positions. Shape (n,). [rad]."""

    @property
    def upper(self) -> FloatArray:
        """Motor commands at the highest joint positions. Shape (n,). [rad]."""

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """Commands (n,) [rad] that bring the free hand to joint positions (16,) [rad]."""

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """Joints (16,) [rad], within the travel, where commands (n,) [rad] let the hand settle."""

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """Joints (16,) [rad], within the travel, of the free hand at measured (n,) [rad]."""


class DirectMap:
    """Joints to motor commands and back; both are one."""

    def __init__(self, description: HandDescription) -> None:
        """Take the travel of the joints."""
        self.description = description
        self.lower, self.upper = description.joint_limits()
        self.lower.setflags(write=False)
        self.upper.setflags(write=False)

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """The same numbers, checked; see `JointMap`. Shape (16,). [rad]."""
        return finite_array('hand joint positions', joint_positions, (_JOINT_COUNT,))

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """The commands within the travel; see `JointMap`. Shape (16,). [rad]."""
        return self._inside('motor commands', commands)

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """The positions within the travel; see `JointMap`. Shape (16,). [rad]."""
        return self._inside('motor positions', motor_positions)

    def _inside(self, name: str, values: npt.ArrayLike) -> FloatArray:
        checked = finite_array(name, values, (_JOINT_COUNT,))
        return np.asarray(np.clip(checked, self.lower, self.upper), dtype=np.float64)


class TendonMap:
    """Joints to motor commands and back, for one hand."""

    def __init__(self, description: HandDescription) -> None:
        """Precompute the linear maps of the hand."""
        tendons = description.tendons
        if tendons is None:
            raise ConfigurationError(f'Hand {description.name} has no tendons to map.')
        self.description = description
        self._joint_lower, self._joint_upper = description.joint_limits()
        self._spool_radius = tendons.spool_radius
        moment_arms = description.moment_arms()
        # What one newton of tension pulls out of each free joint. [rad/N].
        self._yields = moment_arms / description.stiffnesses()
        # excursion (12,) = arms (12, 16) @ joints (16,): PIP and DIP share a row.
        self._arms = np.zeros((_MOTOR_COUNT, _JOINT_COUNT))
        for joint, arm in enumerate(moment_arms):
            self._arms[MOTOR_OF_JOINT[joint], joint] = arm
        self._moved = [np.flatnonzero(row) for row in self._arms]
        compliance = self._arms @ self._yields
        # Excursion that the position loop gives way, as a share of the excursion reached.
        self._give = 1.0 / (tendons.servo_stiffness * compliance)
        self.lower = self._command(self._joint_lower)
        self.upper = self._command(self._joint_upper)
        self.lower.setflags(write=False)
        self.upper.setflags(write=False)

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`; PIP and DIP count only through the length of their tendon. (12,)."""
        return self._command(
            finite_array('hand joint positions', joint_positions, (_JOINT_COUNT,))
        )

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        checked = finite_array('motor commands', commands, (_MOTOR_COUNT,))
        return self._joints(checked * self._spool_radius / (1.0 + self._give))

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`; behind a spool the tendon gives way as it does for a command."""
        checked = finite_array('motor positions', motor_positions, (_MOTOR_COUNT,))
        return self._joints(checked * self._spool_radius / (1.0 + self._give))

    def _command(self, joints: FloatArray) -> FloatArray:
        excursion = self._arms @ joints
        return np.asarray(excursion * (1.0 + self._give) / self._spool_radius, dtype=np.float64)

    def _joints(self, excursion: FloatArray) -> FloatArray:
        """Joint positions of the free hand at tendon excursions, shape (12,). [m]."""
        joints = np.empty(_JOINT_COUNT)
        for motor, (moved, pulled) in enumerate(zip(self._moved, excursion, strict=True)):
            if len(moved) == 1:
                joints[moved] = pulled / self._arms[motor, moved]
            else:
                joints[moved] = self._share(motor, moved, float(pulled))
        return np.asarray(np.clip(joints, self._joint_lower, self._joint_upper), dtype=np.float64)

    def _share(self, motor: int, joints: npt.NDArray[np.intp], excursion: float) -> FloatArray:
        """PIP and DIP at an excursion of their tendon [m]; a stop passes the rest on."""
        arms, upper = self._arms[motor, joints], self._joint_upper[joints]
        shared = excursion * self._yields[joints] / float(arms @ self._yields[joints])
        for stopped, other in ((0, 1), (1, 0)):
            if shared[stopped] > upper[stopped]:
                rest = excursion - arms[stopped] * upper[stopped]
                shared[[stopped, other]] = upper[stopped], rest / arms[other]
                break
        return np.asarray(shared, dtype=np.float64)


def closed_form_map(description: HandDescription) -> JointMap:
    """The map that follows from the numbers in the file of the hand."""
    if description.transmission == TENDON:
        return TendonMap(description)
    return DirectMap(description)
