# SPDX-License-Identifier: Apache-2.0
"""Drives the arm through a joint trajectory controller of ros2_control."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from deft_arm.nodes.messages import Measurement, path_to_msg
from deft_arm.planning.paths import JointPath
from deft_core.decode import order_joints
from deft_core.errors import InvalidInputError
from deft_core.nodes.qos import COMMAND, STATE
from deft_core.validation import finite_array

TRAJECTORY_TOPIC: Final = '/xarm6_traj_controller/joint_trajectory'
STATE_TOPIC: Final = '/joint_states'


class Ros2ControlBackend:
    """One trajectory per phase, to the topic of `xarm6_traj_controller`; no call blocks.

    The controller tells nothing but joint states: that it has stopped is seen from them.
    """

    own_pace = False  # whether the controller decides on the time along a path
    source = STATE_TOPIC  # of the joints, for messages
    waits_for = 'a person to clear the fault'  # while it is not ready, for messages
    idle = True  # whether the controller says that it has carried out all that it was sent
    error_code = 0  # of the controller, 0 where it has none

    def __init__(self, node: Node, joint_names: Sequence[str]) -> None:
        """Create publisher and subscription on `node`."""
        self._node = node
        self._names = list(joint_names)
        self.measurement: Measurement | None = None
        self.stopped = False  # it takes nothing before `recover`
        self._publisher = node.create_publisher(JointTrajectory, TRAJECTORY_TOPIC, COMMAND)
        node.create_subscription(JointState, STATE_TOPIC, self._on_joints, STATE)

    @property
    def ready(self) -> bool:
        """Whether a path can be started now."""
        return not self.stopped

    def start(self, path: JointPath) -> None:
        """Send the path as one trajectory."""
        self._publisher.publish(path_to_msg(path, self._names))

    def stop(self, path: JointPath | None, *, for_good: bool) -> None:
        """Send the path on which the arm comes to rest, None where nothing is under way.

        For good: nothing moves before `recover`; else motion goes on with the next goal.
        """
        self.stopped |= for_good
        if path is not None:
            self.start(path)

    def recover(self) -> None:
        """Take the next trajectory; a person has seen to the cause."""
        self.stopped = False

    def cycle(self) -> None:
        """Nothing to do: a trajectory is sent at once."""

    def _on_joints(self, message: JointState) -> None:
        try:
            joints = finite_array(
                'joint states',
                order_joints(message.name, message.position, self._names),
                (len(self._names),),
            )
        except InvalidInputError as error:
            # Counts as silence: the time-out acts when nothing better follows.
            self._node.get_logger().error(
                f'Refused joint states: {error}', throttle_duration_sec=1.0
            )
            return
        known = len(message.velocity) == len(message.name)
        velocities = (
            order_joints(message.name, message.velocity, self._names).tolist() if known else []
        )
        self.measurement = Measurement(joints, velocities, time.monotonic(), message.header.stamp)
