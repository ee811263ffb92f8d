# SPDX-License-Identifier: Apache-2.0
"""Pick Cup (paper, section 4): the cup must leave the table and stay grasped throughout."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_sim.objects.cups import CUPS, add_cup, drawn_pose, side_grasp
from deft_sim.tasks import (
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)

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
        add_cup(spec, OBJECT_BODY, CUPS[object_name])

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """Upright, anywhere in the area, its handle on the far left."""
        data.joint(OBJECT_BODY).qpos = drawn_pose(CUPS[object_name], generator)

    def judge(self) -> PickCupJudge:
        """See `SimulatedTask`."""
        return PickCupJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A side grasp."""
        return side_grasp(data, CUPS[object_name])

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


TASK = PickCup()
