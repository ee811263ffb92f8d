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
    """One stretch of motion that is sent to the controller as one trajectory.

    Attributes:
        name: Which phase this is.
        arm: Arm setpoints from the start of the phase; a phase at rest holds one position.
        hand_joint_positions: Target that the hand is sent when the phase starts, in
            `HAND_JOINT_NAMES` order; None where it keeps its last one. Shape (16,). [rad].
        hand_duration: Time in which the hand ramps to its target. [s].
    """

    name: Phase
    arm: JointPath
    hand_joint_positions: FloatArray | None = None
    hand_duration: float = 0.0

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
