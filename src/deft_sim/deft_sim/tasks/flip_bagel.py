# SPDX-License-Identifier: Apache-2.0
"""Flip Bagel (paper, section 4): a spatula is picked up and turned, so that the bagel on it flips.

The bagel lies on the blade from the start. It is compliant, not deformable: a ring of capsules
whose contacts give way.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deft_affordance.wrist_poses import turned, wrist
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_sim.objects.shapes import Color
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

BAGEL = 'bagel'


@dataclass(frozen=True)
class Breakfast:
    """A bagel and the spatula under it."""

    ring_radius: float  # of the bagel, to the middle of its dough [m]
    dough_radius: float  # [m]
    bagel_mass: float  # [kg]
    bagel_color: Color
    handle_length: float  # [m]
    handle_width: float  # [m]
    spatula_mass: float  # [kg]
    spatula_color: Color
    handle_friction: float = 0.9  # rubber; the cell draws a factor


BREAKFASTS = {
    # Train set.
    'plain_bagel': Breakfast(
        0.033, 0.014, 0.070, (0.80, 0.56, 0.30), 0.14, 0.020, 0.090, (0.12, 0.12, 0.13)
    ),
    'sesame_bagel': Breakfast(
        0.034, 0.015, 0.080, (0.88, 0.70, 0.45), 0.15, 0.022, 0.100, (0.70, 0.15, 0.12)
    ),
    'small_bagel': Breakfast(
        0.029, 0.013, 0.050, (0.74, 0.50, 0.26), 0.13, 0.020, 0.080, (0.18, 0.32, 0.55)
    ),
    'rye_bagel': Breakfast(
        0.032, 0.014, 0.085, (0.42, 0.27, 0.16), 0.15, 0.024, 0.100, (0.80, 0.80, 0.78)
    ),
    # Held out.
    'large_bagel': Breakfast(
        0.036, 0.015, 0.095, (0.83, 0.60, 0.34), 0.16, 0.022, 0.110, (0.15, 0.42, 0.25)
    ),
    'thin_ring': Breakfast(
        0.034, 0.011, 0.045, (0.92, 0.78, 0.52), 0.14, 0.018, 0.085, (0.90, 0.62, 0.12)
    ),
    'steel_spatula': Breakfast(
        0.032, 0.014, 0.070, (0.70, 0.46, 0.22), 0.15, 0.022, 0.120, (0.62, 0.64, 0.67), 0.7
    ),
}

# Where a reset puts the middle of the blade; the handle points to the right.
LAYOUT_CENTRE = (0.48, 0.06)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.03, 0.03)  # [m]
_YAW_HALF_RANGE = 0.15  # [rad]

_BLADE = (0.045, 0.050, 0.0015)  # [m] half lengths, across and along the handle, and thickness
_NECK = 0.020  # [m] between blade and handle
_HANDLE_HEIGHT = 0.030  # [m] of its axis above the table
_HANDLE_HALF_THICKNESS = 0.006  # [m]
_BLADE_FRICTION = 0.5  # a smooth blade
_SIDES = 12
_SOFT = {**CONTACT, 'solref': [0.012, 1.0], 'solimp': [0.8, 0.95, 0.004, 0.5, 2.0]}

# Criterion and score.
LEVEL = 0.8  # cosine of the angle to the table within which a bagel lies flat
_TOUCH_SHARE = 0.10
_LIFT_SHARE = 0.20
_TURN_SHARE = 0.30
_FLIP_SHARE = 0.40
FULL_LIFT = 0.05  # [m] of the spatula
FULL_TURN = 2.4  # [rad] of the spatula

# The expert: a pinch from above across the handle.
_FINGERS_ALONG = (1.0, 0.0, -1.0)
_PALM_TOWARDS = (-1.0, 0.0, -1.0)
_FROM_BLADE = 0.060  # [m] of the grip from the beginning of the handle
_OFFSET = (-0.020, 0.0, -0.010)  # [m] of the grasp centre from the handle, flange axes
_FINGER = (0.0, 0.60, 0.90, 0.85)  # [rad] side, forward, PIP, DIP
_THUMB = (0.0, 0.80, 0.60, 0.54)  # [rad]

# The demonstration: up, then over about the fingers' direction.
_LIFT_STEPS, _TURN_STEPS = 16, 20
_LIFT = 0.064  # [m]
_TURN = 2.9  # [rad]
_RATE = 6.0  # [Hz]


class FlipBagel(SimulatedTask):
    """A spatula on the table with a bagel on its blade; the spatula is taken hold of."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(BREAKFASTS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """Two free bodies; the origin of the spatula is on the table, below its blade."""
        breakfast = BREAKFASTS[object_name]
        _add_spatula(spec, breakfast)
        _add_bagel(spec, breakfast)

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """The handle to the right, a little turned, the bagel in the middle of the blade."""
        breakfast = BREAKFASTS[object_name]
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        place = np.asarray(LAYOUT_CENTRE) + offset
        yaw = _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        turn = [np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)]
        data.joint(OBJECT_BODY).qpos = [*place, 0.0, *turn]
        height = 2.0 * _BLADE[2] + breakfast.dough_radius
        data.joint(BAGEL).qpos = [*place, height, *turn]

    def judge(self) -> FlipBagelJudge:
        """See `SimulatedTask`."""
        return FlipBagelJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above across the handle."""
        del object_name  # the same for all
        spatula = data.body(OBJECT_BODY)
        axes = spatula.xmat.reshape(3, 3)
        turn = float(np.arctan2(-axes[0, 1], axes[1, 1]))
        rotation = turned(wrist(_FINGERS_ALONG, _PALM_TOWARDS), turn)
        grip = [0.0, -(_BLADE[1] + _NECK + _FROM_BLADE), _HANDLE_HEIGHT]
        return GraspParameters(
            position=spatula.xpos + axes @ grip + rotation @ _OFFSET,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Up, then over about the fingers' direction, in which the wrist has the most room."""
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:_LIFT_STEPS, 2] = _LIFT / _LIFT_STEPS
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        axis = np.array(_FINGERS_ALONG) / np.linalg.norm(_FINGERS_ALONG)
        turns[_LIFT_STEPS : _LIFT_STEPS + _TURN_STEPS] = _TURN / _TURN_STEPS * axis
        return Demonstration(
            'plain_bagel', 0, WristTrajectory(translations, turns, _RATE, 'intended flip')
        )


class FlipBagelJudge(Judge):
    """The operator of Flip Bagel.

    The criterion of the paper: the side of the bagel that faces up at the end is the one that
    faced down at first. Here: its axis points the other way, within 37 degrees of the vertical,
    it lies still (below 5 cm/s), and the arm did not collide: a bagel that the arm turned over was
    not flipped.

    The score: 0.10 for touching the spatula, 0.20 for how high it was lifted at best (all of it at
    5 cm), 0.30 for how far it was turned while lifted (all of it at 2.4 rad), 0.40 for the
    criterion.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._touched = False
        self._highest = 0.0
        self._turn = 0.0
        self._first_up: float | None = None
        self._up = 0.0
        self._speed = 0.0
        self._collided = False

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        spatula = data.body(OBJECT_BODY)
        self.update(
            bagel_up=float(data.body(BAGEL).xmat[8]),
            bagel_speed=float(np.linalg.norm(data.joint(BAGEL).qvel[:3])),
            spatula_height=float(spatula.xpos[2]),
            spatula_turn=float(np.arccos(np.clip(spatula.xmat[8], -1.0, 1.0))),
            contacts=contacts,
            collided=collided,
        )

    def update(
        self,
        *,
        bagel_up: float,
        bagel_speed: float,
        spatula_height: float,
        spatula_turn: float,
        contacts: ContactSummary,
        collided: bool,
    ) -> None:
        """Note one instant.

        Args:
            bagel_up: Vertical component of the bagel's unit axis.
            bagel_speed: Of its middle. [m/s].
            spatula_height: Of the spatula's blade above the table. [m].
            spatula_turn: Angle between the normal of the blade and the vertical. [rad].
            contacts: Who touches the spatula.
            collided: Whether the arm has hit something in this episode.
        """
        if self._first_up is None:
            self._first_up = bagel_up
        self._up, self._speed = bagel_up, bagel_speed
        held = bool(np.any(contacts.touching)) and not contacts.object_on_table
        self._touched = self._touched or bool(np.any(contacts.touching))
        if held:
            self._highest = max(self._highest, spatula_height)
            self._turn = max(self._turn, spatula_turn)
        self._collided = self._collided or collided

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._first_up is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table, spatula or bagel')
        flipped = self._first_up * self._up < 0.0 and abs(self._up) > LEVEL and self._speed < 0.05
        score = _TOUCH_SHARE * float(self._touched)
        score += _LIFT_SHARE * float(np.clip(self._highest / FULL_LIFT, 0.0, 1.0))
        score += _TURN_SHARE * min(self._turn / FULL_TURN, 1.0) + _FLIP_SHARE * float(flipped)
        if flipped:
            return SceneEvaluation(min(score, 1.0), True, 'the other side of the bagel is up')
        if self._highest > 0.5 * FULL_LIFT:
            said = (
                f'spatula lifted and turned by {np.degrees(self._turn):.0f} degrees, not flipped'
            )
        else:
            said = 'touched but not lifted' if self._touched else 'never touched'
        return SceneEvaluation(score, False, said)


def _add_spatula(spec: mujoco.MjSpec, breakfast: Breakfast) -> None:
    body = spec.worldbody.add_body(name=OBJECT_BODY)
    body.add_freejoint(name=OBJECT_BODY)
    looks = {'rgba': [*breakfast.spatula_color, 1.0], 'group': 2}
    blade = {**CONTACT, 'friction': [_BLADE_FRICTION, 0.003, 0.0001]}
    handle = {**CONTACT, 'friction': [breakfast.handle_friction, 0.003, 0.0001]}
    body.add_geom(
        name='object_blade',
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=list(_BLADE),
        pos=[0.0, 0.0, _BLADE[2]],
        mass=0.4 * breakfast.spatula_mass,
        **looks,
        **blade,
    )
    edge, start = -_BLADE[1] + 0.004, -_BLADE[1] - _NECK
    body.add_geom(
        name='object_neck',
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[0.0, edge, 0.004, 0.0, start, _HANDLE_HEIGHT],
        size=[0.004, 0.0, 0.0],
        mass=0.1 * breakfast.spatula_mass,
        **looks,
        **handle,
    )
    half_length = breakfast.handle_length / 2.0
    body.add_geom(
        name='object_handle',
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[breakfast.handle_width / 2.0, half_length, _HANDLE_HALF_THICKNESS],
        pos=[0.0, start - half_length, _HANDLE_HEIGHT],
        mass=0.5 * breakfast.spatula_mass,
        **looks,
        **handle,
    )


def _add_bagel(spec: mujoco.MjSpec, breakfast: Breakfast) -> None:
    body = spec.worldbody.add_body(name=BAGEL)
    body.add_freejoint(name=BAGEL)
    angles = 2.0 * np.pi * np.arange(_SIDES + 1) / _SIDES
    corners = breakfast.ring_radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for side in range(_SIDES):
        body.add_geom(
            name=f'{BAGEL}_{side}',
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[*corners[side], 0.0, *corners[side + 1], 0.0],
            size=[breakfast.dough_radius, 0.0, 0.0],
            mass=breakfast.bagel_mass / _SIDES,
            rgba=[*breakfast.bagel_color, 1.0],
            group=2,
            **_SOFT,
        )


TASK = FlipBagel()
