# SPDX-License-Identifier: Apache-2.0
"""Sends the arm's controller straight from posture to posture."""

from __future__ import annotations

import math

from builtin_interfaces.msg import Duration
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_core.nodes.qos import COMMAND
from deft_core.validation import FloatArray
from deft_msgs.msg import ArmState
from deft_perception.calibration.joint_move import straight_joint_move
from deft_perception.calibration.postures import CalibrationPostures


class PostureDriver:
    """Publishes slow moves, as long as nobody else does."""

    def __init__(self, node: Node, postures: CalibrationPostures, speed: float) -> None:
        """Create the publisher on behalf of a node.

        Args:
            node: Owns the publisher.
            postures: Where the arm will go; names its joints.
            speed: Peak speed of the fastest joint. [rad/s].
        """
        self.postures = postures
        self._speed = speed
        self._trajectories = node.create_publisher(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', COMMAND
        )

    def send(self, arm: ArmState, target: FloatArray) -> float:
        """Send the arm straight from where it is to a posture.

        Args:
            arm: Its present state.
            target: In the order of the postures' joint names. Shape (n,). [rad].

        Returns:
            Planned duration. [s].
        """
        names = self.postures.joint_names
        by_name = dict(zip(arm.joint_names, arm.joint_positions, strict=True))
        start = [by_name[name] for name in names]
        times, positions = straight_joint_move(start, target, self._speed)
        points = [
            JointTrajectoryPoint(positions=row.tolist(), time_from_start=_duration(moment))
            for moment, row in zip(times, positions, strict=True)
        ]
        self._trajectories.publish(JointTrajectory(joint_names=list(names), points=points))
        return float(times[-1])

    def stop(self) -> None:
        """Hold the arm where it is: an empty trajectory is the controller's word for it."""
        self._trajectories.publish(JointTrajectory(joint_names=list(self.postures.joint_names)))


def _duration(seconds: float) -> Duration:
    whole = math.floor(seconds)
    return Duration(sec=whole, nanosec=min(round((seconds - whole) * 1e9), 999_999_999))
