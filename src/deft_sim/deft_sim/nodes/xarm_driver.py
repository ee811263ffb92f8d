# SPDX-License-Identifier: Apache-2.0
"""Stands in for the node of xarm_ros2's driver, as far as the arm node speaks to it.

Services run one after the other in one thread, as in the real node: a call with `wait`, or a
motion while the arm is paused or its queue full, blocks all others. Topics are published from
elsewhere (there, by threads of the SDK) and go on meanwhile. Return codes are those of the
vendor's SDK, see `deft_sim.xarm_controller`; the `message` of an answer repeats the request.
"""

from __future__ import annotations

import math
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

from deft_arm.xarm.codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    OK,
    PARAMETER_ERROR,
    WAIT_TIMEOUT,
    State,
)
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES
from deft_sim.world import JointSample
from deft_sim.xarm_controller import MOST_COMMANDS, SERVO_ERRORS, SimulatedXArm
from xarm_msgs import srv
from xarm_msgs.msg import RobotMsg

REPORT_RATES: Final = {'normal': 5.0, 'rich': 5.0, 'dev': 100.0}  # [Hz]
_RICH_PERIOD: Final = 0.2  # [s] errors, motors and joint velocities come at 5 Hz in every report
_DEPTH: Final = 10  # of the publishers
_DEBUG: Final = 'debug'  # a switch that turns all services on
# What the node offers when nobody changes its parameters.
_ON_BY_DEFAULT: Final = frozenset(
    {'clean_error', 'clean_warn', 'set_servo_angle', 'set_mode', 'set_state', 'motion_enable'}
)
_DOF: Final = 6
_WAIT_PERIOD: Final = 0.05  # [s] at which a waiting call looks
_MODE_PAUSE: Final = 0.01  # [s] between stop and mode
_MM: Final = 1000.0


class SimulatedXArmDriver:
    """The node `ufactory_driver` with its thread, on a simulated control box.

    The switches turn services on or off beside the defaults, as in xarm_user_params.yaml; the
    report type is normal, rich or dev, and `most_reports` [Hz] a rate that is never exceeded.
    """

    def __init__(
        self,
        box: SimulatedXArm,
        context: Context,
        switches: Mapping[str, bool],
        report_type: str,
        most_reports: float = REPORT_RATES['dev'],
    ) -> None:
        """Create the node and start its thread."""
        self._box = box
        self._lost = False
        self._period = 1.0 / min(REPORT_RATES[report_type], most_reports)
        self._next_report, self._next_rich = 0.0, 0.0
        self._ending = threading.Event()
        offered = self._services()
        _check(switches, tuple(offered))
        if box.connected and box.report().error in SERVO_ERRORS:
            box.clear_error()  # the real one does so, too, when it starts
        self._rich = box.report()
        self._velocities = [0.0] * len(ARM_JOINT_NAMES)
        # Names and parameters on the command line are those of the simulation node.
        self._node = Node('ufactory_driver', context=context, use_global_arguments=False)
        make = self._node.create_publisher
        self._joint_publisher = make(JointState, '/xarm/joint_states', _DEPTH)
        self._state_publisher = make(RobotMsg, '/xarm/robot_states', _DEPTH)
        for name, (kind, act) in offered.items():
            if switches.get(_DEBUG, False) or switches.get(name, name in _ON_BY_DEFAULT):
                self._node.create_service(kind, f'/xarm/{name}', self._answering(act))
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='ufactory_driver', daemon=True)
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether the box is heard; once lost it never is again, only by another process."""
        self._lost = self._lost or not self._box.connected
        return not self._lost

    def close(self) -> None:
        """End the thread and take the node away; the box goes on with its queue."""
        self._ending.set()
        self._thread.join()
        self._node.destroy_node()
        self._executor.shutdown()

    def publish(self, stamp: float, arm: JointSample) -> None:
        """Publish what is due of joints measured at a time [s]; nothing without a connection."""
        if not self.connected or stamp < self._next_report or self._ending.is_set():
            return
        self._next_report = max(self._next_report + self._period, stamp + 0.5 * self._period)
        report = self._box.report()
        if stamp >= self._next_rich:
            self._next_rich = stamp + _RICH_PERIOD
            self._rich = report
            self._velocities = arm.velocities.tolist()
        rotation, position = self._box.flange(arm.positions)
        seconds, rest = divmod(stamp, 1.0)
        time_stamp = Time(sec=int(seconds), nanosec=int(rest * 1e9))
        message = RobotMsg(
            state=report.state,
            mode=report.mode,
            cmdnum=report.waiting,
            mt_brake=self._rich.motors,
            mt_able=self._rich.motors,
            err=self._rich.error,
            warn=self._rich.warning,
            angle=arm.positions.tolist(),
            pose=_pose(rotation, position),
            offset=self._rich.tool_offset.astype(np.float32),
        )
        message.header.stamp = time_stamp
        self._state_publisher.publish(message)
        states = JointState(
            name=list(ARM_JOINT_NAMES),
            position=arm.positions.tolist(),
            velocity=self._velocities,
            effort=arm.efforts.tolist(),
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

    def _services(self) -> dict[str, tuple[Any, Callable[[Any], int]]]:
        """Type of everything that can be switched on and what it does, by name."""
        box = self._box
        return {
            'clean_error': (srv.Call, lambda _: box.clear_error()),
            'clean_warn': (srv.Call, lambda _: box.clear_warning()),
            'set_servo_angle': (srv.MoveJoint, self._set_servo_angle),
            'motion_enable': (srv.SetInt16ById, lambda r: box.enable_motors(r.id, on=r.data == 1)),
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

    def _answering(self, act: Callable[[Any], int]) -> Callable[[Any, Any], Any]:
        """Callback of a service."""

        def answer(request: Any, response: Any) -> Any:
            code = act(request) if self.connected else DISCONNECTED
            response.ret = code if self.connected else DISCONNECTED
            response.message = '' if code == PARAMETER_ERROR else _message(request)
            return response

        return answer

    def _until_taken(self) -> None:
        """Block this thread, and so every other service, while the arm is paused or full."""
        while not self._ending.is_set() and self.connected:
            report = self._box.report()
            if report.state != State.PAUSED and report.waiting < MOST_COMMANDS:
                return
            time.sleep(_WAIT_PERIOD)

    def _set_mode(self, request: Any) -> int:
        self._box.set_state(int(State.STOPPED))
        time.sleep(_MODE_PAUSE)
        return self._box.set_mode(request.data)

    def _set_servo_angle(self, request: Any) -> int:
        if len(request.angles) < _DOF:
            return PARAMETER_ERROR
        self._until_taken()
        code = self._box.move_joints(
            _six(request.angles), request.speed, request.acc, blends=request.radius >= 0.0
        )
        return self._wait(request.timeout) if code == OK and request.wait else code

    def _set_tool_offset(self, request: Any) -> int:
        if len(request.datas) < _DOF:
            return PARAMETER_ERROR
        self._until_taken()
        self._wait()
        self._box.tool_offset = _six(request.datas)
        return self._box.configure()

    def _set_tool_load(self, request: Any) -> int:
        if len(request.center_of_gravity) < 3:
            return PARAMETER_ERROR
        self._until_taken()
        return self._box.set_tool_mass(float(request.weight))

    def _set_sensitivity(self, request: Any) -> int:
        self._until_taken()
        self._wait()
        self._box.sensitivity = int(request.data)
        return self._box.configure()

    def _set_boundary(self, request: Any) -> int:
        if len(request.datas) < _DOF:
            return PARAMETER_ERROR
        corners = _six(request.datas) / _MM
        return self._box.set_boundary(corners[1::2], corners[0::2])

    def _wait(self, timeout: float = -1.0) -> int:
        """Block this thread, and so every other service, until the arm has nothing to do."""
        end = time.monotonic() + timeout if timeout > 0.0 else float('inf')
        while not self._ending.is_set() and self.connected:
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


def _check(switches: Mapping[str, bool], simulated: tuple[str, ...]) -> None:
    """Refuse names that the real driver would let pass without a word."""
    for name in switches:
        if name != _DEBUG and name not in simulated:
            raise ConfigurationError(
                f'The driver is to offer the service {name!r}, which is not simulated; '
                f'{nearest(name, simulated)}'
            )


def _message(request: Any) -> str:
    """What the driver says of a request: its numbers, those of motions excepted."""
    if isinstance(request, srv.SetTcpLoad.Request):
        centre = ', '.join(f'{number:f}' for number in request.center_of_gravity[:3])
        return f'weight={request.weight:f}, center_of_gravity=[ {centre} ]'
    if isinstance(request, srv.SetInt16ById.Request):
        return f'id={request.id}, data={request.data}'
    if isinstance(request, srv.SetInt16.Request):
        return f'data={request.data}'
    if isinstance(request, srv.SetInt16List.Request):
        return f'datas=[ {", ".join(str(number) for number in request.datas[:_DOF])} ]'
    if isinstance(request, srv.SetFloat32List.Request):
        return f'datas=[ {", ".join(f"{number:f}" for number in request.datas[:_DOF])} ]'
    return ''


def _six(values: Any) -> FloatArray:
    return np.asarray(values[:_DOF], dtype=np.float64)


def _pose(rotation: FloatArray, position: FloatArray) -> list[float]:
    """As reported, roll, pitch and yaw without the checks that a report need not pay for.

    Length 6. [mm, rad].
    """
    (r00, _, _), (r10, _, _), (r20, r21, r22) = rotation.tolist()
    angles = (math.atan2(r21, r22), math.atan2(-r20, math.hypot(r21, r22)), math.atan2(r10, r00))
    return [*(_MM * position).tolist(), *angles]
