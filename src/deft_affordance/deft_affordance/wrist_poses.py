# SPDX-License-Identifier: Apache-2.0
"""Nominal wrist poses of a hand on a bench-top arm, and their turns about the vertical.

Flange axes: x is the palm's normal, z the direction of the straight fingers, y = z x x. The
closing fingers move in the plane of x and z.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from deft_core.rotations import euler_from_matrix, matrix_from_rotation_vector
from deft_core.validation import FloatArray


def wrist(fingers: tuple[float, float, float], palm: tuple[float, float, float]) -> FloatArray:
    """Rotation (3, 3) with z along `fingers` and x as near to `palm` as a right angle allows."""
    z = np.array(fingers) / np.linalg.norm(fingers)
    x = np.array(palm) - (z @ np.array(palm)) * z
    x /= np.linalg.norm(x)
    matrix = np.stack([x, np.cross(z, x), z], axis=1)
    matrix.setflags(write=False)
    return matrix


# Fingers forward and slightly down, palm to the left: closes around an upright object.
SIDE_GRASP: Final = wrist((1.0, 0.05, -0.5), (0.0, 1.0, 0.0))
# Fingers forward and down by 45 degrees, palm to the base: pinches from above, closing in the
# vertical plane through the base's x axis.
TOP_PINCH: Final = wrist((1.0, 0.0, -1.0), (-1.0, 0.0, -1.0))
# Fingers straight down, palm to the base: pulls a bar towards the base.
HOOK: Final = wrist((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))

# Euler angles jump by a full turn at +-pi, and the pinch sits there. Equal grasps must be equal
# numbers to a policy that learns from them, so angles are taken within half a turn of these.
SIDE_GRASP_EULER: Final = (2.034, -0.020, 1.611)  # [rad]
TOP_PINCH_EULER: Final = (math.pi, math.pi / 4.0, math.pi)  # [rad]
HOOK_EULER: Final = (math.pi, 0.0, math.pi)  # [rad]


def turned(matrix: FloatArray, angle: float) -> FloatArray:
    """A wrist pose (3, 3) turned about the base's vertical by `angle` [rad]. Shape (3, 3)."""
    return np.asarray(matrix_from_rotation_vector([0.0, 0.0, angle]) @ matrix)


def euler_near(matrix: FloatArray, reference: tuple[float, float, float]) -> FloatArray:
    """Extrinsic xyz Euler angles of a wrist pose without jumps. Shape (3,). [rad].

    Args:
        matrix: Rotation of the flange in the base frame. Shape (3, 3).
        reference: Angles that each angle is brought to within half a turn of. [rad].
    """
    angles = euler_from_matrix(matrix)
    turns = np.round((angles - np.array(reference)) / (2.0 * math.pi))
    return np.asarray(angles - 2.0 * math.pi * turns)
