# SPDX-License-Identifier: Apache-2.0
"""What an xArm controller is sent: the calls that make it ready, and paths for its queue.

The order is that of its manual (ufactory_doc_usermanual, section 12.3): fix the cause, clear error
and warning, enable the motors, set the mode (which stops the arm), set state 0, then look whether
it worked. Settings leave the controller in state 5, so state 0 comes last always.

In position mode the controller plans by itself between the joint positions that wait in its
queue, blending from one to the next. It gets few of them at a time: what waits there is what the
arm goes on with when this computer dies.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from deft_arm.configuration import ControllerSettings
from deft_arm.planning.paths import JointPath
from deft_arm.xarm.codes import ALL_JOINTS, ALL_JOINTS_ENABLED, SET_READY, Mode, State
from deft_core.validation import FloatArray

_MILLIMETRES: Final = 1000.0
_VIA_PERIOD: Final = 0.1  # [s] between commands of a path without marks
_LEAST_WAY: Final = 0.004  # [rad] shorter ways are joined to the next one
_SLOWEST: Final = 0.02  # [rad/s] the SDK takes 0.01 and more
_BLEND_RADIUS: Final = 5.0  # [mm]
_STOP_AT_POINT: Final = -1.0


class Call(NamedTuple):
    """One service call: name below the namespace of the driver, and fields of the request."""

    service: str
    fields: dict[str, Any]


CLEARING: Final = (Call('clean_error', {}), Call('clean_warn', {}))
"""Calls that clear errors and warnings."""

ENABLING: Final = (
    Call('motion_enable', {'id': ALL_JOINTS, 'data': 1}),
    Call('set_mode', {'data': int(Mode.POSITION)}),
    Call('set_state', {'data': SET_READY}),
)
"""Calls after which the controller takes motion commands in position mode."""


def settings_calls(settings: ControllerSettings) -> list[Call]:
    """Calls that set load, sensitivity and boundary; the driver offers them only when asked to.

    The tool frame is set to the flange, because joints are commanded and poses compared there.
    """
    boundary = [
        round(corner[axis] * _MILLIMETRES)
        for axis in range(3)
        for corner in (settings.fence_upper, settings.fence_lower)
    ]
    centre = [_MILLIMETRES * length for length in settings.tool_centre_of_mass]
    return [
        Call('set_tcp_offset', {'datas': [0.0] * 6}),
        Call('set_tcp_load', {'weight': settings.tool_mass, 'center_of_gravity': centre}),
        Call('set_collision_sensitivity', {'data': settings.collision_sensitivity}),
        Call('set_collision_rebound', {'data': 0}),
        Call('set_self_collision_detection', {'data': 1}),
        Call('set_reduced_mode', {'data': 0}),
        Call('set_reduced_tcp_boundary', {'datas': boundary}),
        Call('set_fence_mode', {'data': 1}),
    ]


def ready(state: int, mode: int, motors: int, error: int) -> bool:
    """Whether a report says that the arm takes motion commands; one bit per enabled motor."""
    return (
        state in (State.MOVING, State.READY)
        and mode == Mode.POSITION
        and motors & ALL_JOINTS_ENABLED == ALL_JOINTS_ENABLED
        and error == 0
    )


class JointCommand(NamedTuple):
    """One request of `set_servo_angle`.

    Attributes:
        joint_positions: Where to. Shape (6,). [rad].
        speed: Of the joint that has the longest way. [rad/s].
        radius: Not negative where the arm goes on without stopping. [mm].
    """

    joint_positions: FloatArray
    speed: float
    radius: float


def commands_of(path: JointPath) -> list[JointCommand]:
    """Commands whose execution follows a path; none for a path that rests."""
    times = path.marks if len(path.marks) else np.arange(_VIA_PERIOD, path.duration, _VIA_PERIOD)
    if len(times) == 0 or times[-1] < path.duration - 1e-6:
        times = np.append(times, path.duration)
    commands: list[JointCommand] = []
    position, begin = path.positions[0], 0.0
    for time in times:
        target = path.sample(float(time))
        way = float(np.abs(target - position).max())
        if way < (_LEAST_WAY if time < path.duration - 1e-6 else 1e-12):
            continue
        speed = max(_SLOWEST, way / (float(time) - begin))
        commands.append(JointCommand(target, speed, _BLEND_RADIUS))
        position, begin = target, float(time)
    if commands:  # the path rests at its end
        commands[-1] = JointCommand(path.positions[-1], commands[-1].speed, _STOP_AT_POINT)
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
        """A command to send now, if there is one and the controller has room for it."""
        if not self._commands or self._ahead >= self._depth:
            return None
        self._in_flight += 1
        return self._commands.pop(0)

    @property
    def empty(self) -> bool:
        """Whether everything was sent, taken and carried out as far as is known."""
        return not self._commands and self._ahead == 0

    @property
    def _ahead(self) -> int:
        return self._waiting + self._unreported + self._in_flight
