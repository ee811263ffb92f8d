# SPDX-License-Identifier: Apache-2.0
"""Pick Cup (paper, section 4): the cup must leave the table and stay grasped throughout.

Cups are drawn hollow and touched as solids.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)


@dataclass(frozen=True)
class Cup:
    """A frustum with a wall."""

    radius: float  # outer radius at the rim [m]
    height: float  # height of the rim [m]
    mass: float  # with the handle [kg]
    color: tuple[float, float, float]  # red, green and blue of the body, 0 to 1
    rim_color: tuple[float, float, float]  # of the rim, 0 to 1
    handle: bool = False  # whether it has one
    base_radius: float | None = None  # outer radius at the table; as at the rim when None [m]

    @property
    def bottom_radius(self) -> float:
        """Outer radius at the table. [m]."""
        return self.radius if self.base_radius is None else self.base_radius


CUPS = {
    # Train set.
    'red_mug': Cup(0.038, 0.095, 0.150, (0.80, 0.12, 0.10), (0.95, 0.93, 0.90), handle=True),
    'blue_tumbler': Cup(0.037, 0.110, 0.120, (0.10, 0.28, 0.72), (0.10, 0.28, 0.72)),
    'green_beaker': Cup(0.039, 0.098, 0.180, (0.10, 0.50, 0.24), (0.85, 0.90, 0.85)),
    'yellow_mug': Cup(0.039, 0.092, 0.200, (0.92, 0.72, 0.12), (0.35, 0.22, 0.10), handle=True),
    # Held out: other radii, heights, masses, colours, and a shape that tapers.
    'white_mug': Cup(0.041, 0.100, 0.230, (0.90, 0.90, 0.88), (0.15, 0.25, 0.55), handle=True),
    'purple_tall_cup': Cup(0.037, 0.120, 0.110, (0.45, 0.18, 0.60), (0.90, 0.80, 0.20)),
    'orange_paper_cup': Cup(
        0.041, 0.105, 0.060, (0.92, 0.42, 0.08), (0.97, 0.95, 0.90), base_radius=0.031
    ),
}
_HANDLE_YAW = 2.2  # [rad] nominal direction of a handle about the vertical, from the base's x axis

# Where a reset puts the cup.
LAYOUT_CENTRE = (0.55, 0.0)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.05, 0.05)  # [m]
_YAW_HALF_RANGE = 0.5  # [rad] about the nominal direction

_SEGMENTS = 32
_WALL = 0.003  # [m]
_HANDLE_RADIUS = 0.006  # [m]
_HANDLE_REACH = 0.026  # [m] from the wall to the grip
_HANDLE_MASS_SHARE = 0.08

# Criterion and score.
LIFTED_HEIGHT = 0.03  # [m] above this the cup has left the table for good
ALLOWED_DROP = 0.02  # [m] a cup that sank further than this slips out of the hand
FULL_LIFT = 0.12  # [m] a lift that earns the whole score
LARGEST_TILT = 0.8  # [rad] a cup held at this angle earns nothing for being upright
_TOUCH_SHARE = 0.10
_GRASP_SHARE = 0.20
_LIFT_SHARE = 0.20
_HOLD_SHARE = 0.30
_UPRIGHT_SHARE = 0.20
_DIGITS = 4  # index, middle, ring, thumb; the palm comes after them

# The expert: share of the cup's height at which the grasp centre goes, its offset along the palm
# normal, and how far beyond the axis of the cup it reaches; by a random search over all cups at
# a friction of 0.6.
_HEIGHT_SHARE = 0.48
_PALM_OFFSET = 0.010  # [m]
_REACH = 0.010  # [m]
_FINGER = (0.0, 0.85, 1.30, 1.06)  # [rad] side, forward, PIP, DIP
_THUMB = (-0.08, 1.40, 0.785, 1.20)  # [rad]
_FINGERS_ALONG = (1.0, -0.277, -0.396)  # fingers forward and down
_PALM_TOWARDS = (-0.55, 1.0, 0.13)  # palm to the left, hand on the right of the cup
_LIFT = 0.16  # [m] of the whole demonstration
_RATE = 10.0  # [Hz]


class PickCup(SimulatedTask):
    """One cup on the table."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(CUPS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """A free body whose origin is the middle of the bottom."""
        cup = CUPS[object_name]
        body = spec.worldbody.add_body(name=OBJECT_BODY)
        body.add_freejoint(name=OBJECT_BODY)
        handle_mass = _HANDLE_MASS_SHARE * cup.mass if cup.handle else 0.0
        _add_solid(spec, body, cup, cup.mass - handle_mass)
        _add_looks(spec, body, cup)
        if cup.handle:
            _add_handle(body, cup, handle_mass)

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """Upright, anywhere in the area, its handle on the far left."""
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        x, y = np.asarray(LAYOUT_CENTRE) + offset
        nominal = _HANDLE_YAW if CUPS[object_name].handle else 0.0
        yaw = nominal + _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        data.joint(OBJECT_BODY).qpos = [
            x, y, 0.0, np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)
        ]  # fmt: skip

    def judge(self) -> PickCupJudge:
        """See `SimulatedTask`."""
        return PickCupJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A side grasp."""
        z_axis = np.array(_FINGERS_ALONG) / np.linalg.norm(_FINGERS_ALONG)
        x_axis = np.array(_PALM_TOWARDS) - z_axis * (z_axis @ _PALM_TOWARDS)
        x_axis /= np.linalg.norm(x_axis)
        rotation = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)
        bottom = data.joint(OBJECT_BODY).qpos[:3]
        height = CUPS[object_name].height
        centre = bottom + np.array([_REACH, 0.0, _HEIGHT_SHARE * height])
        return GraspParameters(
            position=centre + _PALM_OFFSET * x_axis,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Straight up with a smooth start and end."""
        share = np.linspace(0.0, 1.0, TRAJECTORY_STEPS + 1)
        height = _LIFT * (3.0 * share**2 - 2.0 * share**3)
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:, 2] = np.diff(height)
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        lift = WristTrajectory(translations, turns, _RATE, 'intended lift')
        return Demonstration('red_mug', 1, lift)


class PickCupJudge(Judge):
    """The operator of Pick Cup.

    The criterion of the paper: the cup must leave the table surface and stay grasped throughout
    the trial. Here: at the time of judging the bottom is more than 3 cm up, at least one finger or
    the palm is on it, it does not touch the table, it has not sunk by more than 2 cm from its
    highest point, and the arm did not collide.

    The score is what an operator would give, who sees more than success and failure:

    - 0.10 for touching the cup,
    - 0.20 for the best grasp: the share of the four digits that are on it at once, counted when
      thumb or palm opposes a finger,
    - 0.20 for how high it was carried at best,
    - 0.30 for how high it is held at the end, and 0.20 for holding it upright.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._height = 0.0
        self._tilt = 0.0
        self._highest = 0.0
        self._best_grasp = 0.0
        self._touched = False
        self._collided = False
        self._contacts: ContactSummary | None = None

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        _, _, height, _, x, y, _ = data.joint(OBJECT_BODY).qpos
        tilt = float(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0)))
        self.update(float(height), tilt, contacts, collided=collided)

    def update(
        self, height: float, tilt: float, contacts: ContactSummary, *, collided: bool
    ) -> None:
        """Note one instant: height of the bottom [m], angle to the vertical [rad], contacts."""
        on_cup = contacts.touching
        touching = bool(np.any(on_cup))
        self._height = height
        self._tilt = tilt
        if touching and not contacts.object_on_table:
            self._highest = max(self._highest, height)
        if np.any(on_cup[: _DIGITS - 1]) and np.any(on_cup[_DIGITS - 1 :]):
            self._best_grasp = max(self._best_grasp, float(np.mean(on_cup[:_DIGITS])))
        self._touched = self._touched or touching
        self._collided = self._collided or collided
        self._contacts = contacts

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._contacts is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table or cup')
        fingers = int(np.sum(self._contacts.touching))
        held = (
            self._height > LIFTED_HEIGHT
            and fingers >= 1
            and not self._contacts.object_on_table
            and self._highest - self._height < ALLOWED_DROP
        )
        score = _TOUCH_SHARE * float(self._touched) + _GRASP_SHARE * self._best_grasp
        score += _LIFT_SHARE * float(np.clip(self._highest / FULL_LIFT, 0.0, 1.0))
        if held:
            score += _HOLD_SHARE * float(np.clip(self._height / FULL_LIFT, 0.0, 1.0))
            score += _UPRIGHT_SHARE * float(np.clip(1.0 - self._tilt / LARGEST_TILT, 0.0, 1.0))
        return SceneEvaluation(min(score, 1.0), held, self._explain(held, fingers))

    def _explain(self, held: bool, fingers: int) -> str:
        if held:
            return f'lifted {self._height:.3f} m, held by {fingers} of 5 parts of the hand'
        if self._highest > LIFTED_HEIGHT:
            return f'carried {self._highest:.3f} m up, then lost'
        if self._touched:
            return 'touched but not lifted'
        return 'never touched'


def _add_solid(spec: mujoco.MjSpec, body: mujoco.MjsBody, cup: Cup, mass: float) -> None:
    half_height = cup.height / 2.0
    if cup.radius == cup.bottom_radius:
        body.add_geom(
            name='object_solid',
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[cup.radius, half_height, 0.0],
            pos=[0.0, 0.0, half_height],
            mass=mass,
            group=3,
            **CONTACT,
        )
        return
    rings = [_ring(cup.bottom_radius, 0.0), _ring(cup.radius, cup.height)]
    spec.add_mesh(name='object_solid', uservert=np.concatenate(rings).ravel().tolist())
    body.add_geom(
        name='object_solid',
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname='object_solid',
        mass=mass,
        group=3,
        **CONTACT,
    )


def _add_looks(spec: mujoco.MjSpec, body: mujoco.MjsBody, cup: Cup) -> None:
    top, bottom, height = cup.radius, cup.bottom_radius, cup.height
    wall = [(0.0, 0.0005), (bottom, 0.0005), (top, height - 0.001), (top - _WALL, height - 0.001)]
    wall += [(bottom - _WALL, _WALL), (0.0, _WALL)]
    band = 0.006
    outer, inner = top + 0.0006, top - _WALL - 0.0006
    rim = [(outer, height - band), (outer, height), (inner, height), (inner, height - band)]
    parts = (('wall', wall, cup.color), ('rim', rim, cup.rim_color))
    for name, profile, color in parts:
        vertices, faces = _lathe(profile)
        spec.add_mesh(
            name=f'object_{name}',
            uservert=vertices.ravel().tolist(),
            userface=faces.ravel().tolist(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        body.add_geom(
            name=f'object_{name}',
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f'object_{name}',
            rgba=[*color, 1.0],
            mass=0.0,
            group=2,
            contype=0,
            conaffinity=0,
        )


def _add_handle(body: mujoco.MjsBody, cup: Cup, mass: float) -> None:
    low, high = 0.25 * cup.height, 0.80 * cup.height

    def wall_at(z: float) -> float:
        share = z / cup.height
        return cup.bottom_radius + share * (cup.radius - cup.bottom_radius)

    grip = wall_at(high) + _HANDLE_REACH
    ends = [
        (wall_at(high) - 0.002, high, grip, high),
        (grip, high, grip, low),
        (grip, low, wall_at(low) - 0.002, low),
    ]
    for index, (x_start, z_start, x_end, z_end) in enumerate(ends):
        body.add_geom(
            name=f'object_handle_{index}',
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[x_start, 0.0, z_start, x_end, 0.0, z_end],
            size=[_HANDLE_RADIUS, 0.0, 0.0],
            rgba=[*cup.color, 1.0],
            mass=mass / len(ends),
            group=2,
            **CONTACT,
        )


def _ring(radius: float, height: float) -> FloatArray:
    angles = 2.0 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    return np.stack(
        [radius * np.cos(angles), radius * np.sin(angles), np.full(_SEGMENTS, height)], axis=1
    )


def _lathe(profile: list[tuple[float, float]]) -> tuple[FloatArray, np.ndarray]:
    """Surface of revolution: vertices (n, 3) [m] and triangles (m, 3) facing outwards."""
    vertices = np.concatenate([_ring(radius, height) for radius, height in profile])
    faces = []
    for lower in range(len(profile) - 1):
        for segment in range(_SEGMENTS):
            following = (segment + 1) % _SEGMENTS
            a, b = lower * _SEGMENTS + segment, lower * _SEGMENTS + following
            c, d = a + _SEGMENTS, b + _SEGMENTS
            if profile[lower][0] > 0.0:
                faces.append((a, b, d))
            if profile[lower + 1][0] > 0.0:
                faces.append((a, d, c))
    return vertices, np.array(faces)


TASK = PickCup()
