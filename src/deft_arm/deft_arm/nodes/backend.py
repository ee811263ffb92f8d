# SPDX-License-Identifier: Apache-2.0
"""What the arm node asks of whoever drives the arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from builtin_interfaces.msg import Time

from deft_arm.faults import Fault
from deft_arm.paths import JointPath
from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class Measurement:
    """One report of the arm.

    Attributes:
        joint_positions: Shape (6,). [rad].
        joint_velocities: Empty where they are not known. [rad/s].
        stamp: Of the measurement.
        received: Monotonic time. [s].
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
        error_code: Error code of the controller, 0 where it has none.
    """

    own_pace: bool
    source: str
    error_code: int

    @property
    def measurement(self) -> Measurement | None:
        """The newest report, None before the first."""

    @property
    def ready(self) -> bool:
        """Whether a path can be started now."""

    @property
    def waits_for(self) -> str:
        """What it waits for while it is not ready, for messages."""

    @property
    def idle(self) -> bool:
        """Whether the controller has carried out all that it was sent."""

    def incident(self) -> Fault | None:
        """What went wrong since the last call, if anything; called in every cycle."""

    def start(self, path: JointPath) -> None:
        """Begin a path at its first setpoint."""

    def halt(self, held: JointPath | None) -> None:
        """Stop now.

        Args:
            held: Where the arm is to stay, for controllers that hold what they are told; None
                where no path is under way.
        """

    def brake(self, path: JointPath) -> None:
        """Come to rest; motion goes on with the next goal, without a person.

        Args:
            path: Braking on the way, for controllers that follow setpoints.
        """

    def recover(self) -> None:
        """Begin to make the controller ready; a person has seen to the cause."""

    def cycle(self) -> None:
        """Go on with what is under way; called in every cycle."""
