# SPDX-License-Identifier: Apache-2.0
"""Stands in for the node of xarm_ros2's driver: same services, topics, rates, codes and oddities.

Services run one after the other in one thread, as in the real node: a call with `wait` blocks all
others. Topics are published from elsewhere (there, by threads of the SDK) and go on meanwhile.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES
from deft_sim.nodes.xarm_services import DEBUG, ON_BY_DEFAULT, XArmServices
from deft_sim.world import JointSample
from deft_sim.xarm_controller import SERVO_ERRORS, SimulatedXArm
from xarm_msgs.msg import RobotMsg

REPORT_RATES: Final = {'normal': 5.0, 'rich': 5.0, 'dev': 100.0}  # [Hz]
_RICH_PERIOD: Final = 0.2  # [s] errors, motors and joint velocities come at 5 Hz in every report
_DEPTH: Final = 10  # of the publishers
_MM: Final = 1000.0


class SimulatedXArmDriver:
    """The node `ufactory_driver` with its thread, on a simulated control box.

    Args:
        box: The control box.
        context: Of rclpy.
        switches: Services that are on or off beside the defaults, as in xarm_user_params.yaml.
        report_type: normal, rich or dev.
        most_reports: Rate that reports never exceed. [Hz].
        namespace: Of topics and services.
    """

    def __init__(
        self,
        box: SimulatedXArm,
        context: Context,
        switches: Mapping[str, bool],
        report_type: str,
        most_reports: float = REPORT_RATES['dev'],
        namespace: str = 'xarm',
    ) -> None:
        """Create the node and start its thread.

        Raises:
            ConfigurationError: A switch names a service that is not simulated.
        """
        self._box = box
        self._period = 1.0 / min(REPORT_RATES[report_type], most_reports)
        self._next_report, self._next_rich = 0.0, 0.0
        self._ending = threading.Event()
        self._services = XArmServices(box, self._ending)
        offered = self._services.all()
        _check(switches, offered.keys())
        if box.connected and box.report().error in SERVO_ERRORS:
            box.clear_error()  # the real one does so, too, when it starts
        self._rich = box.report()
        self._velocities = [0.0] * len(ARM_JOINT_NAMES)
        # Names and parameters on the command line are those of the simulation node.
        self._node = Node('ufactory_driver', context=context, use_global_arguments=False)
        make = self._node.create_publisher
        self._joint_publisher = make(JointState, f'/{namespace}/joint_states', _DEPTH)
        self._state_publisher = make(RobotMsg, f'/{namespace}/robot_states', _DEPTH)
        for name, (kind, callback) in offered.items():
            if switches.get(DEBUG, False) or switches.get(name, name in ON_BY_DEFAULT):
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

    def publish(self, stamp: float, arm: JointSample) -> None:
        """Publish what is due; without a connection to the box nothing is.

        Args:
            stamp: Time of the measurement. [s].
            arm: Measured joints.
        """
        if not self._services.connected or stamp < self._next_report or self._ending.is_set():
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


def _check(switches: Mapping[str, bool], simulated: Collection[str]) -> None:
    """Refuse names that the real driver would let pass without a word.

    Raises:
        ConfigurationError: A switch names a service that is not simulated.
    """
    for name in switches:
        if name != DEBUG and name not in simulated:
            raise ConfigurationError(
                f'The driver is to offer the service {name!r}, which is not simulated; '
                f'{nearest(name, tuple(simulated))}'
            )


def _pose(rotation: FloatArray, position: FloatArray) -> list[float]:
    """As reported, roll, pitch and yaw without the checks that a report need not pay for.

    Returns:
        Length 6. [mm, rad].
    """
    (r00, _, _), (r10, _, _), (r20, r21, r22) = rotation.tolist()
    angles = (math.atan2(r21, r22), math.atan2(-r20, math.hypot(r21, r22)), math.atan2(r10, r00))
    return [*(_MM * position).tolist(), *angles]
