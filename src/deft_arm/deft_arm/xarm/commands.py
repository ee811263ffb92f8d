# SPDX-License-Identifier: Apache-2.0
"""What an xArm controller is sent: the calls that make it ready, and paths for its queue.

The order of a recovery is that of its manual (ufactory_doc_usermanual, section 12.3): fix the
cause, clear error and warning, enable the motors, set the mode (which stops the arm), set state 0,
then look whether it worked. Settings leave the controller in state 5, so that it is made ready
again after them; `set_tcp_load` is a motion for the SDK and wants state 0 directly before it.

In position mode the controller plans by itself between the joint positions that wait in its
queue, blending from one to the next; a blend radius must not be greater than the track. It gets
few of them at a time: what waits there is what the arm goes on with when this computer dies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from deft_arm.configuration import ControllerSettings
from deft_arm.planning.paths import JointPath
from deft_arm.xarm.codes import ALL_JOINTS, HAS_ERROR, HAS_WARNING, OK, SET_READY, Mode
from deft_core.validation import FloatArray

_MILLIMETRES: Final = 1000.0
_VIA_PERIOD: Final = 0.1  # [s] between commands of a path without marks
_LEAST_WAY: Final = 0.004  # [rad] shorter ways are joined to the next one
_SLOWEST: Final = 0.02  # [rad/s] the SDK takes 0.01 and more
_LARGEST_RADIUS: Final = 5.0  # [mm] of the blend from one command to the next
_LARGEST_SHARE: Final = 0.5  # of the shorter of the two tracks: none may be blended away
_STOP_AT_POINT: Final = -1.0


class Call(NamedTuple):
    """One service call."""

    service: str  # name below the namespace of the driver
    fields: dict[str, Any]  # of the request
    taken: frozenset[int] = frozenset({OK})  # return codes after which one may go on


# They answer whether something is still pending, as a warning is after the error was cleared, or
# an error whose cause lasts. Reports tell that anyway.
_PENDING: Final = frozenset({OK, HAS_ERROR, HAS_WARNING})
_READY: Final = Call('set_state', {'data': SET_READY})

CLEAN_ERROR: Final = Call('clean_error', {}, _PENDING)
"""Only a person may have it called."""

CLEAN_WARNING: Final = Call('clean_warn', {}, _PENDING)
"""Comes before settings: a pending warning would be the answer to each of them."""

ENABLING: Final = (
    Call('motion_enable', {'id': ALL_JOINTS, 'data': 1}),
    Call('set_mode', {'data': int(Mode.POSITION)}),
    _READY,
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
        *ENABLING,
        Call('set_tcp_offset', {'datas': [0.0] * 6}),
        _READY,
        Call('set_tcp_load', {'weight': settings.tool_mass, 'center_of_gravity': centre}),
        Call('set_collision_sensitivity', {'data': settings.collision_sensitivity}),
        Call('set_collision_rebound', {'data': 0}),
        Call('set_self_collision_detection', {'data': 1}),
        Call('set_reduced_mode', {'data': 0}),
        Call('set_reduced_tcp_boundary', {'datas': boundary}),
        Call('set_fence_mode', {'data': 1}),
    ]


def motion_calls(
    path: JointPath, acceleration: float, flange: Callable[[FloatArray], FloatArray]
) -> list[Call]:
    """Calls whose execution follows a path, at an acceleration [rad/s^2]; none where it rests.

    `flange` tells where the flange, which is the tool centre, is at given joints. [m].
    """
    times = path.marks if len(path.marks) else np.arange(_VIA_PERIOD, path.duration, _VIA_PERIOD)
    if len(times) == 0 or times[-1] < path.duration - 1e-6:
        times = np.append(times, path.duration)
    calls: list[Call] = []
    points = [flange(path.positions[0])]
    position, begin = path.positions[0], 0.0
    for time in times:
        target = path.sample(float(time))
        way = float(np.abs(target - position).max())
        if way < (_LEAST_WAY if time < path.duration - 1e-6 else 1e-12):
            continue
        fields = {
            'angles': target.tolist(),
            'speed': max(_SLOWEST, way / (float(time) - begin)),
            'acc': acceleration,
            'radius': _STOP_AT_POINT,  # the path rests at its end
            'wait': False,
        }
        calls.append(Call('set_servo_angle', fields))
        points.append(flange(target))
        position, begin = target, float(time)
    if calls:
        calls[-1].fields['angles'] = path.positions[-1].tolist()
    tracks = _MILLIMETRES * np.linalg.norm(np.diff(points, axis=0), axis=1)
    for call, before, after in zip(calls[:-1], tracks[:-1], tracks[1:], strict=True):
        radius = min(_LARGEST_RADIUS, _LARGEST_SHARE * float(min(before, after)))
        call.fields['radius'] = radius
    return calls
