# SPDX-License-Identifier: Apache-2.0
"""Map of a hand with a motor on every joint, such as LEAP: the motor position is the joint's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import HandDescription


class DirectMap:
    """Joints to motor commands and back; both are one.

    Attributes:
        description: The hand.
        lower: Motor commands at the lowest joint positions. Shape (16,). [rad].
        upper: Motor commands at the highest joint positions. Shape (16,). [rad].
    """

    def __init__(self, description: HandDescription) -> None:
        """Take the travel of the joints."""
        self.description = description
        self.lower, self.upper = description.joint_limits()
        self.lower.setflags(write=False)
        self.upper.setflags(write=False)

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """The same numbers, checked; see `JointMap`. Shape (16,). [rad]."""
        return finite_array('hand joint positions', joint_positions, (len(HAND_JOINT_NAMES),))

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """The commands within the travel; see `JointMap`. Shape (16,). [rad]."""
        return self._inside('motor commands', commands)

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """The positions within the travel; see `JointMap`. Shape (16,). [rad]."""
        return self._inside('motor positions', motor_positions)

    def _inside(self, name: str, values: npt.ArrayLike) -> FloatArray:
        checked = finite_array(name, values, (len(HAND_JOINT_NAMES),))
        return np.asarray(np.clip(checked, self.lower, self.upper), dtype=np.float64)
