# SPDX-License-Identifier: Apache-2.0
"""What a planner hands to whoever moves the arm: timed phases, nothing about how they came up."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from deft_arm.planning.paths import JointPath
from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray


class Phase(enum.StrEnum):
    """Phases of an episode and of the way home, in the order in which they run."""

    MOVE_TO_PREGRASP = 'move_to_pregrasp'
    APPROACH = 'approach'
    CLOSE_HAND = 'close_hand'
    FOLLOW_TRAJECTORY = 'follow_trajectory'
    HOLD = 'hold'
    OPEN_HAND = 'open_hand'
    RETREAT = 'retreat'
    MOVE_HOME = 'move_home'


@dataclass(frozen=True, eq=False)
class PlannedPhase:
    """One stretch of motion that is sent to the controller as one trajectory."""

    name: Phase
    arm: JointPath  # from the start of the phase; at rest it holds one position
    # (16,) [rad] in `HAND_JOINT_NAMES` order, sent at the start; None keeps the last ones
    hand_joint_positions: FloatArray | None = None
    hand_duration: float = 0.0  # [s] in which the hand ramps to them

    @property
    def duration(self) -> float:
        """Time that the phase takes. [s]."""
        return self.arm.duration


@dataclass(frozen=True, eq=False)
class MotionPlan:
    """Phases in order; each starts at the joint positions where the one before it ends."""

    phases: tuple[PlannedPhase, ...]

    def __post_init__(self) -> None:
        """Refuse a jump between two phases."""
        for before, after in zip(self.phases[:-1], self.phases[1:], strict=True):
            gap = float(abs(after.arm.positions[0] - before.arm.positions[-1]).max())
            if gap > 1e-6:
                raise InvalidInputError(
                    f'Phase {after.name} starts {gap:.4f} rad away from the end of {before.name}.'
                )

    @property
    def duration(self) -> float:
        """Time of all phases together. [s]."""
        return sum(phase.duration for phase in self.phases)

    def phase(self, name: Phase) -> PlannedPhase:
        """The phase of this name, which the plan must have."""
        return next(phase for phase in self.phases if phase.name == name)
