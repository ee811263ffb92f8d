# SPDX-License-Identifier: Apache-2.0
"""Closed-form map between hand joints and tendon motors (paper, appendix B).

The motors do not see the joints. What they hold is a tendon length, reduced by what the position
loop gives way under the pull of the flexures:

    side, forward:  c = r q + k q / (K r)
    PIP and DIP:    c = L + f / K,  L = r_p q_p + r_d q_d,  f = L / (r_p^2 / k_p + r_d^2 / k_d)

with excursion c, moment arms r, flexure stiffnesses k, stiffness K of the position loop and tendon
tension f. One tendon cannot choose PIP and DIP apart: it sets L, and in free space the flexures
share it in the ratio (r_p / k_p) : (r_d / k_d). A map learned from observed joint angles corrects
what friction and contact add to this.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deft_core.grasp import FINGERS, HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import MOTOR_NAMES, FingerDescription, HandDescription

_JOINT_COUNT = len(HAND_JOINT_NAMES)
_MOTOR_COUNT = len(MOTOR_NAMES)


class TendonMap:
    """Joints to motor commands and back, for one hand.

    Attributes:
        description: The hand.
        lower: Motor commands at the lowest joint positions. Shape (12,). [rad].
        upper: Motor commands at the highest joint positions. Shape (12,). [rad].
    """

    def __init__(self, description: HandDescription) -> None:
        """Precompute the linear maps of the hand."""
        self.description = description
        fingers = [description.fingers[name] for name in FINGERS]
        self._joint_lower, self._joint_upper = description.joint_limits()
        # excursion (12,) = arms (12, 16) @ joints (16,): PIP and DIP share a row.
        self._arms = np.zeros((_MOTOR_COUNT, _JOINT_COUNT))
        compliance = np.empty(_MOTOR_COUNT)
        for index, finger in enumerate(fingers):
            row, column = 3 * index, 4 * index
            self._arms[row, column] = finger.side.moment_arm
            self._arms[row + 1, column + 1] = finger.forward.moment_arm
            self._arms[row + 2, column + 2] = finger.pip.moment_arm
            self._arms[row + 2, column + 3] = finger.dip.moment_arm
            compliance[row : row + 3] = _tendon_compliances(finger)
        # Excursion that the position loop gives way, as a share of the excursion reached.
        self._give = 1.0 / (description.servo_stiffness * compliance)
        self.lower = self._command(self._joint_lower)
        self.upper = self._command(self._joint_upper)
        self.lower.setflags(write=False)
        self.upper.setflags(write=False)

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """Motor commands that bring the free hand to joint positions.

        Args:
            joint_positions: Wanted, in `HAND_JOINT_NAMES` order. Shape (16,). [rad]. PIP and DIP
                of a finger count only through the length of the tendon that they share.

        Returns:
            Commands in `MOTOR_NAMES` order. Shape (12,). [rad].

        Raises:
            InvalidInputError: Not sixteen finite numbers.
        """
        return self._command(
            finite_array('hand joint positions', joint_positions, (_JOINT_COUNT,))
        )

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """Joint positions where the free hand settles under motor commands.

        Args:
            commands: In `MOTOR_NAMES` order. Shape (12,). [rad].

        Returns:
            In `HAND_JOINT_NAMES` order, within the travel. Shape (16,). [rad].

        Raises:
            InvalidInputError: Not twelve finite numbers.
        """
        checked = finite_array('motor commands', commands, (_MOTOR_COUNT,))
        return self._joints(checked * self.description.spool_radius / (1.0 + self._give))

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """Joint positions of the free hand at measured motor positions.

        A measured position is the tendon length itself: what the position loop gives way is
        already missing in it.

        Args:
            motor_positions: Measured, in `MOTOR_NAMES` order. Shape (12,). [rad].

        Returns:
            In `HAND_JOINT_NAMES` order, within the travel. Shape (16,). [rad].

        Raises:
            InvalidInputError: Not twelve finite numbers.
        """
        checked = finite_array('motor positions', motor_positions, (_MOTOR_COUNT,))
        return self._joints(checked * self.description.spool_radius)

    def _command(self, joints: FloatArray) -> FloatArray:
        excursion = self._arms @ joints
        return np.asarray(
            excursion * (1.0 + self._give) / self.description.spool_radius, dtype=np.float64
        )

    def _joints(self, excursion: FloatArray) -> FloatArray:
        """Joint positions of the free hand at tendon excursions, shape (12,). [m]."""
        joints = np.empty(_JOINT_COUNT)
        for index, name in enumerate(FINGERS):
            finger = self.description.fingers[name]
            side, forward, curl = excursion[3 * index : 3 * index + 3]
            joints[4 * index] = side / finger.side.moment_arm
            joints[4 * index + 1] = forward / finger.forward.moment_arm
            joints[4 * index + 2 : 4 * index + 4] = _share_curl(finger, float(curl))
        return np.asarray(np.clip(joints, self._joint_lower, self._joint_upper), dtype=np.float64)


def _tendon_compliances(finger: FingerDescription) -> tuple[float, float, float]:
    """Excursion per tension of side, forward and curl tendon of the free finger. [m/N]."""
    side, forward, pip, dip = (joint.moment_arm**2 / joint.stiffness for joint in finger.joints())
    return side, forward, pip + dip


def _share_curl(finger: FingerDescription, excursion: float) -> tuple[float, float]:
    """PIP and DIP positions at an excursion of their tendon [m]; a stop passes the rest on."""
    pip, dip = finger.pip, finger.dip
    give_pip = pip.moment_arm / pip.stiffness
    give_dip = dip.moment_arm / dip.stiffness
    tension = excursion / (pip.moment_arm * give_pip + dip.moment_arm * give_dip)
    first, second = tension * give_pip, tension * give_dip
    if first > pip.upper:
        return pip.upper, (excursion - pip.moment_arm * pip.upper) / dip.moment_arm
    if second > dip.upper:
        return (excursion - dip.moment_arm * dip.upper) / pip.moment_arm, dip.upper
    return first, second
