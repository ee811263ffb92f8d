# SPDX-License-Identifier: Apache-2.0
"""Squeeze Lemon (paper, section 4): half a lemon's way to its end, held down on a juicer.

Fruits are rigid ellipsoids whose contacts give way by about a millimetre under the forces of the
hand, which is stable and fast; nothing flows out of them. The juicer stands to the left of the
fruit, both moved together, because the motion after the grasp is one fixed motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from deft_affordance.wrist_poses import turned, wrist
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Color, add_surface
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

JUICER = 'juicer'


@dataclass(frozen=True)
class Fruit:
    """An ellipsoid of revolution that lies on its side."""

    half_length: float  # [m]
    radius: float  # [m]
    mass: float  # [kg]
    color: Color
    friction: float = 0.8  # of its skin; the cell draws a factor


FRUITS = {
    # Train set.
    'lemon': Fruit(0.034, 0.026, 0.100, (0.95, 0.83, 0.15)),
    'small_lemon': Fruit(0.030, 0.024, 0.080, (0.92, 0.78, 0.10)),
    'large_lemon': Fruit(0.038, 0.029, 0.130, (0.97, 0.87, 0.25), friction=0.7),
    'lime': Fruit(0.028, 0.025, 0.075, (0.36, 0.60, 0.15)),
    # Held out.
    'long_lemon': Fruit(0.040, 0.025, 0.115, (0.98, 0.80, 0.05)),
    'mandarin': Fruit(0.028, 0.029, 0.095, (0.95, 0.50, 0.08), friction=0.7),
    'waxed_lime': Fruit(0.031, 0.026, 0.085, (0.20, 0.45, 0.12), friction=0.6),
}

# Where a reset puts the fruit, and where the middle of the juicer stands from there.
LAYOUT_CENTRE = (0.47, -0.10)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.03, 0.03)  # [m]
_YAW_HALF_RANGE = 0.4  # [rad] of its long axis about the base's y axis
JUICER_OFFSET = (0.0, 0.17)  # [m]
_JUICER_SPREAD = 0.004  # [m] standard deviation

_SOFT = {**CONTACT, 'condim': 6, 'solref': [0.02, 1.0], 'solimp': [0.75, 0.95, 0.005, 0.5, 2.0]}
_ROLLING = 0.001  # [m] a fruit is no ball: it comes to rest
_CONE = ((0.026, 0.012), (0.020, 0.024), (0.013, 0.034))  # [m] radius, top height of the steps
_TIP = 0.009  # [m] radius of the rounded tip on them
_PLATE = (0.052, 0.006)  # [m] radius, height
_JUICER_MASS = 1.2  # [kg] of glass
_JUICER_COLOR = (0.80, 0.86, 0.88)

# Criterion and score.
ON_TOP = 0.020  # [m] horizontal distance between fruit and tip
ABOVE = 0.045  # [m] least height of the middle of the fruit
LEAST_PARTS = 2  # parts of the hand on the fruit
LIFTED_HEIGHT = 0.03  # [m]
_TOUCH_SHARE = 0.10
_LIFT_SHARE = 0.20
_NEAR_SHARE = 0.30
_SQUEEZE_SHARE = 0.40
_FAR = 0.12  # [m] a fruit held farther from the tip earns nothing for being near

# The expert: a pinch from above across the long axis; by a random search.
# Turned a little to the side, away from a singularity of the arm's wrist.
_FINGERS_ALONG = (1.148, -0.383, -1.133)
_PALM_TOWARDS = (-0.891, -0.020, -0.961)
# The grasp centre from the middle of the fruit, flange axes.
_OFFSET = (-0.005, -0.003, -0.014)  # [m]
_FINGER = (0.0, 0.41, 0.69, 1.10)  # [rad] side, forward, PIP, DIP
_THUMB = (-0.06, 0.75, 0.32, 0.68)  # [rad]

# The demonstration: up, across, down onto the tip.
_STEPS = (10, 18, 12)
_UP, _DOWN = 0.085, 0.052  # [m]
_IN_HAND = (0.004, 0.001)  # [m] by which the fruit moves towards the palm as it is grasped
_RATE = 8.0  # [Hz]


class SqueezeLemon(SimulatedTask):
    """One fruit on the table, and a juicer beside it."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(FRUITS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """Two free bodies: the fruit, with its long axis along y, and the juicer."""
        fruit = FRUITS[object_name]
        body = spec.worldbody.add_body(name=OBJECT_BODY)
        body.add_freejoint(name=OBJECT_BODY)
        body.add_geom(
            name='object_flesh',
            type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
            size=[fruit.radius, fruit.half_length, fruit.radius],
            mass=fruit.mass,
            rgba=[*fruit.color, 1.0],
            group=2,
            **{**_SOFT, 'friction': [fruit.friction, 0.003, _ROLLING]},
        )
        _add_juicer(spec)

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """The fruit on its side, the juicer to its left."""
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        place = np.asarray(LAYOUT_CENTRE) + offset
        yaw = _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        data.joint(OBJECT_BODY).qpos = [
            *place, FRUITS[object_name].radius, np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)
        ]  # fmt: skip
        beside = place + JUICER_OFFSET + _JUICER_SPREAD * generator.standard_normal(2)
        data.joint(JUICER).qpos = [*beside, 0.0, 1.0, 0.0, 0.0, 0.0]

    def judge(self) -> SqueezeLemonJudge:
        """See `SimulatedTask`."""
        return SqueezeLemonJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above."""
        del object_name  # the same for all
        fruit = data.body(OBJECT_BODY)
        long_axis = fruit.xmat.reshape(3, 3)[:, 1]
        turn = float(np.arctan2(-long_axis[0], long_axis[1]))
        rotation = turned(wrist(_FINGERS_ALONG, _PALM_TOWARDS), turn)
        return GraspParameters(
            position=fruit.xpos + rotation @ _OFFSET,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Up, to the left, and down onto the juicer."""
        up, across, down = _STEPS
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:up, 2] = _UP / up
        translations[up : up + across, :2] = np.add(JUICER_OFFSET, _IN_HAND) / across
        translations[-down:, 2] = -_DOWN / down
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        return Demonstration(
            'lemon', 1000, WristTrajectory(translations, turns, _RATE, 'intended squeeze')
        )


class SqueezeLemonJudge(Judge):
    """The operator of Squeeze Lemon.

    The criterion of the paper: the lemon is grasped securely on top of the juicer. Here: at the
    end it presses on the juicer, its middle is higher than 4.5 cm and within 2 cm of the tip seen
    from above, at least two parts of the hand are on it, it does not touch the table, and the arm
    did not collide.

    The score: 0.10 for touching the fruit, 0.20 for how high it was carried at best (all of it at
    6 cm), and, while it is held at the end, 0.30 for how near it is to the tip seen from above and
    0.40 for the criterion.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._touched = False
        self._highest = 0.0
        self._first_height: float | None = None
        self._height = 0.0
        self._distance = 0.0
        self._parts = 0
        self._on_juicer = False
        self._on_table = True
        self._collided = False
        self._geoms: tuple[int, npt.NDArray[np.int32]] | None = None

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        if self._geoms is None:
            body = data.model.body(JUICER)
            first, count = int(body.geomadr[0]), int(body.geomnum[0])
            flesh = data.model.geom('object_flesh').id
            self._geoms = flesh, np.arange(first, first + count, dtype=np.int32)
        flesh, juicer = self._geoms
        pairs = data.contact.geom
        with_flesh = (pairs == flesh).any(axis=1)
        pressing = bool(np.isin(pairs[with_flesh], juicer).any())
        fruit, tip = data.body(OBJECT_BODY).xpos, data.body(JUICER).xpos
        self.update(
            height=float(fruit[2]),
            distance=float(np.hypot(*(fruit - tip)[:2])),
            on_juicer=pressing,
            contacts=contacts,
            collided=collided,
        )

    def update(
        self,
        *,
        height: float,
        distance: float,
        on_juicer: bool,
        contacts: ContactSummary,
        collided: bool,
    ) -> None:
        """Note one instant.

        Args:
            height: Of the middle of the fruit above the table. [m].
            distance: Between fruit and tip, seen from above. [m].
            on_juicer: Whether they touch.
            contacts: Who touches the fruit.
            collided: Whether the arm has hit something in this episode.
        """
        if self._first_height is None:
            self._first_height = height
        self._parts = int(np.sum(contacts.touching))
        self._on_table = contacts.object_on_table
        self._on_juicer = on_juicer
        self._height, self._distance = height, distance
        self._touched = self._touched or self._parts > 0
        if self._parts > 0 and not self._on_table:
            self._highest = max(self._highest, height - self._first_height)
        self._collided = self._collided or collided

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._first_height is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table or juicer')
        score = _TOUCH_SHARE * float(self._touched)
        score += _LIFT_SHARE * float(np.clip(self._highest / (2.0 * LIFTED_HEIGHT), 0.0, 1.0))
        held = self._parts >= LEAST_PARTS and not self._on_table
        if not held or self._highest < LIFTED_HEIGHT:
            if self._highest > LIFTED_HEIGHT:
                return SceneEvaluation(score, False, 'lifted, then lost')
            said = 'touched but not lifted' if self._touched else 'never touched'
            return SceneEvaluation(score, False, said)
        success = self._on_juicer and self._height > ABOVE and self._distance < ON_TOP
        nearness = np.clip(1.0 - (self._distance - ON_TOP) / (_FAR - ON_TOP), 0.0, 1.0)
        score += _NEAR_SHARE * float(nearness) + _SQUEEZE_SHARE * float(success)
        where = 'on the juicer' if self._on_juicer else 'beside the juicer or above it'
        said = f'held {where}, {1000.0 * self._distance:.0f} mm from its tip'
        return SceneEvaluation(min(score, 1.0), success, said)


def _add_juicer(spec: mujoco.MjSpec) -> None:
    """A plate with a stepped cone and a rounded tip; its origin is on the table below the tip."""
    body = spec.worldbody.add_body(name=JUICER)
    body.add_freejoint(name=JUICER)
    base = _PLATE[1]
    steps = [(*_PLATE, 0.0)]
    steps += [(radius, base + top, base) for radius, top in _CONE]
    share = _JUICER_MASS / (len(steps) + 1.0)
    for index, (radius, top, low) in enumerate(steps):
        half = (top - low) / 2.0
        body.add_geom(
            name=f'{JUICER}_{index}',
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[radius, half, 0.0],
            pos=[0.0, 0.0, low + half],
            mass=share,
            group=3,
            **CONTACT,
        )
    top = base + _CONE[-1][1]
    body.add_geom(
        name=f'{JUICER}_tip',
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[_TIP, 0.0, 0.0],
        pos=[0.0, 0.0, top],
        mass=share,
        group=3,
        **CONTACT,
    )
    profile: list[tuple[float, float]] = [(_PLATE[0], 0.0005), (_PLATE[0], base)]
    profile += [(radius, base + height - 0.010) for radius, height in _CONE]
    arc: FloatArray = np.linspace(0.3, np.pi / 2.0, 4)
    profile += [(_TIP * float(np.cos(a)), top + _TIP * float(np.sin(a))) for a in arc]
    add_surface(spec, body, f'{JUICER}_glass', profile, _JUICER_COLOR)


TASK = SqueezeLemon()
