# SPDX-License-Identifier: Apache-2.0
"""Pour Cup (paper, section 4): a cup is lifted and turned over, and what was in it falls out.

Cups are hollow here and hold beads of glass.
"""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_sim.objects.cups import CUPS, add_cup, drawn_pose, fingers_along, side_grasp
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

BEADS = 5
_BEAD_RADIUS = 0.008  # [m]
_BEAD_MASS = 0.004  # [kg]
_BEAD_FRICTION = [0.2, 0.003, 0.0001]
_BEAD_COLOR = (0.95, 0.85, 0.40)

# Criterion and score.
LIFTED_HEIGHT = 0.03  # [m] a cup whose lowest point is higher has left the table
LEAST_PARTS = 2  # parts of the hand on the cup
_TOUCH_SHARE = 0.10
_LIFT_SHARE = 0.20
_TURN_SHARE = 0.40
_POURED_SHARE = 0.30
FULL_LIFT = 0.10  # [m]
FULL_TURN = 2.1  # [rad] of the cup's axis; a quarter turn brings the rim as low as the bottom

# The demonstration.
_LIFT_STEPS = 16
_LIFT = 0.112  # [m]
_TURN = 2.64  # [rad] about the fingers' direction, in which the wrist has the most room
_RATE = 10.0  # [Hz]


class PourCup(SimulatedTask):
    """One cup on the table, with beads in it."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(CUPS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """A hollow cup, and beads, each a free body."""
        add_cup(spec, OBJECT_BODY, CUPS[object_name])
        for index in range(BEADS):
            bead = spec.worldbody.add_body(name=f'bead_{index}')
            bead.add_freejoint(name=f'bead_{index}')
            bead.add_geom(
                name=f'bead_{index}',
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[_BEAD_RADIUS, 0.0, 0.0],
                mass=_BEAD_MASS,
                rgba=[*_BEAD_COLOR, 1.0],
                group=2,
                priority=1,  # smooth, whatever they roll on
                **{**CONTACT, 'friction': _BEAD_FRICTION},
            )

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """The cup anywhere in the area, the beads in a ring on its floor."""
        cup = CUPS[object_name]
        pose = drawn_pose(cup, generator)
        data.joint(OBJECT_BODY).qpos = pose
        reach = cup.bottom_radius - cup.wall - _BEAD_RADIUS - 0.002
        turn = generator.uniform(0.0, 2.0 * np.pi)
        for index in range(BEADS):
            angle = turn + 2.0 * np.pi * index / BEADS
            place = [reach * np.cos(angle), reach * np.sin(angle), cup.floor + _BEAD_RADIUS]
            position = np.add(pose[:3], place)
            data.joint(f'bead_{index}').qpos = [*position, 1.0, 0.0, 0.0, 0.0]

    def judge(self) -> PourCupJudge:
        """See `SimulatedTask`."""
        return PourCupJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """As to pick it up."""
        return side_grasp(data, CUPS[object_name])

    @property
    def demonstration(self) -> Demonstration:
        """Up, then over to the side about the fingers' direction."""
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:_LIFT_STEPS, 2] = _LIFT / _LIFT_STEPS
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        turning = TRAJECTORY_STEPS - _LIFT_STEPS
        turns[_LIFT_STEPS:] = _TURN / turning * fingers_along()
        return Demonstration(
            'blue_tumbler', 1, WristTrajectory(translations, turns, _RATE, 'intended pour')
        )


class PourCupJudge(Judge):
    """The operator of Pour Cup.

    The criterion of the paper: the cup stays grasped throughout the trial and turns so that its
    top is lower than its base. Here: at the end the middle of its rim is lower than that of its
    bottom, all of it is more than 3 cm above the table, which it does not touch, at least two
    parts of the hand are on it, and the arm did not collide. A cup that stands upside down on
    the table was not poured.

    The score: 0.10 for touching the cup, 0.20 for how high it was carried at best, and, while it
    is held at the end, 0.40 for its turn (all of it at 2.1 rad) and 0.30 for the share of the
    beads that left it after it had left the table.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._touched = False
        self._highest = 0.0
        self._height = 0.0
        self._turn = 0.0
        self._poured = 0.0
        self._parts = 0
        self._on_table = True
        self._collided = False
        self._watched = False

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        cup = data.body(OBJECT_BODY)
        rotation, origin = cup.xmat.reshape(3, 3), cup.xpos
        side = data.model.geom(f'{OBJECT_BODY}_side_0')
        height = float(side.pos[2] + side.size[2])
        radius = float(data.model.geom(f'{OBJECT_BODY}_floor').size[0])
        axis = rotation[:, 2]
        lowest = min(origin[2], origin[2] + height * axis[2]) - radius * np.hypot(*axis[:2])
        beads = np.stack([data.body(f'bead_{index}').xpos for index in range(BEADS)])
        inside = (beads - origin) @ rotation
        left = (inside[:, 2] > height) | (np.hypot(inside[:, 0], inside[:, 1]) > 2.0 * radius)
        self.update(
            lowest=float(lowest),
            turn=float(np.arccos(np.clip(axis[2], -1.0, 1.0))),
            poured=float(np.mean(left | (inside[:, 2] < -_BEAD_RADIUS))),
            contacts=contacts,
            collided=collided,
        )

    def update(
        self,
        *,
        lowest: float,
        turn: float,
        poured: float,
        contacts: ContactSummary,
        collided: bool,
    ) -> None:
        """Note one instant.

        Args:
            lowest: Height of the cup's lowest point above the table. [m].
            turn: Angle between its axis and the vertical. [rad].
            poured: Share of the beads that are not in it.
            contacts: Who touches it.
            collided: Whether the arm has hit something in this episode.
        """
        self._parts = int(np.sum(contacts.touching))
        self._on_table = contacts.object_on_table
        self._height, self._turn = lowest, turn
        held = self._parts > 0 and not self._on_table
        self._touched = self._touched or self._parts > 0
        if held:
            self._highest = max(self._highest, lowest)
        if held and self._highest > LIFTED_HEIGHT:
            self._poured = max(self._poured, poured)
        self._collided = self._collided or collided
        self._watched = True

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if not self._watched:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table or cup')
        score = _TOUCH_SHARE * float(self._touched)
        score += _LIFT_SHARE * float(np.clip(self._highest / FULL_LIFT, 0.0, 1.0))
        held = self._parts >= LEAST_PARTS and not self._on_table and self._height > LIFTED_HEIGHT
        degrees = np.degrees(self._turn)
        if not held:
            if self._highest > LIFTED_HEIGHT:
                return SceneEvaluation(score, False, 'lifted, then lost')
            said = 'touched but not lifted' if self._touched else 'never touched'
            return SceneEvaluation(score, False, said)
        score += _TURN_SHARE * min(self._turn / FULL_TURN, 1.0) + _POURED_SHARE * self._poured
        success = self._turn > np.pi / 2.0
        said = f'held, turned by {degrees:.0f} degrees, {self._poured:.0%} of the beads poured'
        return SceneEvaluation(min(score, 1.0), bool(success), said)


TASK = PourCup()
