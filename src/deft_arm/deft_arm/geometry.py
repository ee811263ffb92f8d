# SPDX-License-Identifier: Apache-2.0
"""Where the shapes of arm and hand are: heights over the table and distances between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import mujoco
import numpy as np

from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES, robot_model

# Bodies that turn about the vertical axis only; they stand on the table by construction.
_STANDING: Final = ('link_base', 'link1')
# The one stiff shape of the hand; the palm before it is printed from the soft finger material.
_MOTOR_HOUSING: Final = 'motor_housing'
# The wrist and the stiff part of the hand can be folded into the base and the upper arm.
_PALM: Final = 'palm'
_FOLDING: Final = ('link5', 'link6', _PALM)
_FOLDED_INTO: Final = ('link_base', 'link1', 'link2')
_SHAPES: Final = (
    mujoco.mjtGeom.mjGEOM_SPHERE,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_BOX,
)


@dataclass(frozen=True)
class Clearance:
    """Free space around one posture.

    Attributes:
        rigid: Lowest point of the arm links and the motor housing. [m] in the base frame.
        palm: Lowest point of the palm. [m] in the base frame.
        fingers: Lowest point of the soft fingers. [m] in the base frame.
        fold: Distance between the wrist or palm and the base or upper arm, at most the range
            that was asked for; negative when they overlap. [m].
    """

    rigid: float
    palm: float
    fingers: float
    fold: float

    @property
    def lowest(self) -> float:
        """Lowest point of everything that moves. [m] in the base frame."""
        return min(self.rigid, self.palm, self.fingers)


class RobotGeometry:
    """Shapes of the robot model, posed by joint positions.

    Keeps scratch memory between calls, so one instance must not be shared between threads.
    """

    def __init__(self, fold_range: float) -> None:
        """Sort the shapes of the robot model.

        Args:
            fold_range: Distances between wrist and base are measured up to this. [m].

        Raises:
            ConfigurationError: The robot model has a shape whose height is not known here.
        """
        self._model = robot_model()
        self._data = mujoco.MjData(self._model)
        self._fold_range = fold_range
        self._arm_addresses = self._addresses(ARM_JOINT_NAMES)
        self._hand_addresses = self._addresses(HAND_JOINT_NAMES)
        owners = [self._model.body(body).name for body in self._model.geom_bodyid]
        fingers = self._finger_bodies()
        moving = np.array([owner not in _STANDING for owner in owners])
        finger = np.array([owner in fingers for owner in owners])
        palm = np.array([owner == _PALM for owner in owners])
        palm[self._model.geom(_MOTOR_HOUSING).id] = False
        self._finger_geoms = np.flatnonzero(finger)
        self._palm_geoms = np.flatnonzero(palm)
        self._rigid_geoms = np.flatnonzero(moving & ~finger & ~palm)
        self._hand_geoms = np.flatnonzero(finger | palm)
        near = [i for i, owner in enumerate(owners) if owner in _FOLDING]
        far = [i for i, owner in enumerate(owners) if owner in _FOLDED_INTO]
        self._fold_pairs = [(first, second) for first in near for second in far]
        self._types = self._model.geom_type
        unknown = set(self._types.tolist()) - {int(shape) for shape in _SHAPES}
        if unknown:
            raise ConfigurationError(
                f'The robot model has shapes of types {sorted(unknown)}; heights are known for '
                'spheres, capsules, cylinders and boxes.'
            )

    def clearance(self, arm: FloatArray, hand: FloatArray) -> Clearance:
        """Free space around a posture.

        Args:
            arm: Arm joint positions. Shape (6,). [rad].
            hand: Hand joint positions in `HAND_JOINT_NAMES` order. Shape (16,). [rad].
        """
        self._pose(arm, hand)
        lowest = self._lowest()
        fold = self._fold_range
        for first, second in self._fold_pairs:
            distance = mujoco.mj_geomDistance(
                self._model, self._data, first, second, self._fold_range, None
            )
            fold = min(fold, float(distance))
        return Clearance(
            rigid=float(lowest[self._rigid_geoms].min()),
            palm=float(lowest[self._palm_geoms].min()),
            fingers=float(lowest[self._finger_geoms].min()),
            fold=fold,
        )

    def hand_distance(self, arm: FloatArray, hand: FloatArray, point: FloatArray) -> float:
        """Distance from a point to the nearest centre of a shape of the hand. [m].

        Args:
            arm: Arm joint positions. Shape (6,). [rad].
            hand: Hand joint positions in `HAND_JOINT_NAMES` order. Shape (16,). [rad].
            point: In the base frame. Shape (3,). [m].
        """
        self._pose(arm, hand)
        centres = self._data.geom_xpos[self._hand_geoms]
        return float(np.linalg.norm(centres - point, axis=1).min())

    def _pose(self, arm: FloatArray, hand: FloatArray) -> None:
        self._data.qpos[self._arm_addresses] = arm
        self._data.qpos[self._hand_addresses] = hand
        mujoco.mj_kinematics(self._model, self._data)

    def _lowest(self) -> FloatArray:
        """Lowest point of every shape. Shape (n_geoms,). [m]."""
        size = self._model.geom_size
        # Third row of the rotation: how much each axis of the shape points up.
        up = self._data.geom_xmat[:, 6:9]
        along = np.abs(up[:, 2])
        across = np.sqrt(np.maximum(0.0, 1.0 - along**2))
        box = np.sum(np.abs(up) * size, axis=1)
        capsule = along * size[:, 1] + size[:, 0]
        cylinder = along * size[:, 1] + across * size[:, 0]
        depth = np.select(
            [
                self._types == mujoco.mjtGeom.mjGEOM_BOX,
                self._types == mujoco.mjtGeom.mjGEOM_CAPSULE,
                self._types == mujoco.mjtGeom.mjGEOM_CYLINDER,
            ],
            [box, capsule, cylinder],
            default=size[:, 0],
        )
        return np.asarray(self._data.geom_xpos[:, 2] - depth, dtype=np.float64)

    def _addresses(self, names: tuple[str, ...]) -> list[int]:
        return [int(self._model.jnt_qposadr[self._model.joint(name).id]) for name in names]

    def _finger_bodies(self) -> set[str]:
        """Bodies that hang on a joint of the hand."""
        roots = {int(self._model.jnt_bodyid[self._model.joint(n).id]) for n in HAND_JOINT_NAMES}
        names = set()
        for body in range(self._model.nbody):
            parent = body
            while parent and parent not in roots:
                parent = int(self._model.body_parentid[parent])
            if parent in roots:
                names.add(self._model.body(body).name)
        return names
