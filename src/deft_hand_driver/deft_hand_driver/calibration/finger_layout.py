# SPDX-License-Identifier: Apache-2.0
"""Which motors move which joints of a finger, and what a motor can choose of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_core.grasp import FINGERS, JOINTS_PER_FINGER
from deft_core.validation import FloatArray
from deft_hand_driver.description import TENDON, HandDescription

JOINT_COUNT = len(JOINTS_PER_FINGER)


@dataclass(frozen=True, eq=False)
class FingerLayout:
    """One finger with k motors and four joints.

    A motor that moves one joint chooses its position. A motor that bends PIP and DIP chooses only
    the length of their tendon: the mean of both, weighted with their moment arms.

    Attributes:
        name: Of the finger.
        motors: Its places among all motors.
        joints: Its places among all joints.
        weights: What a motor chooses, as a mean of the joints. Shape (k, 4).
        own: Which of its motors moves each joint. Shape (4,).
    """

    name: str
    motors: slice
    joints: slice
    weights: FloatArray
    own: npt.NDArray[np.intp]

    def chosen(self, joints: FloatArray) -> FloatArray:
        """What the motors choose of joint positions (..., 4). Shape (..., k). [rad]."""
        return np.asarray(joints @ self.weights.T, dtype=np.float64)


def finger_layouts(description: HandDescription) -> tuple[FingerLayout, ...]:
    """Layout of every finger in `FINGERS`.

    Args:
        description: The hand.
    """
    layouts = []
    for number, name in enumerate(FINGERS):
        joints = slice(JOINT_COUNT * number, JOINT_COUNT * (number + 1))
        if description.transmission == TENDON:
            arms = description.moment_arms()[joints]
            weights = np.zeros((3, JOINT_COUNT))
            weights[0, 0] = weights[1, 1] = 1.0
            weights[2, 2:] = arms[2:] / arms[2:].sum()
        else:
            weights = np.eye(JOINT_COUNT)
        count = len(weights)
        motors = slice(count * number, count * (number + 1))
        layouts.append(
            FingerLayout(name, motors, joints, weights, np.argmax(weights > 0.0, axis=0))
        )
    return tuple(layouts)
