# SPDX-License-Identifier: Apache-2.0
"""Where the shapes of arm and hand are along a motion: over the table, in the cell, to each other.

The shapes are those of the robot model. Their bounds are computed here for all postures at once;
distances come from MuJoCo's collision detection, on a model of its own in which arm and hand can
touch and the obstacles of the cell stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import mujoco
import numpy as np
import numpy.typing as npt

from deft_core.configuration import bounds
from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES, robot_spec

# Bodies that turn about the vertical axis only; they stand on the table by construction.
_STANDING: Final = ('link_base', 'link1')
_ARM: Final = ('link_base', 'link1', 'link2', 'link3', 'link4', 'link5', 'link6')
# The one stiff shape of the hand; the palm before it is printed from the soft finger material.
_MOTOR_HOUSING: Final = 'motor_housing'
_PALM: Final = 'palm'
_STIFF: Final = (*_ARM, _PALM)
# A link and its neighbour's neighbour overlap as drawn; their joint limits keep them apart.
_NEIGHBOURHOOD: Final = 2
_FREE: Final = 1.0  # [m] more than any clearance that is asked for
_SHAPES: Final = (
    mujoco.mjtGeom.mjGEOM_SPHERE,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_BOX,
)


@dataclass(frozen=True)
class Obstacle:
    """Something fixed in the cell that nothing may touch, as an upright box."""

    name: str  # for messages
    # [m] of its middle in the base frame
    centre: tuple[float, float, float] = field(metadata=bounds(-3.0, 3.0, 'm'))
    # [m] along its own axes
    size: tuple[float, float, float] = field(metadata=bounds(0.001, 5.0, 'm'))
    yaw: float = field(default=0.0, metadata=bounds(-6.2832, 6.2832, 'rad'))  # about the vertical


@dataclass(frozen=True, eq=False)
class Sweep:
    """Free space along a motion; the first axis runs over its n postures."""

    rigid: FloatArray  # (n,) [m] lowest point of the arm links and the motor housing
    palm: FloatArray  # (n,) [m] lowest point of the palm
    fingers: FloatArray  # (n,) [m] lowest point of the soft fingers
    lower: FloatArray  # (n, 3) [m] lowest corner of the box around all that moves
    upper: FloatArray  # (n, 3) [m] highest corner of that box
    # (n,) [m] distance of the closest pair beyond what it must keep, or negative; at most 1
    spare: FloatArray
    closest: tuple[str, ...]  # that pair, empty where nothing is close; length n
    centres: FloatArray  # (n, shapes, 3) [m] middle of every moving shape
    hand_centres: FloatArray  # (n, shapes, 3) [m] of every shape of the hand

    @property
    def lowest(self) -> FloatArray:
        """Lowest point of everything that moves. Shape (n,). [m]."""
        return np.minimum(np.minimum(self.rigid, self.palm), self.fingers)

    def distance_to(self, point: FloatArray) -> FloatArray:
        """From a point, shape (3,), to the nearest shape centre of the hand. Shape (n,). [m]."""
        return np.asarray(
            np.linalg.norm(self.hand_centres - point, axis=2).min(axis=1), dtype=np.float64
        )

    def largest_step(self) -> FloatArray:
        """Farthest way of a shape from one posture to the next. Shape (n - 1,). [m]."""
        steps = np.linalg.norm(np.diff(self.centres, axis=0), axis=2)
        return np.asarray(steps.max(axis=1), dtype=np.float64)


class RobotGeometry:
    """Shapes of robot and cell, posed by joint positions.

    Keeps scratch memory between calls, so one instance must not be shared between threads.
    """

    def __init__(
        self, fold_clearance: float, obstacle_clearance: float, obstacles: Sequence[Obstacle] = ()
    ) -> None:
        """Build the model in which arm, hand and obstacles can touch.

        The clearances are least distances between parts of the arm and the stiff hand, and of
        both from an obstacle. [m].
        """
        self._model = _collision_model(max(fold_clearance, obstacle_clearance), obstacles)
        self._data = mujoco.MjData(self._model)
        self._arm_addresses = [self._model.joint(name).qposadr[0] for name in ARM_JOINT_NAMES]
        self._hand_addresses = [self._model.joint(name).qposadr[0] for name in HAND_JOINT_NAMES]
        owners = [self._model.body(body).name for body in self._model.geom_bodyid]
        moving = np.array([owner not in (*_STANDING, 'world') for owner in owners])
        finger = np.array([owner not in (*_ARM, _PALM, 'world') for owner in owners])
        palm = np.array([owner == _PALM for owner in owners])
        palm[self._model.geom(_MOTOR_HOUSING).id] = False
        self._finger_geoms = np.flatnonzero(finger)
        self._palm_geoms = np.flatnonzero(palm)
        self._rigid_geoms = np.flatnonzero(moving & ~finger & ~palm)
        self._moving_geoms = np.flatnonzero(moving)
        self._hand_geoms = np.flatnonzero(finger | palm)
        self._required = _required_distances(owners, fold_clearance, obstacle_clearance)
        self._names = [
            self._model.geom(geom).name if owner == 'world' else owner
            for geom, owner in enumerate(owners)
        ]
        self._types = self._model.geom_type
        unknown = set(self._types.tolist()) - {int(shape) for shape in _SHAPES}
        if unknown:
            raise ConfigurationError(
                f'The robot model has shapes of types {sorted(unknown)}; bounds are known for '
                'spheres, capsules, cylinders and boxes.'
            )

    def sweep(self, arm: FloatArray, hand: FloatArray) -> Sweep:
        """Free space along a motion of the arm, shape (n, 6) [rad].

        The hand, in `HAND_JOINT_NAMES` order, is one for all postures or one for each, shape
        (16,) or (n, 16). [rad].
        """
        count, geoms = len(arm), self._model.ngeom
        positions = np.empty((count, geoms, 3))
        rotations = np.empty((count, geoms, 9))
        spare, closest = np.full(count, _FREE), [''] * count
        hands = np.broadcast_to(hand, (count, len(HAND_JOINT_NAMES)))
        data = self._data
        for index in range(count):
            data.qpos[self._arm_addresses] = arm[index]
            data.qpos[self._hand_addresses] = hands[index]
            mujoco.mj_kinematics(self._model, data)
            positions[index], rotations[index] = data.geom_xpos, data.geom_xmat
            mujoco.mj_collision(self._model, data)
            if data.ncon:
                spare[index], closest[index] = self._closest()
        extent = self._half_extents(rotations.reshape(count, geoms, 3, 3))
        lower, upper = positions - extent, positions + extent
        heights = lower[:, :, 2]
        return Sweep(
            rigid=heights[:, self._rigid_geoms].min(axis=1),
            palm=heights[:, self._palm_geoms].min(axis=1),
            fingers=heights[:, self._finger_geoms].min(axis=1),
            lower=lower[:, self._moving_geoms].min(axis=1),
            upper=upper[:, self._moving_geoms].max(axis=1),
            spare=spare,
            closest=tuple(closest),
            centres=positions[:, self._moving_geoms],
            hand_centres=positions[:, self._hand_geoms],
        )

    def _closest(self) -> tuple[float, str]:
        """Spare distance of the worst pair in contact range, and its name."""
        pairs = self._data.contact.geom
        spare = self._data.contact.dist - self._required[pairs[:, 0], pairs[:, 1]]
        worst = int(np.argmin(spare))
        first, second = (self._names[geom] for geom in pairs[worst])
        return float(spare[worst]), f'{first} and {second}'

    def _half_extents(self, rotations: npt.NDArray[np.float64]) -> FloatArray:
        """Half size of the upright box around every shape. Shape (n, geoms, 3). [m]."""
        size = self._model.geom_size
        turned = np.abs(rotations)
        along = turned[:, :, :, 2]  # how much the long axis of a shape points along x, y and z
        across = np.sqrt(np.maximum(0.0, 1.0 - along**2))
        radius, half = size[:, 0, None], size[:, 1, None]
        types = self._types[:, None]
        extent = np.where(types == mujoco.mjtGeom.mjGEOM_CAPSULE, along * half + radius, radius)
        cylinder = types == mujoco.mjtGeom.mjGEOM_CYLINDER
        extent = np.where(cylinder, along * half + across * radius, extent)
        box = types == mujoco.mjtGeom.mjGEOM_BOX
        return np.asarray(
            np.where(box, np.einsum('ngij,gj->ngi', turned, size), extent), dtype=np.float64
        )


def _collision_model(reach: float, obstacles: Sequence[Obstacle]) -> mujoco.MjModel:
    """Arm and hand that can touch each other and the obstacles, seen from `reach` on. [m]."""
    spec = robot_spec()
    for geom in spec.geoms:
        # Hand and hand never: fingers touch each other in many grasps.
        geom.contype, geom.conaffinity = (int(geom.parent.name in _ARM), 1)
        geom.margin = 0.5 * reach  # MuJoCo adds the margins of a pair
    for index, body in enumerate(_STIFF):
        for other in _STIFF[index + 1 : index + 1 + _NEIGHBOURHOOD]:
            spec.add_exclude(bodyname1=body, bodyname2=other)
    try:
        for obstacle in obstacles:
            spec.worldbody.add_geom(
                name=obstacle.name,
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=list(obstacle.centre),
                size=[0.5 * length for length in obstacle.size],
                quat=[np.cos(0.5 * obstacle.yaw), 0.0, 0.0, np.sin(0.5 * obstacle.yaw)],
                contype=1,
                conaffinity=0,
                margin=0.5 * reach,
            )
        return spec.compile()
    except ValueError as error:
        raise ConfigurationError(
            f'The obstacles of the cell do not make a model ({error}); give each a name of its '
            'own that no shape of the robot has.'
        ) from error


def _required_distances(
    owners: Sequence[str], fold_clearance: float, obstacle_clearance: float
) -> FloatArray:
    """Least distance that every pair of shapes must keep. Shape (geoms, geoms). [m]."""

    def required(first: str, second: str) -> float:
        if 'world' in (first, second):
            return obstacle_clearance
        return fold_clearance if {first, second} <= set(_STIFF) else 0.0  # soft fingers

    return np.array([[required(first, second) for second in owners] for first in owners])
