# SPDX-License-Identifier: Apache-2.0
"""The simulation with the hand on its bus, as a driver finds it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.qos import COMMAND
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.bus.client import BusClient
from deft_hand_driver.bus.hand_motors import HandMotors
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.simulated_hand import HandMounting
from deft_sim.configuration import load_simulation_settings
from deft_sim.nodes.simulation_node import SimulationNode
from dynamixel_simulator.motor_models import HardwareError

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
PATIENCE = 5.0  # [s]


@pytest.fixture
def graph(offscreen, make_graph):
    graph = make_graph()
    yield graph
    graph.close()


def test_a_driver_closes_a_finger_over_the_port(graph, tmp_path):
    link = tmp_path / 'hand'
    port = Parameter('hand_port', value=str(link))
    graph.add(SimulationNode(context=graph.context, parameter_overrides=[port]))
    peer = graph.make('peer')
    observed = []
    peer.create_subscription(
        JointState, '/hand/observed_joint_states', observed.append, qos_profile_sensor_data
    )
    description = load_hand_description('dash', CONFIGURATION)
    client = BusClient.open(str(link), description.bus.baud_rate, PATIENCE)
    driver = HandMotors(client, description)
    driver.identify()
    driver.configure()
    start = driver.read(time.monotonic() + PATIENCE)
    driver.write_positions(start.positions)
    driver.set_torque(on=True)
    target = start.positions.copy()
    target[MOTOR_NAMES.index('index_forward')] = 1.2
    driver.write_positions(target)
    index = HAND_JOINT_NAMES.index('index_forward')
    graph.until(lambda: observed and observed[-1].position[index] > 0.6)
    sample = driver.read(time.monotonic() + PATIENCE)
    assert sample.complete
    assert sample.positions[MOTOR_NAMES.index('index_forward')] > 0.6
    assert np.all(np.abs(np.delete(sample.positions, MOTOR_NAMES.index('index_forward'))) < 0.2)
    # The topics that stand in for a bus are not there.
    assert peer.count_publishers('/hand/motor_state') == 0
    assert peer.count_subscribers('/hand/motor_command') == 0
    client.close()


def test_faults_of_the_servos_come_by_topic(graph, tmp_path):
    link = tmp_path / 'hand'
    port = Parameter('hand_port', value=str(link))
    node = SimulationNode(context=graph.context, parameter_overrides=[port])
    graph.add(node)
    peer = graph.make('peer')
    words = peer.create_publisher(String, '/simulation/hand_bus', COMMAND)
    graph.until(lambda: words.get_subscription_count() > 0)
    curl = MOTOR_NAMES.index('index_curl')
    servo = node._hand_server.bus.servos[curl]
    words.publish(String(data=f'fault {servo.identifier} overload'))
    graph.until(lambda: servo.hardware_errors is HardwareError.OVERLOAD)
    words.publish(String(data=f'fault {servo.identifier} unplugged'))
    graph.until(lambda: not servo.powered)
    words.publish(String(data='nonsense'))
    words.publish(String(data='clear all'))
    graph.until(lambda: servo.powered)


def test_an_assembled_hand_is_drawn_by_its_seed(graph, tmp_path):
    description = load_hand_description('dash', CONFIGURATION)
    seed = Parameter('hand_seed', value=3)
    node = SimulationNode(context=graph.context, parameter_overrides=[seed])
    graph.add(node)
    errors = load_simulation_settings(CONFIGURATION).cell.hand_mounting
    drawn = HandMounting.draw(description, errors, np.random.default_rng(3))
    # At rest, with the motors at 0: the tendons are slack or pull by their zeros.
    graph.until(lambda: node._cell.time > 0.5)
    sides = [MOTOR_NAMES.index(f'{finger}_side') for finger in ('index', 'middle')]
    joints = node._cell.observed_hand_joints()
    for motor, joint in zip(sides, (0, 4), strict=True):
        assert abs(joints[joint] + drawn.zeros[motor] * 0.8) < 0.08


def test_the_port_goes_with_the_simulation(graph, tmp_path):
    link = tmp_path / 'hand'
    port = Parameter('hand_port', value=str(link))
    node = SimulationNode(context=graph.context, parameter_overrides=[port])
    graph.add(node)
    assert link.is_symlink()
    node.close()
    assert not link.is_symlink()
