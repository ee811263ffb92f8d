# SPDX-License-Identifier: Apache-2.0
"""What a person beside the table would see: how well the cup was picked up.

Nothing but the scripted operator may read this: it knows the pose of the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft_sim.world import ContactSummary

TOUCH_FORCE = 0.05  # [N] a finger that presses less does not count
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


@dataclass(frozen=True)
class SceneEvaluation:
    """Verdict on one episode.

    Attributes:
        score: 0 to 1.
        success: The paper's criterion (Appendix F).
        explanation: One sentence.
    """

    score: float
    success: bool
    explanation: str


class PickCupMonitor:
    """Watches one episode of Pick Cup and judges it at its end.

    The criterion of the paper: the cup must leave the table surface and stay grasped throughout
    the trial. Here: at the time of judging the bottom is more than 3 cm up, at least one finger or
    the palm presses on it, it does not touch the table, it has not sunk by more than 2 cm from its
    highest point, and the arm did not collide.

    The score is what an operator would give, who sees more than success and failure:

    - 0.10 for touching the cup,
    - 0.20 for the best grasp: the share of the four digits that press on it at once, counted when
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

    def update(self, height: float, tilt: float, contacts: ContactSummary, collided: bool) -> None:
        """Note one instant.

        Args:
            height: Bottom of the cup above the table. [m].
            tilt: Angle between the axis of the cup and the vertical. [rad].
            contacts: Contact forces.
            collided: Whether the arm has hit something in this episode.
        """
        pressing = contacts.finger_forces > TOUCH_FORCE
        touching = bool(np.any(pressing))
        self._height = height
        self._tilt = tilt
        if touching and not contacts.object_on_table:
            self._highest = max(self._highest, height)
        if np.any(pressing[: _DIGITS - 1]) and np.any(pressing[_DIGITS - 1 :]):
            self._best_grasp = max(self._best_grasp, float(np.mean(pressing[:_DIGITS])))
        self._touched = self._touched or touching
        self._collided = self._collided or collided
        self._contacts = contacts

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._contacts is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table or cup')
        fingers = int(np.sum(self._contacts.finger_forces > TOUCH_FORCE))
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
