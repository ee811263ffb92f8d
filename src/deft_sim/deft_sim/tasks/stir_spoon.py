# SPDX-License-Identifier: Apache-2.0
"""Stir Spoon (paper, section 4): the spoon's base goes around the pot by 180 degrees, held."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix, matrix_from_rotation_vector
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Vessel, add_hollow, add_vessel_looks
from deft_sim.objects.spoons import Spoon, add_spoon, free_pose, pinch_across
from deft_sim.tasks import (
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

POT_BODY = 'pot'

_STEEL, _WOOD, _GREY = (0.72, 0.74, 0.77), (0.78, 0.56, 0.32), (0.30, 0.31, 0.33)
_POT = Vessel(0.072, 0.055, 0.9, _GREY, _STEEL)
_SMALL_POT = Vessel(0.066, 0.050, 0.7, (0.60, 0.16, 0.12), _STEEL)
_LARGE_POT = Vessel(0.078, 0.060, 1.1, (0.15, 0.22, 0.40), (0.85, 0.85, 0.82))

SCENES = {
    # Train set.
    'wooden_spoon': (
        Spoon(0.215, 0.016, 0.011, 0.0, (0.028, 0.020, 0.012), 0.055, _WOOD, _WOOD, 0.95),
        _POT,
    ),
    'red_spoon': (
        Spoon(0.205, 0.018, 0.010, 0.0, (0.026, 0.019, 0.013), 0.065, _STEEL, (0.80, 0.12, 0.10)),
        _SMALL_POT,
    ),
    'green_spatula': (
        Spoon(
            0.225, 0.020, 0.012, 0.0, (0.030, 0.024, 0.010), 0.050, (0.10, 0.5, 0.24), _WOOD, 0.9
        ),
        _LARGE_POT,
    ),
    'yellow_spoon': (
        Spoon(0.220, 0.015, 0.013, 0.0, (0.027, 0.021, 0.012), 0.045, _STEEL, (0.92, 0.72, 0.12)),
        _POT,
    ),
    # Held out: other lengths, sections and masses, and one of polished steel.
    'steel_spoon': (
        Spoon(0.210, 0.017, 0.010, 0.0, (0.027, 0.019, 0.012), 0.085, _STEEL, _STEEL, 0.65),
        _POT,
    ),
    'blue_spoon': (
        Spoon(0.235, 0.016, 0.014, 0.0, (0.029, 0.020, 0.014), 0.075, _STEEL, (0.12, 0.30, 0.75)),
        _LARGE_POT,
    ),
    'black_ladle': (
        Spoon(
            0.200,
            0.022,
            0.012,
            0.0,
            (0.024, 0.024, 0.018),
            0.060,
            (0.2, 0.2, 0.2),
            (0.2, 0.2, 0.2),
        ),
        _SMALL_POT,
    ),
}

# Where a reset puts the pot; the spoon leans over its right edge.
LAYOUT_CENTRE = (0.41, 0.00)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.03, 0.03)  # [m]
_YAW = -np.pi / 2.0  # [rad] of the handle about the vertical, from the base's x axis
_YAW_HALF_RANGE = 0.3  # [rad]
_GAP = 0.002  # [m] from the tip of the bowl to the wall of the pot

# Criterion and score.
FULL_STIR = np.pi  # [rad] the paper's 180 degrees
BEST_STIR = 5.0  # [rad] earns the whole score
DEEP_ENOUGH = 0.01  # [m] the middle of the bowl above the rim: its lowest point is still below
LEAST_RADIUS = 0.01  # [m] nearer to the axis of the pot an angle says nothing
_FAILURE_SHARES = (0.10, 0.15, 0.20)  # touch, best grasp, stirring
_SUCCESS = 0.50
_SUCCESS_SHARES = (0.20, 0.30)  # grasp at the end, stirring beyond what is needed
_DIGITS = 4  # index, middle, ring, thumb; the palm comes after them

# The expert, by a random search over all spoons: how far from the end of the handle it takes
# hold, the grasp centre beside the handle in flange axes, and the hand.
_FROM_END = 0.039  # [m]
_SLOPE = 0.19  # share of the slope of the handle that the hand follows
_TILT = 0.88  # [rad] of the fingers below the horizontal
_OFFSET = (-0.020, 0.003, -0.017)  # [m]
_FINGER = (0.0, 0.89, 1.15, 0.97)  # [rad] side, forward, PIP, DIP
_THUMB = (0.0, 0.79, 1.29, 0.48)  # [rad]
_LIFT = 0.026  # [m] frees the handle from the rim; the bowl stays in the pot
_LIFT_STEPS = 6
_ELLIPSE = (0.034, 0.027)  # [m] half axes of the stirring: across the handle, along it
_TURN = 5.8  # [rad] of it
_RATE = 10.0  # [Hz]


class StirSpoon(SimulatedTask):
    """A pot on the table, and a spoon in it that leans on its rim."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(SCENES)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """Two free bodies."""
        spoon, pot = SCENES[object_name]
        body = spec.worldbody.add_body(name=OBJECT_BODY)
        body.add_freejoint(name=OBJECT_BODY)
        add_spoon(spec, body, spoon, OBJECT_BODY)
        body = spec.worldbody.add_body(name=POT_BODY)
        body.add_freejoint(name=POT_BODY)
        add_vessel_looks(spec, body, pot, POT_BODY)
        add_hollow(body, pot, POT_BODY)
        body.add_site(name='pot_rim', pos=[0.0, 0.0, pot.height], group=4)  # not drawn

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """The bowl in the far left of the pot, the handle over its right edge."""
        spoon, pot = SCENES[object_name]
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        centre = np.array([*(LAYOUT_CENTRE + offset), 0.0])
        yaw = _YAW + _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        position, slope = leaning(spoon, pot)
        turn = matrix_from_rotation_vector([0.0, 0.0, yaw])
        rotation = turn @ matrix_from_rotation_vector([0.0, -slope, 0.0])
        data.joint(POT_BODY).qpos = free_pose(centre, np.eye(3))
        data.joint(OBJECT_BODY).qpos = free_pose(centre + turn @ position, rotation)

    def judge(self) -> StirSpoonJudge:
        """See `SimulatedTask`."""
        return StirSpoonJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above across the end of the handle."""
        spoon, body = SCENES[object_name][0], data.body(OBJECT_BODY)
        axes = body.xmat.reshape(3, 3)
        rotation = pinch_across(axes[:, 0] * [1.0, 1.0, _SLOPE], _TILT)
        x = spoon.length / 2.0 - _FROM_END
        place = np.array([x, 0.0, spoon.handle_height(x)])
        return GraspParameters(
            position=body.xpos + axes @ place + rotation @ _OFFSET,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Up a little, then around, first to the right."""
        share = np.linspace(0.0, 1.0, _LIFT_STEPS + 1)
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:_LIFT_STEPS, 2] = np.diff(_LIFT * (3.0 * share**2 - 2.0 * share**3))
        angles = np.linspace(0.0, _TURN, TRAJECTORY_STEPS - _LIFT_STEPS + 1)
        translations[_LIFT_STEPS:, 0] = np.diff(_ELLIPSE[0] * np.sin(angles))
        translations[_LIFT_STEPS:, 1] = np.diff(_ELLIPSE[1] * np.cos(angles))
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        return Demonstration(
            'wooden_spoon', 1, WristTrajectory(translations, turns, _RATE, 'intended stirring')
        )


class StirSpoonJudge(Judge):
    """The operator of Stir Spoon.

    The criterion of the paper: the spoon base must rotate around the pot at least 180 degrees
    while grasped. Here: the middle of the bowl, seen from the axis of the pot, has swept an angle
    of at least 180 degrees (largest less smallest unwrapped angle), where only motion counts
    during which it is in the pot, at least 1 cm from the axis, and the spoon is pinched between a
    finger and thumb or palm; at the time of judging it is still pinched; the arm did not collide.

    The score is what an operator would give, who sees more than success and failure:

    - 0.10 for touching the spoon,
    - 0.15 for the best grasp: the share of the four digits that are on it at once, counted when
      thumb or palm opposes a finger,
    - 0.20 for the share of 180 degrees that was stirred,
    - for a success 0.50 instead of these, up to 0.20 for the grasp at the end, and up to 0.30 for
      what was stirred beyond 180 degrees: all at 5 rad.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._grasp = 0.0
        self._best_grasp = 0.0
        self._touched = False
        self._collided = False
        self._previous: float | None = None  # angle of the instant before, if that counted [rad]
        self._angle = self._least = self._most = 0.0  # stirred so far, signed [rad]
        self._contacts: ContactSummary | None = None

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        rim = data.site('pot_rim')
        bowl = data.geom(f'{OBJECT_BODY}_bowl').xpos - rim.xpos
        self.update(rim.xmat.reshape(3, 3).T @ bowl, contacts, collided=collided)

    def update(self, bowl: FloatArray, contacts: ContactSummary, *, collided: bool) -> None:
        """Note one instant: the bowl from the middle of the rim, axes of the pot [m]; contacts."""
        touching = contacts.touching
        opposed = bool(np.any(touching[: _DIGITS - 1]) and np.any(touching[_DIGITS - 1 :]))
        self._grasp = float(np.mean(touching[:_DIGITS])) if opposed else 0.0
        self._best_grasp = max(self._best_grasp, self._grasp)
        self._touched = self._touched or bool(np.any(touching))
        self._collided = self._collided or collided
        self._contacts = contacts
        angle = float(np.arctan2(bowl[1], bowl[0]))
        counts = opposed and bowl[2] < DEEP_ENOUGH and np.hypot(bowl[0], bowl[1]) > LEAST_RADIUS
        if counts and self._previous is not None:
            self._angle += float(np.angle(np.exp(1j * (angle - self._previous))))
            self._least = min(self._least, self._angle)
            self._most = max(self._most, self._angle)
        self._previous = angle if counts else None

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._contacts is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table, pot or spoon')
        stirred = self._most - self._least
        success = stirred >= FULL_STIR and self._grasp > 0.0
        if success:
            parts = (self._grasp, (stirred - FULL_STIR) / (BEST_STIR - FULL_STIR))
            score = _SUCCESS + float(np.dot(_SUCCESS_SHARES, np.clip(parts, 0.0, 1.0)))
        else:
            shares = (float(self._touched), self._best_grasp, stirred / FULL_STIR)
            score = float(np.dot(_FAILURE_SHARES, np.clip(shares, 0.0, 1.0)))
        return SceneEvaluation(score, success, self._explain(success, stirred))

    def _explain(self, success: bool, stirred: float) -> str:
        degrees = f'{np.degrees(stirred):.0f} degrees'
        if success:
            return f'stirred {degrees}, still held'
        if stirred >= FULL_STIR:
            return f'stirred {degrees}, then lost'
        if self._best_grasp > 0.0:
            return f'held, stirred only {degrees}'
        return 'touched but not grasped' if self._touched else 'never touched'


def leaning(spoon: Spoon, pot: Vessel) -> tuple[FloatArray, float]:
    """How a spoon rests in a pot with its handle on the rim towards positive x.

    Returns:
        Its origin from the middle of the pot's bottom, shape (3,) [m], and the slope of its
        handle [rad].
    """
    bowl = spoon.bowl_points()
    wall = pot.bottom_radius - pot.wall - _GAP

    def placed(slope: float) -> tuple[FloatArray, float]:
        """The spoon on floor and far wall, and how far the handle is then above the rim."""
        rotation = matrix_from_rotation_vector([0.0, -slope, 0.0])
        points = bowl @ rotation.T
        position = np.array([-wall - points[:, 0].min(), 0.0, pot.floor - points[:, 2].min()])
        start, end = np.pad(spoon.spine()[[0, -1]], ((0, 0), (0, 1)))[:, [0, 2, 1]] @ rotation.T
        below = rotation[:, 2] * spoon.thickness / 2.0
        start, end = start + position - below, end + position - below
        edge = (pot.radius - pot.wall - start[0]) / (end[0] - start[0])
        return position, float(start[2] + edge * (end[2] - start[2]) - pot.height)

    low, high = 0.0, 1.0
    for _ in range(40):
        slope = (low + high) / 2.0
        low, high = (low, slope) if placed(slope)[1] > 0.0 else (slope, high)
    return placed(high)[0], high


TASK = StirSpoon()
