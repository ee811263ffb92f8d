# SPDX-License-Identifier: Apache-2.0
"""What the arm node asks of whoever drives the arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from builtin_interfaces.msg import Time

from deft_arm.planning.paths import JointPath
from deft_core.validation import FloatArray


@dataclass(frozen=True)
class Fault:
    """Why nothing moves until a person has cleared it.

    Attributes:
        name: Error constant of the actions, such as COLLISION or CONTROLLER_ERROR.
        message: What happened and what to do.
        code: Error code of the controller, 0 where it has none.
    """

    name: str
    message: str
    code: int = 0


@dataclass(frozen=True, eq=False)
class Measurement:
    """One report of the arm.

    Attributes:
        joint_positions: Shape (6,). [rad].
        joint_velocities: Empty where they are not known. [rad/s].
        received: Monotonic time. [s].
        stamp: Of the measurement.
    """

    joint_positions: FloatArray
    joint_velocities: list[float]
    received: float
    stamp: Time = field(default_factory=Time)


class ArmBackend(Protocol):
    """One way to drive the arm; no call blocks.

    Attributes:
        own_pace: Whether the controller moves along a path at a pace of its own.
        source: What the joints are read from, for messages.
        measurement: The newest report, None before the first.
    """

    own_pace: bool
    source: str
    measurement: Measurement | None

    @property
    def ready(self) -> bool:
        """Whether a path can be started now."""

    @property
    def stopped(self) -> bool:
        """Whether it takes nothing before `recover`."""

    @property
    def waits_for(self) -> str:
        """What it waits for while it is not ready, for messages."""

    @property
    def idle(self) -> bool:
        """Whether the controller has carried out all that it was sent."""

    @property
    def error_code(self) -> int:
        """Error code of the controller, 0 where it has none."""

    def start(self, path: JointPath) -> None:
        """Begin a path at its first setpoint."""

    def stop(self, path: JointPath | None, *, for_good: bool) -> None:
        """Come to rest now.

        Args:
            path: On which it comes to rest, for controllers that follow setpoints; None where
                nothing is under way.
            for_good: Whether nothing moves before `recover`; else motion goes on with the next
                goal.
        """

    def recover(self) -> None:
        """Begin to make the controller ready; a person has seen to the cause."""

    def cycle(self) -> None:
        """Go on with what is under way; called in every cycle."""
