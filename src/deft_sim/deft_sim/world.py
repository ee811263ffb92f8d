# SPDX-License-Identifier: Apache-2.0
"""One compiled world with the addresses of its parts, and what its contacts say."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError
from deft_core.grasp import FINGERS, HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES, MOTOR_NAMES
from deft_hand_driver.simulated_hand import HandMounting
from deft_perception.calibration.board import BoardConfiguration
from deft_sim.configuration import SimulationSettings, VariationConfiguration
from deft_sim.scene import TABLE, build_cell
from deft_sim.tasks import OBJECT_BODY, ContactSummary, SimulatedTask

ARM = slice(0, len(ARM_JOINT_NAMES))
HAND = slice(ARM.stop, ARM.stop + len(HAND_JOINT_NAMES))
MOTORS = slice(ARM.stop, ARM.stop + len(MOTOR_NAMES))

_PALM = len(FINGERS)  # index of palm, thenar and motor housing behind the fingers


@dataclass(frozen=True, eq=False)
class JointSample:
    """What joints or motors measure of themselves."""

    positions: FloatArray  # [rad]
    velocities: FloatArray  # [rad/s]
    efforts: FloatArray  # torque of arm joints [N m], current of motors [A]


class World:
    """A compiled cell with the scene of a task."""

    def __init__(
        self,
        settings: SimulationSettings,
        task: SimulatedTask,
        object_name: str,
        board: BoardConfiguration | None = None,
        mounting: HandMounting | None = None,
    ) -> None:
        """Compile the world and look up its parts."""
        names = task.object_names
        if object_name not in names:
            raise InvalidInputError(
                f'Unknown object {object_name!r}; {nearest(object_name, names)}'
            )
        self.task, self.object_name = task, object_name
        spec = build_cell(settings, board)
        first_task_body = len(spec.bodies)  # tasks add to the world body, behind the cell
        task.build(spec, object_name)
        self.model: mujoco.MjModel = spec.compile()
        if mounting is not None:
            _mount_hand(self.model, mounting)
            self._update_constants()
        self._object_body = self.model.body(OBJECT_BODY).id
        self._task_bodies = range(first_task_body, self.model.nbody)
        self._task_geoms = self.model.geom_bodyid >= first_task_body
        self._contact_bits = np.array([self.model.geom_contype, self.model.geom_conaffinity])
        self._nominal_friction = self.model.geom_friction.copy()
        self._nominal_mass = self.model.body_mass.copy()
        self._nominal_inertia = self.model.body_inertia.copy()
        self._object_geoms, self._table_geoms, self._arm_geoms, self._fingers = self._classify()

    def vary(self, variation: VariationConfiguration, generator: np.random.Generator) -> None:
        """Draw friction and mass of what the task laid out, and friction of the table."""
        model = self.model
        surfaces = [self._table_geoms, *(model.geom_bodyid == body for body in self._task_bodies)]
        for geoms in surfaces:
            factor = generator.uniform(*variation.friction_factor)
            model.geom_friction[geoms, 0] = factor * self._nominal_friction[geoms, 0]
        for body in self._task_bodies:
            factor = 1.0 + variation.mass_share * generator.uniform(-1.0, 1.0)
            model.body_mass[body] = factor * self._nominal_mass[body]
            model.body_inertia[body] = factor * self._nominal_inertia[body]
        self._update_constants()

    def set_tangible(self, tangible: bool) -> None:
        """Whether what the task laid out can be touched."""
        bits = self._contact_bits * (tangible | ~self._task_geoms)
        self.model.geom_contype, self.model.geom_conaffinity = bits

    def _update_constants(self) -> None:
        """What MuJoCo computed from masses and moment arms; stale, heavy objects end in NaN."""
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))

    def contacts(self, data: mujoco.MjData) -> ContactSummary:
        """Who touches what in the state after the last step."""
        geoms = data.contact.geom
        rows = data.contact.efc_address
        active = rows >= 0
        first, second, rows = geoms[active, 0], geoms[active, 1], rows[active]
        # The first constraint row of a contact with an elliptic cone is its normal force.
        forces = data.efc_force[rows]
        with_object = self._object_geoms[first] | self._object_geoms[second]
        finger = np.maximum(self._fingers[first], self._fingers[second])
        touching = with_object & (finger >= 0)
        on_table = with_object & (self._table_geoms[first] | self._table_geoms[second])
        arm = self._arm_geoms[first] | self._arm_geoms[second]
        return ContactSummary(
            finger_forces=np.bincount(
                finger[touching], weights=forces[touching], minlength=_PALM + 1
            ).astype(np.float64),
            object_on_table=bool(np.any(forces[on_table] > 0.0)),
            arm_force=float(forces[arm].max(initial=0.0)),
        )

    def robot_touches_object(self, data: mujoco.MjData) -> bool:
        """Whether arm or hand overlaps the object, whatever the forces."""
        geoms = data.contact.geom
        robot = self._arm_geoms | (self._fingers >= 0)
        first, second = geoms[:, 0], geoms[:, 1]
        return bool(
            np.any(
                (self._object_geoms[first] & robot[second])
                | (self._object_geoms[second] & robot[first])
            )
        )

    def _classify(
        self,
    ) -> tuple[
        npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]
    ]:
        """Masks of object, table and arm geoms, and the finger of every geom (-1: not hand)."""
        model = self.model
        fingers = np.full(model.ngeom, -1, dtype=np.int64)
        arm = np.zeros(model.ngeom, dtype=np.bool_)
        for geom in range(model.ngeom):
            body = model.body(model.geom_bodyid[geom]).name
            finger = body.split('_')[0]
            if finger in FINGERS:
                fingers[geom] = FINGERS.index(finger)
            elif body == 'palm':
                fingers[geom] = _PALM
            elif body.startswith('link'):
                arm[geom] = True
        table = np.arange(model.ngeom) == model.geom(TABLE).id
        return model.geom_bodyid == self._object_body, table, arm, fingers


def _mount_hand(model: mujoco.MjModel, mounting: HandMounting) -> None:
    """Change moment arms and friction of the hand; its zeros belong to the spools (`cell.py`)."""
    factors = {
        model.joint(name).id: factor
        for name, factor in zip(HAND_JOINT_NAMES, mounting.arm_factors, strict=True)
    }
    for motor in MOTOR_NAMES:
        tendon = model.tendon(motor).id
        first = model.tendon_adr[tendon]
        for place in range(first, first + model.tendon_num[tendon]):
            model.wrap_prm[place] *= factors[model.wrap_objid[place]]
    for name, friction in zip(HAND_JOINT_NAMES, mounting.frictions, strict=True):
        model.dof_frictionloss[model.joint(name).dofadr[0]] = friction
