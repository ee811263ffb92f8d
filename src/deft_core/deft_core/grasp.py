# SPDX-License-Identifier: Apache-2.0
"""The 22 numbers that DEFT fine-tunes (paper, Table 1).

Order of the vector: grasp position (3, m), wrist rotation (3, rad), hand joints (16, rad).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from deft_core.frames import BASE_FRAME
from deft_core.rotations import matrix_from_euler
from deft_core.validation import FloatArray, finite_array

FINGERS: Final = ('index', 'middle', 'ring', 'thumb')
JOINTS_PER_FINGER: Final = ('side', 'forward', 'pip', 'dip')
HAND_JOINT_NAMES: Final = tuple(
    f'{finger}_{joint}' for finger in FINGERS for joint in JOINTS_PER_FINGER
)
GRASP_DIMENSION: Final = 6 + len(HAND_JOINT_NAMES)
POSITION: Final = slice(0, 3)
WRIST: Final = slice(3, 6)
JOINTS: Final = slice(6, GRASP_DIMENSION)


@dataclass(frozen=True, eq=False)
class _GraspVector:
    position: FloatArray
    wrist_rotation: FloatArray
    joint_positions: FloatArray

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        shapes = {'position': 3, 'wrist_rotation': 3, 'joint_positions': len(HAND_JOINT_NAMES)}
        for name, length in shapes.items():
            value = finite_array(name, getattr(self, name), (length,))
            object.__setattr__(self, name, value)

    @classmethod
    def from_vector(cls, vector: npt.ArrayLike, *further: str) -> Self:
        """Build from a vector, shape (22,) [m, rad], and of grasp parameters their frame."""
        checked = finite_array('grasp vector', vector, (GRASP_DIMENSION,))
        return cls(checked[POSITION], checked[WRIST], checked[JOINTS], *further)

    def to_vector(self) -> FloatArray:
        """All numbers, shape (22,). [m, rad]."""
        return np.concatenate([self.position, self.wrist_rotation, self.joint_positions])


@dataclass(frozen=True, eq=False)
class GraspResidual(_GraspVector):
    """What is added to a grasp prior: epsilon while fine-tuning, delta from a policy.

    Attributes:
        position: Shift of the grasp centre in the base frame. Shape (3,). [m].
        wrist_rotation: Added to the Euler angles of the wrist. Shape (3,). [rad].
        joint_positions: Added to the hand joints, in `HAND_JOINT_NAMES` order. Shape (16,). [rad].
    """

    @classmethod
    def zero(cls) -> GraspResidual:
        """The residual that leaves the prior as it is."""
        return cls.from_vector(np.zeros(GRASP_DIMENSION))


@dataclass(frozen=True, eq=False)
class GraspParameters(_GraspVector):
    """One grasp: where, how the wrist is turned, how the hand closes.

    Attributes:
        position: Where the hand's grasp centre goes, in `frame_id`. Shape (3,). [m].
        wrist_rotation: Extrinsic xyz Euler angles of the flange in `frame_id`. Shape (3,). [rad].
        joint_positions: Closed hand, in `HAND_JOINT_NAMES` order. Shape (16,). [rad].
        frame_id: Frame of position and rotation.
    """

    frame_id: str = BASE_FRAME

    def rotation_matrix(self) -> FloatArray:
        """Rotation of the flange in `frame_id`. Shape (3, 3)."""
        return matrix_from_euler(self.wrist_rotation)

    def __add__(self, residual: GraspResidual) -> GraspParameters:
        """The grasp that is executed, xi + epsilon (paper, Algorithm 1)."""
        return self.from_vector(self.to_vector() + residual.to_vector(), self.frame_id)


@dataclass(frozen=True, eq=False)
class GraspPrior:
    """Grasp proposed for one image and one task sentence (paper, section 3.1)."""

    grasp: GraspParameters  # the proposal in the base frame
    contact_point: FloatArray  # where the hand should touch, base frame, shape (3,) [m]
    contact_uncertainty: float  # one standard deviation of the contact point [m]
    source: str  # name and version of what proposed it
    task: str  # name of the task
    instruction: str  # the task sentence
    calibration_id: str  # which camera calibration was used

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        contact_point = finite_array('contact point', self.contact_point, (3,))
        object.__setattr__(self, 'contact_point', contact_point)
