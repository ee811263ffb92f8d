# SPDX-License-Identifier: Apache-2.0
"""Pick Spoon (paper, section 4): at the end the spoon must not be in contact with the table."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_sim.objects.spoons import Spoon, add_spoon, pinch_across
from deft_sim.tasks import (
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

_STEEL, _WOOD = (0.72, 0.74, 0.77), (0.78, 0.56, 0.32)

SPOONS = {
    # Train set.
    'wooden_spoon': Spoon(
        0.150, 0.016, 0.011, 0.011, (0.034, 0.023, 0.013), 0.050, _WOOD, _WOOD, friction=0.95
    ),
    'red_spoon': Spoon(
        0.140, 0.018, 0.012, 0.010, (0.030, 0.022, 0.015), 0.060, _STEEL, (0.80, 0.12, 0.10)
    ),
    'blue_spoon': Spoon(
        0.165,
        0.015,
        0.013,
        0.011,
        (0.036, 0.021, 0.012),
        0.040,
        (0.12, 0.30, 0.75),
        (0.12, 0.30, 0.75),
    ),
    'green_ladle': Spoon(
        0.155, 0.020, 0.010, 0.010, (0.031, 0.030, 0.020), 0.075, _STEEL, (0.10, 0.50, 0.24)
    ),
    # Held out: other lengths, widths, arches and masses, and one of polished steel.
    'steel_spoon': Spoon(
        0.145, 0.017, 0.010, 0.012, (0.033, 0.022, 0.012), 0.085, _STEEL, _STEEL, friction=0.65
    ),
    'yellow_spoon': Spoon(
        0.125,
        0.022,
        0.014,
        0.009,
        (0.028, 0.024, 0.016),
        0.035,
        (0.92, 0.72, 0.12),
        (0.92, 0.72, 0.12),
    ),
    'black_serving_spoon': Spoon(
        0.180,
        0.016,
        0.012,
        0.013,
        (0.042, 0.028, 0.015),
        0.090,
        (0.16, 0.16, 0.17),
        (0.16, 0.16, 0.17),
    ),
}

# Where a reset puts the middle of the handle; the bowl is on the left.
LAYOUT_CENTRE = (0.50, 0.0)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.05, 0.05)  # [m]
_YAW = -np.pi / 2.0  # [rad] of the handle about the vertical, from the base's x axis
_YAW_HALF_RANGE = 0.5  # [rad]

# Criterion and score.
ALLOWED_DROP = 0.02  # [m] a spoon that sank further than this slips out of the hand
FULL_LIFT = 0.10  # [m] a lift that earns the whole score
LARGEST_TILT = 1.0  # [rad] a spoon that hangs at this angle earns nothing for being level
_FAILURE_SHARES = (0.10, 0.15, 0.10)  # touch, best grasp, best lift
_SUCCESS_SHARES = (0.20, 0.20, 0.20)  # grasp, lift, level at the end
_SUCCESS = 0.40
_DIGITS = 4  # index, middle, ring, thumb; the palm comes after them

# The expert, by a random search over all spoons: how far from the middle of the handle towards
# the bowl it takes hold, the grasp centre beside the handle in flange axes, and the hand.
_TOWARDS_BOWL = 0.02  # [m]
_OFFSET = (-0.020, 0.0, -0.010)  # [m]
_FINGER = (0.0, 0.6, 0.9, 0.85)  # [rad] side, forward, PIP, DIP
_THUMB = (0.0, 0.8, 0.6, 0.54)  # [rad]
_LIFT = 0.14  # [m] of the whole demonstration
_RATE = 10.0  # [Hz]


class PickSpoon(SimulatedTask):
    """One spoon on the table."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(SPOONS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """A free body."""
        body = spec.worldbody.add_body(name=OBJECT_BODY)
        body.add_freejoint(name=OBJECT_BODY)
        add_spoon(spec, body, SPOONS[object_name], OBJECT_BODY)

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """On bowl and handle, across the front of the robot."""
        del object_name
        x, y = LAYOUT_CENTRE + generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        yaw = _YAW + _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        data.joint(OBJECT_BODY).qpos = [
            x, y, 0.0, np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)
        ]  # fmt: skip

    def judge(self) -> PickSpoonJudge:
        """See `SimulatedTask`."""
        return PickSpoonJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above across the handle."""
        spoon, body = SPOONS[object_name], data.body(OBJECT_BODY)
        axes = body.xmat.reshape(3, 3)
        rotation = pinch_across(axes[:, 0])
        place = np.array([-_TOWARDS_BOWL, 0.0, spoon.handle_height(-_TOWARDS_BOWL)])
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
        return Demonstration('wooden_spoon', 1, lift)


class PickSpoonJudge(Judge):
    """The operator of Pick Spoon.

    The criterion of the paper: the spoon must not be in contact with the table at the end of the
    trial. Here: at the time of judging it does not touch the table, at least one finger or the
    palm is on it, it has not sunk by more than 2 cm from its highest point, and the arm did not
    collide.

    The score is what an operator would give, who sees more than success and failure:

    - 0.10 for touching the spoon,
    - 0.15 for the best grasp: the share of the four digits that are on it at once, counted when
      thumb or palm opposes a finger,
    - 0.10 for how high the middle of its handle was carried at best, 10 cm earn all,
    - for a success 0.40 instead of these, and up to 0.20 each for the grasp at the end, the
      height at the end, and the handle being level: nothing at 1 rad.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._height = 0.0
        self._tilt = 0.0
        self._highest = 0.0
        self._grasp = 0.0
        self._best_grasp = 0.0
        self._touched = False
        self._collided = False
        self._contacts: ContactSummary | None = None

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        body = data.body(OBJECT_BODY)
        tilt = float(np.arcsin(np.clip(abs(body.xmat[6]), 0.0, 1.0)))
        self.update(float(body.xpos[2]), tilt, contacts, collided=collided)

    def update(
        self, height: float, tilt: float, contacts: ContactSummary, *, collided: bool
    ) -> None:
        """Note one instant: lift of the handle [m], its angle to the table [rad], contacts."""
        touching = contacts.touching
        touched = bool(np.any(touching))
        self._height, self._tilt = height, tilt
        if touched and not contacts.object_on_table:
            self._highest = max(self._highest, height)
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
            return SceneEvaluation(0.0, False, 'the arm collided with table or spoon')
        fingers = int(np.sum(self._contacts.touching))
        held = (
            fingers >= 1
            and not self._contacts.object_on_table
            and self._highest - self._height < ALLOWED_DROP
        )
        if held:
            parts = (self._grasp, self._height / FULL_LIFT, 1.0 - self._tilt / LARGEST_TILT)
            score = _SUCCESS + float(np.dot(_SUCCESS_SHARES, np.clip(parts, 0.0, 1.0)))
        else:
            parts = (float(self._touched), self._best_grasp, self._highest / FULL_LIFT)
            score = float(np.dot(_FAILURE_SHARES, np.clip(parts, 0.0, 1.0)))
        return SceneEvaluation(score, held, self._explain(held, fingers))

    def _explain(self, held: bool, fingers: int) -> str:
        if held:
            return f'lifted {self._height:.3f} m, held by {fingers} of 5 parts of the hand'
        if self._highest > ALLOWED_DROP:
            return f'carried {self._highest:.3f} m up, then lost or left on the table'
        if self._touched:
            return 'touched but not lifted'
        return 'never touched'


TASK = PickSpoon()
