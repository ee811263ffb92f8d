# SPDX-License-Identifier: Apache-2.0
"""Scoop Grape (paper, section 4): at the end the spoon holds a grape while the hand holds it.

The spoon lies in a dish with grapes, some of them in its bowl, its handle over the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix, matrix_from_rotation_vector
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Color, Vessel, add_hollow, add_vessel_looks
from deft_sim.objects.spoons import add_handle, free_pose, pinch_across
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

DISH_BODY = 'dish'
BOWL_SITE = 'bowl'
_IN_BOWL, _IN_DISH = 3, 2  # grapes
_GRAPE_MASS = 0.005  # [kg]


@dataclass(frozen=True)
class Scoop:
    """A round bowl with a flat handle; its x axis runs from the bowl to the end of the handle.

    The origin is the middle of the bottom of the bowl, on the floor of the dish.
    """

    bowl: Vessel  # without the handle
    length: float  # of the handle from the edge of the bowl [m]
    width: float  # of the handle [m]
    thickness: float  # of the handle [m]
    handle_mass: float  # [kg]
    color: Color  # of the handle
    friction: float = 0.8  # sliding, of the handle

    def spine(self, dish: Vessel) -> FloatArray:
        """Corners (x, z) of the handle, which rests on the edge of a dish. Shape (4, 2). [m]."""
        start = self.bowl.radius - self.bowl.wall
        rest = dish.height - dish.floor + self.thickness / 2.0
        run = np.array([0.0, 0.030, 0.5 * (0.030 + self.length), self.length])
        height = [
            self.bowl.height - self.thickness / 2.0,
            rest + 0.001,
            rest + 0.002,
            rest + 0.004,
        ]
        return np.stack([start + run, height], axis=1)


@dataclass(frozen=True)
class Scene:
    """What a spoon lies in."""

    scoop: Scoop
    dish: Vessel
    grape_radius: float  # [m]
    grape_color: Color


_WHITE, _BLUE, _CLAY = (0.90, 0.90, 0.88), (0.20, 0.35, 0.60), (0.70, 0.38, 0.24)
_STEEL, _WOOD = (0.72, 0.74, 0.77), (0.78, 0.56, 0.32)
_GREEN, _RED, _PURPLE = (0.55, 0.72, 0.25), (0.60, 0.12, 0.20), (0.30, 0.14, 0.38)


def _bowl(radius: float, height: float, mass: float, color: Color) -> Vessel:
    return Vessel(radius, height, mass, color, color, wall=0.002, floor=0.002)


def _dish(radius: float, height: float, color: Color) -> Vessel:
    return Vessel(radius, height, 0.5, color, color, base_radius=0.9 * radius)


SCENES = {
    # Train set.
    'wooden_scoop': Scene(
        Scoop(_bowl(0.028, 0.014, 0.020, _WOOD), 0.175, 0.016, 0.011, 0.030, _WOOD, 0.95),
        _dish(0.085, 0.022, _WHITE),
        0.0100,
        _GREEN,
    ),
    'red_scoop': Scene(
        Scoop(_bowl(0.029, 0.013, 0.025, _STEEL), 0.170, 0.018, 0.010, 0.030, (0.8, 0.12, 0.1)),
        _dish(0.082, 0.024, _BLUE),
        0.0105,
        _RED,
    ),
    'blue_scoop': Scene(
        Scoop(_bowl(0.027, 0.015, 0.020, _STEEL), 0.185, 0.015, 0.013, 0.025, (0.12, 0.3, 0.75)),
        _dish(0.090, 0.021, _CLAY),
        0.0095,
        _PURPLE,
    ),
    'green_scoop': Scene(
        Scoop(
            _bowl(0.030, 0.014, 0.028, _STEEL), 0.180, 0.020, 0.010, 0.035, (0.1, 0.5, 0.24), 0.9
        ),
        _dish(0.088, 0.023, _WHITE),
        0.0110,
        _GREEN,
    ),
    # Held out: other sizes and masses, and one of polished steel.
    'steel_scoop': Scene(
        Scoop(_bowl(0.028, 0.013, 0.030, _STEEL), 0.178, 0.017, 0.010, 0.045, _STEEL, 0.65),
        _dish(0.086, 0.022, _CLAY),
        0.0100,
        _RED,
    ),
    'yellow_scoop': Scene(
        Scoop(
            _bowl(0.031, 0.016, 0.022, (0.92, 0.72, 0.12)),
            0.165,
            0.022,
            0.013,
            0.030,
            (0.92, 0.72, 0.12),
        ),
        _dish(0.080, 0.025, _WHITE),
        0.0115,
        _PURPLE,
    ),
    'black_scoop': Scene(
        Scoop(_bowl(0.027, 0.012, 0.024, _STEEL), 0.195, 0.016, 0.012, 0.045, (0.16, 0.16, 0.17)),
        _dish(0.092, 0.020, _BLUE),
        0.0092,
        _GREEN,
    ),
}

# Where a reset puts the dish; the handle lies over its right edge.
LAYOUT_CENTRE = (0.44, -0.02)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.03, 0.03)  # [m]
_YAW = -np.pi / 2.0  # [rad] of the handle about the vertical, from the base's x axis
_YAW_HALF_RANGE = 0.3  # [rad]
_BOWL_OFFSET = 0.020  # [m] of the bowl from the middle of the dish, away from the handle

# Criterion and score.
LIFTED_HEIGHT = 0.03  # [m] above where it lay the spoon has left the dish
ALLOWED_DROP = 0.02  # [m] a spoon that sank further than this slips out of the hand
FULL_LIFT = 0.10  # [m] a lift that earns the whole score
_FAILURE_SHARES = (0.10, 0.15, 0.20)  # touch, best grasp, best lift with a grape
_SUCCESS = 0.50
_SUCCESS_SHARES = (0.20, 0.15, 0.15)  # grasp, lift, grapes at the end
_DIGITS = 4  # index, middle, ring, thumb; the palm comes after them

# The expert, by a random search over all spoons: how far from the end of the handle it takes
# hold, the grasp centre beside the handle in flange axes, and the hand.
_FROM_END = 0.063  # [m]
_SLOPE = 0.43  # share of the slope of the handle that the hand follows
_TILT = 0.96  # [rad] of the fingers below the horizontal
_OFFSET = (-0.022, -0.001, -0.008)  # [m]
_FINGER = (0.0, 0.92, 1.04, 0.55)  # [rad] side, forward, PIP, DIP
_THUMB = (0.11, 0.76, 0.77, 0.40)  # [rad]
_LIFT = 0.12  # [m] of the whole demonstration
_RATE = 10.0  # [Hz]


class ScoopGrape(SimulatedTask):
    """A dish of grapes, and a spoon in it."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(SCENES)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """Free bodies: the spoon, the dish, the grapes."""
        scene = SCENES[object_name]
        scoop, dish = scene.scoop, scene.dish
        body = spec.worldbody.add_body(name=OBJECT_BODY)
        body.add_freejoint(name=OBJECT_BODY)
        add_vessel_looks(spec, body, scoop.bowl, OBJECT_BODY)
        add_hollow(body, scoop.bowl, OBJECT_BODY, sides=9)
        body.add_site(
            name=BOWL_SITE, pos=[0.0, 0.0, scoop.bowl.floor], size=[scoop.bowl.radius] * 3, group=4
        )  # not drawn
        _, torsional, rolling = CONTACT['friction']
        add_handle(
            body,
            scoop.spine(dish),
            (scoop.width, scoop.thickness),
            name=OBJECT_BODY,
            mass=scoop.handle_mass,
            rgba=[*scoop.color, 1.0],
            **{**CONTACT, 'friction': [scoop.friction, torsional, rolling]},
        )
        body = spec.worldbody.add_body(name=DISH_BODY)
        body.add_freejoint(name=DISH_BODY)
        add_vessel_looks(spec, body, dish, DISH_BODY)
        add_hollow(body, dish, DISH_BODY)
        for index in range(_IN_BOWL + _IN_DISH):
            body = spec.worldbody.add_body(name=f'grape_{index}')
            body.add_freejoint(name=f'grape_{index}')
            body.add_geom(
                name=f'grape_{index}',
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[scene.grape_radius, 0.0, 0.0],
                mass=_GRAPE_MASS,
                rgba=[*scene.grape_color, 1.0],
                group=2,
                # A grape is no ball: where it lies it stays.
                **{**CONTACT, 'condim': 6, 'friction': [0.8, 0.003, 0.001]},
            )

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """The spoon level in the dish, three grapes in it, the others beside it."""
        scene = SCENES[object_name]
        dish, radius = scene.dish, scene.grape_radius
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        centre = np.array([*(LAYOUT_CENTRE + offset), 0.0])
        yaw = _YAW + _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        turn = matrix_from_rotation_vector([0.0, 0.0, yaw])
        spoon = centre + turn @ [-_BOWL_OFFSET, 0.0, dish.floor]
        data.joint(DISH_BODY).qpos = free_pose(centre, np.eye(3))
        data.joint(OBJECT_BODY).qpos = free_pose(spoon, turn)
        first = generator.uniform(0.0, 2.0 * np.pi)
        angles = first + 2.0 * np.pi * np.arange(_IN_BOWL) / _IN_BOWL
        inside = 1.2 * radius  # of three that touch one another, 1.155
        ring = inside * np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
        lifted = [0.0, 0.0, scene.scoop.bowl.floor + radius]
        places = [spoon + place + lifted for place in ring]
        # The others lie left and right of the handle, clear of the bowl.
        beside = dish.bottom_radius - dish.wall - 1.5 * radius
        for index in range(_IN_DISH):
            side = 1.0 if index % 2 else -1.0
            angle = side * (0.65 + 0.75 * (index // 2) + 0.15 * generator.uniform(-1.0, 1.0))
            place = turn @ [beside * np.cos(angle), beside * np.sin(angle), 0.0]
            places.append(centre + place + [0.0, 0.0, dish.floor + radius])
        for index, place in enumerate(places):
            data.joint(f'grape_{index}').qpos = free_pose(place, np.eye(3))

    def judge(self) -> ScoopGrapeJudge:
        """See `SimulatedTask`."""
        return ScoopGrapeJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above across the handle, outside the dish."""
        scene, body = SCENES[object_name], data.body(OBJECT_BODY)
        axes = body.xmat.reshape(3, 3)
        rotation = pinch_across(axes[:, 0] * [1.0, 1.0, _SLOPE], _TILT)
        spine = scene.scoop.spine(scene.dish)
        x = spine[-1, 0] - _FROM_END
        place = np.array([x, 0.0, np.interp(x, spine[:, 0], spine[:, 1])])
        return GraspParameters(
            position=body.xpos + axes @ place + rotation @ _OFFSET,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Straight up with a smooth start and end."""
        share = np.linspace(0.0, 1.0, TRAJECTORY_STEPS + 1)
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:, 2] = np.diff(_LIFT * (3.0 * share**2 - 2.0 * share**3))
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        lift = WristTrajectory(translations, turns, _RATE, 'intended lift')
        return Demonstration('wooden_scoop', 1, lift)


class ScoopGrapeJudge(Judge):
    """The operator of Scoop Grape.

    The criterion of the paper: the spoon must hold a grape at the end of the trial while being
    held by the soft hand. Here: at the time of judging at least one grape is in the bowl, the
    spoon is held by two or more of fingers and palm and does not touch the table, its bowl is more
    than 3 cm above where it lay, which is out of the dish, and it has not sunk by more than 2 cm
    from its highest point; the arm did not collide.

    The score is what an operator would give, who sees more than success and failure:

    - 0.10 for touching the spoon,
    - 0.15 for the best grasp: the share of the four digits that are on it at once, counted when
      thumb or palm opposes a finger,
    - 0.20 for how high the bowl was carried with a grape in it at best, 10 cm earn all,
    - for a success 0.50 instead of these, up to 0.20 for the grasp at the end, and up to 0.15 each
      for its height and for three grapes.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._start: float | None = None
        self._height = 0.0
        self._highest = 0.0
        self._highest_with_grape = 0.0
        self._grapes = 0
        self._grasp = 0.0
        self._best_grasp = 0.0
        self._touched = False
        self._collided = False
        self._contacts: ContactSummary | None = None

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        bowl = data.site(BOWL_SITE)
        radius = float(data.model.site(BOWL_SITE).size[0])
        places = np.array(
            [data.body(f'grape_{index}').xpos for index in range(_IN_BOWL + _IN_DISH)]
        )
        inside = (places - bowl.xpos) @ bowl.xmat.reshape(3, 3)
        held = (np.hypot(inside[:, 0], inside[:, 1]) < radius) & (
            np.abs(inside[:, 2] - 0.015) < 0.015
        )
        self.update(float(bowl.xpos[2]), int(held.sum()), contacts, collided=collided)

    def update(
        self, height: float, grapes: int, contacts: ContactSummary, *, collided: bool
    ) -> None:
        """Note one instant: height of the bowl [m], grapes in it, contacts."""
        touching = contacts.touching
        touched = bool(np.any(touching))
        self._start = height if self._start is None else self._start
        self._height, self._grapes = height - self._start, grapes
        if touched and not contacts.object_on_table:
            self._highest = max(self._highest, self._height)
            if grapes > 0:
                self._highest_with_grape = max(self._highest_with_grape, self._height)
        opposed = np.any(touching[: _DIGITS - 1]) and np.any(touching[_DIGITS - 1 :])
        self._grasp = float(np.mean(touching[:_DIGITS])) if opposed else 0.0
        self._best_grasp = max(self._best_grasp, self._grasp)
        self._touched = self._touched or touched
        self._collided = self._collided or collided
        self._contacts = contacts

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._contacts is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table, dish or spoon')
        fingers = int(np.sum(self._contacts.touching))
        held = (
            fingers >= 2
            and self._height > LIFTED_HEIGHT
            and not self._contacts.object_on_table
            and self._highest - self._height < ALLOWED_DROP
        )
        success = held and self._grapes > 0
        if success:
            parts = (self._grasp, self._height / FULL_LIFT, self._grapes / _IN_BOWL)
            score = _SUCCESS + float(np.dot(_SUCCESS_SHARES, np.clip(parts, 0.0, 1.0)))
        else:
            lift = self._highest_with_grape / FULL_LIFT
            parts = (float(self._touched), self._best_grasp, lift)
            score = float(np.dot(_FAILURE_SHARES, np.clip(parts, 0.0, 1.0)))
        return SceneEvaluation(score, success, self._explain(held, fingers))

    def _explain(self, held: bool, fingers: int) -> str:
        if held and self._grapes > 0:
            return f'{self._grapes} grapes in the spoon, held by {fingers} of 5 parts of the hand'
        if held:
            return 'the spoon is held, but every grape rolled off'
        if self._highest > LIFTED_HEIGHT:
            return f'carried {self._highest:.3f} m up, then lost'
        return 'touched but not lifted' if self._touched else 'never touched'


TASK = ScoopGrape()
