# SPDX-License-Identifier: Apache-2.0
"""The simulation as other nodes see it, over DDS."""

from __future__ import annotations

import dynamixel_sdk as sdk
import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.qos import COMMAND, LATCHED
from deft_description.models import ARM_JOINT_NAMES
from deft_hand_driver.description import load_hand_description
from deft_msgs.msg import EmergencyStop
from deft_msgs.srv import EvaluateScene, ResetScene
from deft_sim.nodes.simulation_node import Pacer, SimulationNode

CAMERA = '/camera/camera'
INTERFACE = Parameter('arm_interface', value='ros2_control')
STREAMS = {
    '/clock': Clock,
    '/joint_states': JointState,
    '/hand/observed_joint_states': JointState,
    f'{CAMERA}/color/image_raw': Image,
    f'{CAMERA}/color/camera_info': CameraInfo,
    f'{CAMERA}/aligned_depth_to_color/image_raw': Image,
}


class World:
    """A simulation node and a peer that listens to everything it says."""

    def __init__(self, graph, port):
        self.graph = graph
        self.port = port
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
        self.stops = {
            source: self.peer.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
            for source in ('panel', 'pendant')
        }
        self.words = self.peer.create_publisher(String, '/simulation/hand_bus', COMMAND)
        self.reset_scene = self.peer.create_client(ResetScene, '/simulation/reset_scene')
        self.evaluate = self.peer.create_client(EvaluateScene, '/simulation/evaluate_scene')
        overrides = [INTERFACE, Parameter('hand_port', value=str(port))]
        self.node = SimulationNode(context=self.graph.context, parameter_overrides=overrides)
        self.graph.add(self.node)

    def fresh(self, topic):
        """A message of a topic that was published from now on."""
        self.latest.pop(topic, None)
        self.graph.until(lambda: topic in self.latest)
        return self.latest[topic]

    def arm_positions(self):
        return np.array(self.fresh('/joint_states').position)

    def press(self, source, pressed):
        self.graph.until(lambda: self.stops[source].get_subscription_count() > 0)
        self.stops[source].publish(EmergencyStop(pressed=pressed, source=source, reason='drill'))

    def wait(self, seconds):
        end = self.fresh('/clock').clock.sec + seconds
        self.graph.until(lambda: self.latest['/clock'].clock.sec > end)

    def move_arm(self, names, positions, seconds=1):
        point = JointTrajectoryPoint(
            positions=[float(p) for p in positions], time_from_start=Duration(sec=seconds)
        )
        self.graph.until(lambda: self.arm.get_subscription_count() > 0)
        self.arm.publish(JointTrajectory(joint_names=list(names), points=[point]))


@pytest.fixture(scope='module')
def world(offscreen, make_graph, tmp_path_factory):
    world = World(make_graph(), tmp_path_factory.mktemp('port') / 'hand')
    yield world
    world.graph.close()
    assert not world.port.is_symlink()


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
    assert list(world.fresh('/hand/observed_joint_states').name) == list(HAND_JOINT_NAMES)


def test_the_clock_runs(world):
    first = world.fresh('/clock').clock
    world.graph.until(lambda: world.latest['/clock'].clock.sec > first.sec + 2)


def test_a_trajectory_moves_the_arm_by_joint_name(world):
    before = world.arm_positions()
    target = before.copy()
    target[0] += 0.2
    world.move_arm(ARM_JOINT_NAMES[::-1], target[::-1])
    world.graph.until(lambda: abs(world.arm_positions()[0] - target[0]) < 0.02)
    assert world.arm_positions() == pytest.approx(target, abs=0.05)
    world.move_arm(ARM_JOINT_NAMES, before)
    world.graph.until(lambda: abs(world.arm_positions()[0] - before[0]) < 0.003)


def test_who_releases_the_emergency_stop_does_so_for_nobody_else(world):
    before = world.arm_positions()
    for source, pressed in (('panel', True), ('pendant', True), ('pendant', False)):
        world.press(source, pressed)
    world.wait(1)
    world.move_arm(ARM_JOINT_NAMES, before + 0.1)
    world.wait(2)
    assert world.arm_positions() == pytest.approx(before, abs=0.01)
    world.press('panel', False)
    world.wait(1)
    world.move_arm(ARM_JOINT_NAMES, before + 0.1)
    world.graph.until(lambda: abs(world.arm_positions()[0] - before[0]) > 0.05)
    world.move_arm(ARM_JOINT_NAMES, before)
    world.graph.until(lambda: abs(world.arm_positions()[0] - before[0]) < 0.003)


@pytest.mark.parametrize(
    ('names', 'value'),
    [(['joint1', 'elbow', 'joint3', 'joint4', 'joint5', 'joint6'], 0.1), (None, np.nan)],
)
def test_a_malformed_trajectory_changes_nothing(world, names, value):
    before = world.arm_positions()
    world.move_arm(names or ARM_JOINT_NAMES, [value] * 6)
    world.wait(1)
    assert world.arm_positions() == pytest.approx(before, abs=0.01)


def test_servos_are_spoken_to_over_the_port(world):
    """By ROBOTIS' SDK: a finger closes, and faults come by topic."""
    motor = load_hand_description('dash').motors['index_forward']
    port, packets = sdk.PortHandler(str(world.port)), sdk.PacketHandler(2.0)
    assert port.openPort()

    def answers():
        _, result, _ = packets.ping(port, motor.id)
        return result == sdk.COMM_SUCCESS

    world.graph.until(answers)
    for write, address, value in (
        (packets.write1ByteTxRx, 11, 5),  # operating mode: position limited by current
        (packets.write2ByteTxRx, 102, 200),  # goal current [mA]
        (packets.write1ByteTxRx, 64, 1),  # torque
        (packets.write4ByteTxRx, 116, 2048 + round(1.2 * 4096 / (2 * np.pi))),  # goal position
    ):
        world.graph.until(lambda w=write, a=address, v=value: w(port, motor.id, a, v)[0] == 0)
    joint = HAND_JOINT_NAMES.index('index_forward')
    world.graph.until(lambda: world.fresh('/hand/observed_joint_states').position[joint] > 0.6)
    world.graph.until(lambda: world.words.get_subscription_count() > 0)
    world.words.publish(String(data=f'fault {motor.id} unplugged'))
    world.graph.until(lambda: not answers())
    world.words.publish(String(data='nonsense'))
    world.words.publish(String(data='clear all'))
    world.graph.until(answers)
    port.closePort()


def test_scenes_are_laid_out_and_judged(world):
    answer = world.graph.call(
        world.reset_scene,
        ResetScene.Request(task='pick_cup', object_name='blue_tumbler', scene_seed=4),
    )
    assert answer.error_code == ResetScene.Request.NONE
    judged = world.graph.call(world.evaluate, EvaluateScene.Request())
    assert judged.score == 0.0  # it stands where it was put
    assert judged.explanation


@pytest.mark.parametrize(('task', 'name'), [('pick_cup', 'unicorn'), ('unicorn', 'red_mug')])
def test_an_unknown_object_or_task_is_refused_by_name(world, task, name):
    request = ResetScene.Request(task=task, object_name=name)
    answer = world.graph.call(world.reset_scene, request)
    assert answer.error_code == ResetScene.Request.UNKNOWN_OBJECT
    assert 'unicorn' in answer.error_message


class Hands:
    """A clock moved by hand. [s]."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize('factor', [0.5, 4.0])
def test_simulated_time_keeps_step(factor):
    clock = Hands()
    pacer = Pacer(factor, longest_step=1.0, clock=clock)
    steps = 0
    for _ in range(1000):
        clock.now += 0.007
        steps += pacer.due(0.01)
    assert steps * 0.01 == pytest.approx(7.0 * factor, abs=0.011)


def test_a_long_pause_is_not_made_up_for():
    clock = Hands()
    pacer = Pacer(2.0, longest_step=0.1, clock=clock)
    clock.now += 30.0
    assert pacer.due(0.01) in {9, 10}
    assert pacer.due(0.01) <= 1
