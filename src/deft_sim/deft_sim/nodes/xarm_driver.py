# SPDX-License-Identifier: Apache-2.0
"""Stands in for the node of xarm_ros2's driver: same services, topics, rates, codes and oddities.

Services run one after the other in one thread, as in the real node: a call with `wait` blocks all
others. Topics are published from elsewhere (there, by threads of the SDK) and go on meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from deft_arm.xarm_codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    OK,
    PARAMETER_ERROR,
    WAIT_TIMEOUT,
    Mode,
    State,
)
from deft_core.rotations import euler_from_matrix, matrix_from_euler
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES
from deft_sim.xarm_controller import MOST_COMMANDS, NO_SOLUTION, SimulatedXArm
from xarm_msgs import srv
from xarm_msgs.msg import RobotMsg

# What the node offers when nobody changes its parameters.
ON_BY_DEFAULT: Final = frozenset(
    {
        'clean_error', 'clean_warn', 'set_mode', 'set_state', 'motion_enable', 'get_servo_angle',
        'set_position', 'set_servo_angle', 'set_servo_angle_j', 'move_gohome',
        'vc_set_joint_velocity', 'vc_set_cartesian_velocity',
    }
)  # fmt: skip
REPORT_RATES: Final = {'normal': 5.0, 'rich': 5.0, 'dev': 100.0}  # [Hz]
_RICH_PERIOD: Final = 0.2  # [s] error, warning and motors come at 5 Hz in every report
_DEPTH: Final = 10  # of the publishers
_DOF: Final = 6
_WAIT_PERIOD: Final = 0.05  # [s] at which a waiting call looks
_MODE_PAUSE: Final = 0.01  # [s] between stop and mode
_LINE_STEP: Final = 0.02  # [m] between the solved poses of a straight line
_MM: Final = 1000.0


class SimulatedXArmDriver:
    """The node `ufactory_driver` with its thread, on a simulated control box.

    Args:
        box: The control box.
        context: Of rclpy.
        services: Switches beside the defaults, as in xarm_user_params.yaml.
        report_type: normal, rich or dev.
        namespace: Of topics and services.
    """

    def __init__(
        self,
        box: SimulatedXArm,
        context: Context,
        services: Mapping[str, bool],
        report_type: str,
        namespace: str = 'xarm',
    ) -> None:
        """Create the node and start its thread."""
        self._box = box
        self._period = 1.0 / REPORT_RATES[report_type]
        self._next_report, self._next_rich = 0.0, 0.0
        self._rich = box.report()
        self._ending = threading.Event()
        # Names and parameters on the command line are those of the simulation node.
        self._node = Node('ufactory_driver', context=context, use_global_arguments=False)
        make = self._node.create_publisher
        self._joint_publisher = make(JointState, f'/{namespace}/joint_states', _DEPTH)
        self._state_publisher = make(RobotMsg, f'/{namespace}/robot_states', _DEPTH)
        for name, (kind, callback) in self._services().items():
            if services.get(name, name in ON_BY_DEFAULT):
                self._node.create_service(kind, f'/{namespace}/{name}', callback)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='ufactory_driver', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and take the node away; the box goes on with its queue."""
        self._ending.set()
        self._thread.join()
        self._node.destroy_node()
        self._executor.shutdown()

    def publish(self, stamp: float, joints: FloatArray, efforts: FloatArray) -> None:
        """Publish what is due; without a connection to the box nothing is.

        Args:
            stamp: Time of the measurement. [s].
            joints: Shape (6,). [rad].
            efforts: Shape (6,). [N m].
        """
        if stamp < self._next_report or not self._box.connected or self._ending.is_set():
            return
        self._next_report = max(self._next_report + self._period, stamp + 0.5 * self._period)
        report = self._box.report()
        if stamp >= self._next_rich:
            self._next_rich = stamp + _RICH_PERIOD
            self._rich = report
        rotation, position = self._box.flange(joints)
        seconds, rest = divmod(stamp, 1.0)
        time_stamp = Time(sec=int(seconds), nanosec=int(rest * 1e9))
        message = RobotMsg(
            state=report.state,
            mode=report.mode,
            cmdnum=report.waiting,
            mt_brake=self._rich.motors,
            mt_able=self._rich.motors,
            err=self._rich.error,
            angle=joints.tolist(),
            pose=np.concatenate([_MM * position, euler_from_matrix(rotation)]).astype(np.float32),
            offset=self._rich.tool_offset.astype(np.float32),
        )
        message.header.stamp = time_stamp
        self._state_publisher.publish(message)
        states = JointState(
            name=list(ARM_JOINT_NAMES),
            position=joints.tolist(),
            velocity=[0.0] * _DOF,
            effort=efforts.tolist(),
        )
        states.header.stamp = time_stamp
        states.header.frame_id = 'joint-state data'
        self._joint_publisher.publish(states)

    def _spin(self) -> None:
        while not self._ending.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    def _services(self) -> dict[str, tuple[Any, Callable[[Any, Any], Any]]]:
        """Type and callback of everything that can be switched on."""
        box = self._box
        plain = {
            'clean_error': (srv.Call, lambda _: box.clear_error()),
            'clean_warn': (srv.Call, lambda _: OK),
            'motion_enable': (
                srv.SetInt16ById,
                lambda r: box.enable_motors(r.id, on=bool(r.data)),
            ),
            'set_mode': (srv.SetInt16, self._set_mode),
            'set_state': (srv.SetInt16, lambda r: box.set_state(r.data)),
            'set_position': (srv.MoveCartesian, self._set_position),
            'set_servo_angle': (srv.MoveJoint, self._set_servo_angle),
            'set_servo_angle_j': (srv.MoveJoint, self._set_servo_angle_j),
            'move_gohome': (srv.MoveHome, self._move_home),
            'vc_set_joint_velocity': (srv.MoveVelocity, self._set_joint_velocity),
            'vc_set_cartesian_velocity': (srv.MoveVelocity, self._set_cartesian_velocity),
            'set_tcp_offset': (srv.SetFloat32List, self._set_tool_offset),
            'set_tcp_load': (srv.SetTcpLoad, self._set_tool_load),
            'set_collision_sensitivity': (srv.SetInt16, self._set_sensitivity),
            'set_collision_rebound': (srv.SetInt16, lambda _: box.configure()),
            'set_self_collision_detection': (srv.SetInt16, lambda _: box.configure()),
            'set_reduced_mode': (srv.SetInt16, lambda _: box.configure()),
            'set_reduced_tcp_boundary': (srv.SetInt16List, self._set_boundary),
            'set_fence_mode': (srv.SetInt16, lambda r: box.set_fence(on=bool(r.data))),
        }
        found: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
            name: (kind, self._answering(act)) for name, (kind, act) in plain.items()
        }
        found['get_state'] = (srv.GetInt16, self._reading(lambda: int(box.report().state)))
        found['get_cmdnum'] = (srv.GetInt16, self._reading(lambda: int(box.report().waiting)))
        found['get_err_warn_code'] = (
            srv.GetInt16List,
            self._reading(lambda: [int(box.report().error), 0]),
        )
        # Always seven values; the last one is padding on this arm.
        found['get_servo_angle'] = (
            srv.GetFloat32List,
            self._reading(lambda: [*box.setpoint().tolist(), 0.0]),
        )
        return found

    def _answering(self, act: Callable[[Any], int]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, response: Any) -> Any:
            response.ret = act(request) if self._box.connected else DISCONNECTED
            return response

        return answer

    def _reading(self, read: Callable[[], Any]) -> Callable[[Any, Any], Any]:
        def answer(_: Any, response: Any) -> Any:
            if not self._box.connected:
                response.ret = DISCONNECTED
                return response
            value = read()
            if isinstance(value, list):
                response.datas = value
            else:
                response.data = value
            return response

        return answer

    def _set_mode(self, request: Any) -> int:
        self._box.set_state(int(State.STOPPED))
        time.sleep(_MODE_PAUSE)
        return self._box.set_mode(request.data)

    def _set_servo_angle(self, request: Any) -> int:
        if len(request.angles) < _DOF:
            return PARAMETER_ERROR
        target = _joints(request.angles)
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
        return self._move(lambda: self._box.servo_joints(_joints(request.angles)), None)

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
        code = self._move(lambda: self._line(request), request if request.wait else None)
        return code if request.relative or request.wait else OK

    def _line(self, request: Any) -> int:
        """Queue a straight line as solved poses."""
        pose = np.asarray(request.pose[:_DOF], dtype=np.float64)
        joints = self._box.setpoint()
        rotation, start = self._box.flange(joints)
        target = matrix_from_euler(pose[3:])
        end = pose[:3] / _MM
        if request.relative:
            end, target = start + end, target @ rotation
        length = float(np.linalg.norm(end - start))
        count = max(1, int(np.ceil(length / _LINE_STEP)))
        speed = (request.speed or 100.0) / _MM
        code = OK
        for index in range(1, count + 1):
            position = start + (end - start) * index / count
            solved = self._box.solve(joints, target, position)
            if len(solved) == 0:
                self._box.fail(NO_SOLUTION)
                return HAS_ERROR
            way = float(np.abs(solved - joints).max())
            pace = max(0.02, way * speed / max(length / count, 1e-6))
            code = self._box.move_joints(solved, min(pace, 2.0), 0.0, blends=index < count)
            if code != OK:
                return code
            joints = solved
        return code

    def _set_joint_velocity(self, request: Any) -> int:
        if len(request.speeds) < _DOF:
            return PARAMETER_ERROR
        velocity = _joints(request.speeds)
        return self._move(
            lambda: self._box.move_at(velocity, request.duration, Mode.JOINT_VELOCITY), None
        )

    def _set_cartesian_velocity(self, request: Any) -> int:
        if len(request.speeds) < _DOF:
            return PARAMETER_ERROR
        twist = np.asarray(request.speeds[:_DOF], dtype=np.float64)
        joints = self._box.setpoint()
        rotation, position = self._box.flange(joints)
        linear, angular = twist[:3] / _MM, twist[3:]
        if request.is_tool_coord:
            linear, angular = rotation @ linear, rotation @ angular
        step = 0.01  # [s] over which the velocity is turned into joints
        turn = matrix_from_euler(step * angular)  # small angles: any order is the same
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
        self._box.tool_offset = _joints(request.datas)
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
        corners = np.asarray(request.datas[:_DOF], dtype=np.float64) / _MM
        return self._box.set_boundary(corners[1::2], corners[0::2])

    def _move(self, command: Callable[[], int], waiting: Any) -> int:
        """Give a motion command; it blocks while the arm is paused or the queue is full."""
        while not self._ending.is_set() and self._box.connected:
            report = self._box.report()
            if report.state != State.PAUSED and report.waiting < MOST_COMMANDS:
                break
            time.sleep(_WAIT_PERIOD)
        code = command()
        if code == OK and waiting is not None and waiting.wait:
            return self._wait(waiting)
        return code

    def _wait(self, request: Any) -> int:
        """Block this thread, and so every other service, until the arm has nothing to do."""
        timeout = -1.0 if request is None else float(request.timeout)
        end = time.monotonic() + timeout if timeout > 0.0 else float('inf')
        while not self._ending.is_set():
            if not self._box.connected:
                return DISCONNECTED
            report = self._box.report()
            if report.error:
                return HAS_ERROR
            if report.state >= State.STOPPED:
                return EMERGENCY_STOPPED
            if report.state == State.READY and report.waiting == 0:
                return OK
            if time.monotonic() > end:
                return WAIT_TIMEOUT
            time.sleep(_WAIT_PERIOD)
        return DISCONNECTED


def _joints(values: Any) -> FloatArray:
    return np.asarray(values[:_DOF], dtype=np.float64)
