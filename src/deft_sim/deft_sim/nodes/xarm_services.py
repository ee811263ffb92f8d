# SPDX-License-Identifier: Apache-2.0
"""What the services of xarm_ros2's driver do and answer, on a simulated control box.

The return codes are those of the vendor's SDK, with its habit to lose some of them: what is not a
motion answers 0 although the controller refused it (`_check_code` in xarm_api.cc), and so does an
absolute Cartesian move (`set_position` in xarm_motion.cc).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from deft_arm.xarm_codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    HAS_WARNING,
    NOT_READY,
    OK,
    PARAMETER_ERROR,
    STATE_NOT_READY,
    WAIT_TIMEOUT,
    Mode,
    State,
)
from deft_core.rotations import (
    euler_from_matrix,
    matrix_from_euler,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)
from deft_core.validation import FloatArray
from deft_sim.xarm_controller import MOST_COMMANDS, NO_SOLUTION, SimulatedXArm
from xarm_msgs import srv

DEBUG: Final = 'debug'  # a switch that turns all services on
# What the node offers when nobody changes its parameters.
ON_BY_DEFAULT: Final = frozenset(
    {
        'clean_error', 'clean_warn', 'set_mode', 'set_state', 'motion_enable', 'get_servo_angle',
        'set_position', 'set_servo_angle', 'set_servo_angle_j', 'move_gohome',
        'vc_set_joint_velocity', 'vc_set_cartesian_velocity',
    }
)  # fmt: skip
# Refusals that are lost where the call is not a motion.
_LOST: Final = frozenset({HAS_ERROR, HAS_WARNING, STATE_NOT_READY, NOT_READY})
_WAITS_IN: Final = frozenset({Mode.POSITION, Mode.PLAYBACK})  # modes in which a wait waits
_DOF: Final = 6
_WAIT_PERIOD: Final = 0.05  # [s] at which a waiting call looks
_MODE_PAUSE: Final = 0.01  # [s] between stop and mode
_LINE_STEP: Final = 0.02  # [m] between the solved poses of a straight line
_FIRST_LINE_SPEED: Final = 100.0  # [mm/s] until a command names another one
_MM: Final = 1000.0
Callback = Callable[[Any, Any], Any]


class XArmServices:
    """The services of one driver process.

    Args:
        box: The control box.
        ending: Set when the process ends; calls that wait return then.
    """

    def __init__(self, box: SimulatedXArm, ending: threading.Event) -> None:
        """Connect to the box."""
        self._box = box
        self._ending = ending
        self._lost = False
        self._line_speed = _FIRST_LINE_SPEED

    @property
    def connected(self) -> bool:
        """Whether the box is heard; once lost it never is again, only by another process."""
        self._lost = self._lost or not self._box.connected
        return not self._lost

    def all(self) -> dict[str, tuple[Any, Callback]]:
        """Type and callback of everything that can be switched on, by name."""
        return {
            **{name: (kind, self._motion(act)) for name, (kind, act) in self._motions().items()},
            **{name: (kind, self._setting(act)) for name, (kind, act) in self._settings().items()},
            **{name: (kind, self._reading(read)) for name, (kind, read) in self._reads().items()},
        }

    def _motions(self) -> dict[str, tuple[Any, Callable[[Any], int]]]:
        return {
            'clean_error': (srv.Call, lambda _: self._box.clear_error()),
            'clean_warn': (srv.Call, lambda _: OK),
            'set_position': (srv.MoveCartesian, self._set_position),
            'set_position_aa': (srv.MoveCartesian, self._set_position_aa),
            'set_tool_position': (srv.MoveCartesian, self._set_tool_position),
            'set_servo_angle': (srv.MoveJoint, self._set_servo_angle),
            'set_servo_angle_j': (srv.MoveJoint, self._set_servo_angle_j),
            'move_gohome': (srv.MoveHome, self._move_home),
            'vc_set_joint_velocity': (srv.MoveVelocity, self._set_joint_velocity),
            'vc_set_cartesian_velocity': (srv.MoveVelocity, self._set_cartesian_velocity),
        }

    def _settings(self) -> dict[str, tuple[Any, Callable[[Any], int]]]:
        box = self._box
        return {
            'motion_enable': (
                srv.SetInt16ById,
                lambda r: box.enable_motors(r.id, on=bool(r.data)),
            ),
            'set_mode': (srv.SetInt16, self._set_mode),
            'set_state': (srv.SetInt16, lambda r: box.set_state(r.data)),
            'set_tcp_offset': (srv.SetFloat32List, self._set_tool_offset),
            'set_tcp_load': (srv.SetTcpLoad, self._set_tool_load),
            'set_collision_sensitivity': (srv.SetInt16, self._set_sensitivity),
            'set_collision_rebound': (srv.SetInt16, lambda _: box.configure()),
            'set_self_collision_detection': (srv.SetInt16, lambda _: box.configure()),
            'set_reduced_mode': (srv.SetInt16, lambda _: box.configure()),
            'set_reduced_tcp_boundary': (srv.SetInt16List, self._set_boundary),
            'set_fence_mode': (srv.SetInt16, lambda r: box.set_fence(on=bool(r.data))),
        }

    def _reads(self) -> dict[str, tuple[Any, Callable[[], Any]]]:
        box = self._box
        return {
            'get_state': (srv.GetInt16, lambda: int(box.report().state)),
            'get_cmdnum': (srv.GetInt16, lambda: int(box.report().waiting)),
            'get_err_warn_code': (srv.GetInt16List, lambda: [int(box.report().error), 0]),
            # Always seven values; the last one is padding on this arm.
            'get_servo_angle': (srv.GetFloat32List, lambda: [*box.setpoint().tolist(), 0.0]),
            'get_position': (srv.GetFloat32List, lambda: self._pose(euler_from_matrix)),
            'get_position_aa': (
                srv.GetFloat32List,
                lambda: self._pose(rotation_vector_from_matrix),
            ),
        }

    def _motion(self, act: Callable[[Any], int]) -> Callback:
        def answer(request: Any, response: Any) -> Any:
            response.ret = act(request) if self.connected else DISCONNECTED
            return response

        return answer

    def _setting(self, act: Callable[[Any], int]) -> Callback:
        def answer(request: Any, response: Any) -> Any:
            code = act(request) if self.connected else DISCONNECTED
            response.ret = OK if code in _LOST else code
            return response

        return answer

    def _reading(self, read: Callable[[], Any]) -> Callback:
        def answer(_: Any, response: Any) -> Any:
            if not self.connected:
                response.ret = DISCONNECTED
                return response
            value = read()
            if isinstance(value, list):
                response.datas = value
            else:
                response.data = value
            return response

        return answer

    def _pose(self, angles: Callable[[FloatArray], FloatArray]) -> list[float]:
        rotation, position = self._box.flange(self._box.setpoint())
        return [*(_MM * position).tolist(), *angles(rotation).tolist()]

    def _set_mode(self, request: Any) -> int:
        self._box.set_state(int(State.STOPPED))
        time.sleep(_MODE_PAUSE)
        return self._box.set_mode(request.data)

    def _set_servo_angle(self, request: Any) -> int:
        if len(request.angles) < _DOF:
            return PARAMETER_ERROR
        target = _six(request.angles)
        if request.relative:
            target = self._box.setpoint() + target
        blends = request.radius >= 0.0
        return self._move(
            lambda: self._box.move_joints(target, request.speed, request.acc, blends=blends),
            request,
        )

    def _set_servo_angle_j(self, request: Any) -> int:
        if len(request.angles) < _DOF:
            return PARAMETER_ERROR
        return self._move(lambda: self._box.servo_joints(_six(request.angles)), None)

    def _move_home(self, request: Any) -> int:
        return self._move(
            lambda: self._box.move_joints(
                np.zeros(_DOF), request.speed, request.acc, blends=False
            ),
            request,
        )

    def _set_position(self, request: Any) -> int:
        """The return code of an absolute move is lost in the SDK: 0, unless a wait finds more."""
        if len(request.pose) < _DOF:
            return PARAMETER_ERROR
        pose = _six(request.pose)
        turn, shift = matrix_from_euler(pose[3:]), pose[:3] / _MM
        kept = request.relative or request.wait
        code = self._move(
            lambda: self._line(request, turn, shift, relative=request.relative),
            request if request.wait else None,
        )
        return code if kept else OK

    def _set_position_aa(self, request: Any) -> int:
        if len(request.pose) < _DOF:
            return PARAMETER_ERROR
        if request.is_tool_coord:  # `relative` is ignored then
            return self._set_tool_position(request, matrix_from_rotation_vector)
        pose = _six(request.pose)
        turn, shift = matrix_from_rotation_vector(pose[3:]), pose[:3] / _MM
        return self._move(
            lambda: self._line(request, turn, shift, relative=request.relative), request
        )

    def _set_tool_position(
        self, request: Any, matrix: Callable[[FloatArray], FloatArray] = matrix_from_euler
    ) -> int:
        """A step in the frame of the tool."""
        if len(request.pose) < _DOF:
            return PARAMETER_ERROR
        pose = _six(request.pose)
        rotation, start = self._box.flange(self._box.setpoint())
        turn, end = rotation @ matrix(pose[3:]), start + rotation @ pose[:3] / _MM
        return self._move(lambda: self._line(request, turn, end, relative=False), request)

    def _line(self, request: Any, turn: FloatArray, end: FloatArray, *, relative: bool) -> int:
        """Queue a straight line as solved poses.

        Args:
            request: Names the speed. [mm/s].
            turn: Flange at its end, or the turn from here. Shape (3, 3).
            end: Flange at its end, or the way from here. Shape (3,). [m].
            relative: Whether the two are from here.
        """
        joints = self._box.setpoint()
        rotation, start = self._box.flange(joints)
        if relative:
            end, turn = start + end, turn @ rotation
        length = float(np.linalg.norm(end - start))
        count = max(1, int(np.ceil(length / _LINE_STEP)))
        self._line_speed = request.speed or self._line_speed
        code = OK
        for index in range(1, count + 1):
            position = start + (end - start) * index / count
            solved = self._box.solve(joints, turn, position)
            if len(solved) == 0:
                self._box.fail(NO_SOLUTION)
                return HAS_ERROR
            way = float(np.abs(solved - joints).max())
            pace = max(0.02, way * self._line_speed / _MM / max(length / count, 1e-6))
            code = self._box.move_joints(solved, min(pace, 2.0), 0.0, blends=index < count)
            if code != OK:
                return code
            joints = solved
        return code

    def _set_joint_velocity(self, request: Any) -> int:
        if len(request.speeds) < _DOF:
            return PARAMETER_ERROR
        velocity = _six(request.speeds)
        return self._move(
            lambda: self._box.move_at(velocity, request.duration, Mode.JOINT_VELOCITY), None
        )

    def _set_cartesian_velocity(self, request: Any) -> int:
        if len(request.speeds) < _DOF:
            return PARAMETER_ERROR
        twist = _six(request.speeds)
        joints = self._box.setpoint()
        rotation, position = self._box.flange(joints)
        linear, angular = twist[:3] / _MM, twist[3:]
        if request.is_tool_coord:
            linear, angular = rotation @ linear, rotation @ angular
        step = 0.01  # [s] over which the velocity is turned into joints
        turn = matrix_from_rotation_vector(step * angular)
        solved = self._box.solve(joints, turn @ rotation, position + step * linear)
        if len(solved) == 0:
            self._box.fail(NO_SOLUTION)
            return HAS_ERROR
        velocity = (solved - joints) / step
        return self._move(
            lambda: self._box.move_at(velocity, request.duration, Mode.CARTESIAN_VELOCITY), None
        )

    def _set_tool_offset(self, request: Any) -> int:
        if len(request.datas) < _DOF:
            return PARAMETER_ERROR
        self._wait(None)
        self._box.tool_offset = _six(request.datas)
        return self._box.configure()

    def _set_tool_load(self, request: Any) -> int:
        if len(request.center_of_gravity) < 3:
            return PARAMETER_ERROR
        self._box.tool_mass = float(request.weight)
        return self._box.configure()

    def _set_sensitivity(self, request: Any) -> int:
        self._wait(None)
        self._box.sensitivity = int(request.data)
        return self._box.configure()

    def _set_boundary(self, request: Any) -> int:
        if len(request.datas) < _DOF:
            return PARAMETER_ERROR
        corners = _six(request.datas) / _MM
        return self._box.set_boundary(corners[1::2], corners[0::2])

    def _move(self, command: Callable[[], int], waiting: Any) -> int:
        """Give a motion command; it blocks while the arm is paused or the queue is full."""
        while not self._ending.is_set() and self.connected:
            report = self._box.report()
            if report.state != State.PAUSED and report.waiting < MOST_COMMANDS:
                break
            time.sleep(_WAIT_PERIOD)
        if not self.connected:
            return DISCONNECTED
        code = command()
        if code == OK and waiting is not None and waiting.wait:
            return self._wait(waiting)
        return code

    def _wait(self, request: Any) -> int:
        """Block this thread, and so every other service, until the arm has nothing to do."""
        timeout = -1.0 if request is None else float(request.timeout)
        end = time.monotonic() + timeout if timeout > 0.0 else float('inf')
        while not self._ending.is_set():
            if not self.connected:
                return DISCONNECTED
            report = self._box.report()
            if report.error:
                return HAS_ERROR
            if report.mode not in _WAITS_IN:
                return OK
            if report.state >= State.STOPPED:
                return EMERGENCY_STOPPED
            if report.state == State.READY and report.waiting == 0:
                return OK
            if time.monotonic() > end:
                return WAIT_TIMEOUT
            time.sleep(_WAIT_PERIOD)
        return DISCONNECTED


def _six(values: Any) -> FloatArray:
    return np.asarray(values[:_DOF], dtype=np.float64)
