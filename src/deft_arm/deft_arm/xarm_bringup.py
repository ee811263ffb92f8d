# SPDX-License-Identifier: Apache-2.0
"""Calls that make an xArm controller ready to move, in the order that its manual asks for.

Fix the cause, clear error and warning, enable the motors, set the mode (which stops the arm), set
state 0, then look whether it worked (ufactory_doc_usermanual, section 12.3). Settings that stand
between the clearing and the mode leave the controller in state 5, so state 0 comes last always.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from deft_arm.xarm_codes import ALL_JOINTS, ALL_JOINTS_ENABLED, OK, SET_READY, Mode, State

_MILLIMETRES: Final = 1000.0
Three = tuple[float, float, float]
_BOX: Final = {'minimum': -1.5, 'maximum': 1.5, 'unit': 'm'}


@dataclass(frozen=True)
class ControllerSettings:
    """What is set on the controller before the arm moves.

    Attributes:
        collision_sensitivity: 1 to 5, larger stops earlier; the vendor advises 3 or more.
        tool_mass: Hand with its mount. [kg].
        tool_centre_of_mass: In the flange frame. [m].
        fence_lower: Lowest corner of the box that the flange may not leave. [m].
        fence_upper: Highest corner of that box. [m].
    """

    collision_sensitivity: int = field(metadata={'minimum': 1, 'maximum': 5})
    tool_mass: float = field(metadata={'minimum': 0.0, 'maximum': 5.0, 'unit': 'kg'})
    tool_centre_of_mass: Three = field(metadata={'minimum': -0.5, 'maximum': 0.5, 'unit': 'm'})
    fence_lower: Three = field(metadata=_BOX)
    fence_upper: Three = field(metadata=_BOX)


@dataclass(frozen=True)
class Call:
    """One service call.

    Attributes:
        service: Name below the namespace of the driver.
        fields: Of the request.
        accepted: Return codes that let the sequence go on.
    """

    service: str
    fields: dict[str, Any]
    accepted: frozenset[int] = frozenset({OK})


def clearing() -> list[Call]:
    """Calls that clear errors and warnings."""
    return [Call('clean_error', {}), Call('clean_warn', {})]


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


def enabling() -> list[Call]:
    """Calls after which the controller takes motion commands in position mode."""
    return [
        Call('motion_enable', {'id': ALL_JOINTS, 'data': 1}),
        Call('set_mode', {'data': int(Mode.POSITION)}),
        Call('set_state', {'data': SET_READY}),
    ]


def ready(state: int, mode: int, motors: int, error: int) -> bool:
    """Whether a report says that the arm takes motion commands.

    Args:
        state: As reported.
        mode: As reported.
        motors: One bit per enabled motor.
        error: Error code.
    """
    return (
        state in (State.MOVING, State.READY)
        and mode == Mode.POSITION
        and motors & ALL_JOINTS_ENABLED == ALL_JOINTS_ENABLED
        and error == 0
    )
