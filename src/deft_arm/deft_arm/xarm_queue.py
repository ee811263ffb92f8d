# SPDX-License-Identifier: Apache-2.0
"""A joint path as commands for the queue of an xArm controller, and how they are fed to it.

In position mode the controller plans by itself between the joint positions that wait in its
queue, blending from one to the next. It gets few of them at a time: what waits there is what the
arm goes on with when this computer dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_arm.paths import JointPath
from deft_core.validation import FloatArray

VIA_PERIOD: Final = 0.1  # [s] between commands of a path without marks
_LEAST_WAY: Final = 0.004  # [rad] shorter ways are joined to the next one
_SLOWEST: Final = 0.02  # [rad/s] the SDK takes 0.01 and more
_BLEND_RADIUS: Final = 5.0  # [mm]
_STOP_AT_POINT: Final = -1.0


@dataclass(frozen=True, eq=False)
class JointCommand:
    """One request of `set_servo_angle`.

    Attributes:
        joint_positions: Where to. Shape (6,). [rad].
        speed: Of the joint that has the longest way. [rad/s].
        acceleration: Of that joint. [rad/s^2].
        radius: Not negative where the arm goes on without stopping. [mm].
    """

    joint_positions: FloatArray
    speed: float
    acceleration: float
    radius: float


def commands_of(path: JointPath, acceleration: float) -> list[JointCommand]:
    """Commands whose execution follows a path; none for a path that rests.

    Args:
        path: Planned setpoints.
        acceleration: Of every command. [rad/s^2].
    """
    times = path.marks if len(path.marks) else np.arange(VIA_PERIOD, path.duration, VIA_PERIOD)
    if len(times) == 0 or times[-1] < path.duration - 1e-6:
        times = np.append(times, path.duration)
    commands: list[JointCommand] = []
    position, begin = path.positions[0], 0.0
    for time in times:
        target = path.sample(float(time))
        way = float(np.abs(target - position).max())
        last = bool(time >= path.duration - 1e-6)
        if way < _LEAST_WAY and not (last and way > 0.0):
            continue
        speed = max(_SLOWEST, way / (float(time) - begin))
        radius = _STOP_AT_POINT if last else _BLEND_RADIUS
        commands.append(JointCommand(target, speed, acceleration, radius))
        position, begin = target, float(time)
    if commands and commands[-1].radius >= 0.0:  # the path rests at its end
        final = commands[-1]
        commands[-1] = JointCommand(
            path.positions[-1], final.speed, final.acceleration, _STOP_AT_POINT
        )
    return commands


class CommandFeed:
    """Decides when the next command goes to the controller.

    Args:
        depth: Most commands that may be on their way to the controller and wait in it.
    """

    def __init__(self, depth: int) -> None:
        """Start with nothing to send."""
        self._depth = depth
        self._commands: list[JointCommand] = []
        self._waiting = 0  # as the controller reported
        self._unreported = 0  # taken since that report
        self._in_flight = 0

    def load(self, commands: list[JointCommand]) -> None:
        """Send these from now on."""
        self._commands = list(commands)

    def clear(self) -> None:
        """Send nothing more; a stop empties the queue of the controller, too."""
        self._commands = []
        self._unreported = 0
        self._in_flight = 0

    def reported(self, waiting: int) -> None:
        """The controller says how many commands wait in it."""
        self._waiting = waiting
        self._unreported = 0

    def taken(self) -> None:
        """A command on its way arrived."""
        self._in_flight = max(0, self._in_flight - 1)
        self._unreported += 1

    def next(self) -> JointCommand | None:
        """A command to send now, if there is one and the controller has room for it.

        Calls of one client stay in order on their way to a driver with one thread.
        """
        if not self._commands:
            return None
        if self._waiting + self._unreported + self._in_flight >= self._depth:
            return None
        self._in_flight += 1
        return self._commands.pop(0)

    @property
    def empty(self) -> bool:
        """Whether everything was sent, taken and carried out as far as is known."""
        return not (self._commands or self._in_flight or self._waiting or self._unreported)
