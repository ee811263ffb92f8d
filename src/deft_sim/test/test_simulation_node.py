# SPDX-License-Identifier: Apache-2.0
"""The simulation as other nodes see it, over DDS."""

from __future__ import annotations

import time

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_core.errors import ConfigurationError
from deft_core.nodes.qos import COMMAND
from deft_description.models import ARM_JOINT_NAMES, MOTOR_NAMES
from deft_msgs.srv import EvaluateScene, ResetScene
from deft_sim.nodes.simulation_node import SimulationNode

CAMERA = '/camera/camera'
INTERFACE = Parameter('arm_interface', value='ros2_control')
STREAMS = {
    '/clock': Clock,
    '/joint_states': JointState,
    '/hand/motor_state': JointState,
    f'{CAMERA}/color/image_raw': Image,
    f'{CAMERA}/color/camera_info': CameraInfo,
    f'{CAMERA}/aligned_depth_to_color/image_raw': Image,
}


class World:
    """A simulation node and a peer that listens to everything it says."""

    def __init__(self, graph):
        self.graph = graph
        self.peer = self.graph.make('peer')
        self.latest = {}
        for topic, kind in STREAMS.items():
            self.peer.create_subscription(
                kind,
                topic,
                lambda message, name=topic: self.latest.__setitem__(name, message),
                qos_profile_sensor_data,
            )
        self.arm = self.peer.create_publisher(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', COMMAND
        )
        self.motors = self.peer.create_publisher(JointState, '/hand/motor_command', COMMAND)
        self.reset_scene = self.peer.create_client(ResetScene, '/simulation/reset_scene')
        self.evaluate = self.peer.create_client(EvaluateScene, '/simulation/evaluate_scene')
        self.node = SimulationNode(context=self.graph.context, parameter_overrides=[INTERFACE])
        self.graph.add(self.node)

    def fresh(self, topic):
        """A message of a topic that was published from now on."""
        self.latest.pop(topic, None)
        self.graph.until(lambda: topic in self.latest)
        return self.latest[topic]

    def arm_positions(self):
        return np.array(self.fresh('/joint_states').position)

    def move_arm(self, names, positions, seconds=1):
        point = JointTrajectoryPoint(
            positions=[float(p) for p in positions], time_from_start=Duration(sec=seconds)
        )
        self.graph.until(lambda: self.arm.get_subscription_count() > 0)
        self.arm.publish(JointTrajectory(joint_names=list(names), points=[point]))


@pytest.fixture(scope='module')
def world(make_graph):
    world = World(make_graph())
    yield world
    world.graph.close()


def test_streams_are_those_of_the_real_drivers(world):
    color = world.fresh(f'{CAMERA}/color/image_raw')
    depth = world.fresh(f'{CAMERA}/aligned_depth_to_color/image_raw')
    info = world.fresh(f'{CAMERA}/color/camera_info')
    assert (color.encoding, depth.encoding) == ('rgb8', '16UC1')
    assert color.header.frame_id == depth.header.frame_id == 'camera_color_optical_frame'
    assert (depth.width, depth.height) == (color.width, color.height) == (info.width, info.height)
    millimetres = np.frombuffer(bytes(depth.data), np.uint16)
    assert 300 < np.median(millimetres[millimetres > 0]) < 1500
    assert info.k[0] > 0.0
    assert list(world.fresh('/joint_states').name) == list(ARM_JOINT_NAMES)
    assert list(world.fresh('/hand/motor_state').name) == list(MOTOR_NAMES)


def test_the_clock_runs(world):
    first, begin = world.fresh('/clock').clock, time.monotonic()
    world.graph.until(lambda: world.latest['/clock'].clock.sec > first.sec + 2)
    # Three times as fast as the wall where the machine is free; it may be busy.
    assert 0.5 < time.monotonic() - begin < 15.0


def test_a_trajectory_moves_the_arm_by_joint_name(world):
    before = world.arm_positions()
    target = before.copy()
    target[0] += 0.2
    world.move_arm(ARM_JOINT_NAMES[::-1], target[::-1])
    world.graph.until(lambda: abs(world.arm_positions()[0] - target[0]) < 0.02)
    assert world.arm_positions() == pytest.approx(target, abs=0.05)
    world.move_arm(ARM_JOINT_NAMES, before)
    world.graph.until(lambda: abs(world.arm_positions()[0] - before[0]) < 0.003)


@pytest.mark.parametrize(
    ('names', 'value'),
    [(['joint1', 'elbow', 'joint3', 'joint4', 'joint5', 'joint6'], 0.1), (None, np.nan)],
)
def test_a_malformed_trajectory_changes_nothing(world, names, value):
    before = world.arm_positions()
    world.move_arm(names or ARM_JOINT_NAMES, [value] * 6)
    seconds = world.fresh('/clock').clock.sec
    world.graph.until(lambda: world.latest['/clock'].clock.sec > seconds + 1)
    assert world.arm_positions() == pytest.approx(before, abs=0.01)


def test_motors_follow_their_command(world):
    names = list(MOTOR_NAMES)
    before = np.array(world.fresh('/hand/motor_state').position)
    target = before.copy()
    target[2] += 0.3
    world.graph.until(lambda: world.motors.get_subscription_count() > 0)
    world.motors.publish(JointState(name=names, position=target.tolist()))
    world.graph.until(
        lambda: world.fresh('/hand/motor_state').position[2] > before[2] + 0.1, timeout=20.0
    )


def test_scenes_are_laid_out_and_judged(world):
    answer = world.graph.call(
        world.reset_scene, ResetScene.Request(object_name='blue_tumbler', scene_seed=4)
    )
    assert answer.error_code == ResetScene.Request.NONE
    judged = world.graph.call(world.evaluate, EvaluateScene.Request())
    assert judged.score == 0.0  # it stands where it was put
    assert judged.explanation


def test_an_unknown_object_is_refused_by_name(world):
    answer = world.graph.call(world.reset_scene, ResetScene.Request(object_name='unicorn'))
    assert answer.error_code == ResetScene.Request.UNKNOWN_OBJECT
    assert 'unicorn' in answer.error_message


def test_a_second_simulation_in_the_domain_leaves(world, make_graph):
    second = make_graph()
    second.add(SimulationNode(context=second.context, parameter_overrides=[INTERFACE]))
    try:
        with pytest.raises(ConfigurationError, match='another simulation'):
            second.until(lambda: False, timeout=30.0)
    finally:
        second.close()
    assert world.fresh('/clock')
