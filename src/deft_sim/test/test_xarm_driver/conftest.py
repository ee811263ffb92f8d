# SPDX-License-Identifier: Apache-2.0
"""The simulated driver of xarm_ros2 on a box of its own, and a client."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from deft_arm.xarm_codes import (
    OK,
)
from deft_core.nodes.qos import STATE
from deft_sim.nodes.xarm_driver import SimulatedXArmDriver
from deft_sim.nodes.xarm_world import make_box
from deft_sim.world import JointSample
from xarm_msgs import srv
from xarm_msgs.msg import RobotMsg

PERIOD = 0.01
KINDS = {
    'clean_error': srv.Call,
    'motion_enable': srv.SetInt16ById,
    'set_mode': srv.SetInt16,
    'set_state': srv.SetInt16,
    'set_servo_angle': srv.MoveJoint,
    'set_servo_angle_j': srv.MoveJoint,
    'set_position': srv.MoveCartesian,
    'get_servo_angle': srv.GetFloat32List,
    'get_position': srv.GetFloat32List,
    'get_position_aa': srv.GetFloat32List,
    'get_state': srv.GetInt16,
    'get_err_warn_code': srv.GetInt16List,
    'set_position_aa': srv.MoveCartesian,
    'set_tool_position': srv.MoveCartesian,
    'move_gohome': srv.MoveHome,
    'vc_set_joint_velocity': srv.MoveVelocity,
    'vc_set_cartesian_velocity': srv.MoveVelocity,
    'set_collision_sensitivity': srv.SetInt16,
    'set_tcp_offset': srv.SetFloat32List,
    'set_tcp_load': srv.SetTcpLoad,
}


def still(joints):
    """A measurement at rest."""
    return JointSample(joints, np.zeros(6), np.zeros(6))


class Bench:
    """Box and driver on a time that runs while somebody waits, and a client."""

    def __init__(self, graph, switches=None, report_type='dev', box=None):
        self.graph = graph
        self.box = make_box() if box is None else box
        self.time = 0.0
        self.rate = 1.0  # simulated seconds per second
        self.began = time.monotonic()
        self.driver = SimulatedXArmDriver(self.box, graph.context, switches or {}, report_type)
        self.peer = graph.make('peer')
        self.reports, self.joints = [], []
        self.peer.create_subscription(RobotMsg, '/xarm/robot_states', self.reports.append, STATE)
        self.peer.create_subscription(JointState, '/xarm/joint_states', self.joints.append, STATE)
        self.clients = {n: self.peer.create_client(k, f'/xarm/{n}') for n, k in KINDS.items()}
        self.peer.create_timer(PERIOD, self.tick)

    def tick(self):
        self.time += PERIOD
        self.box.step(PERIOD, self.box.setpoint())
        self.driver.publish(self.time, still(self.box.setpoint()))

    def send(self, name, **fields):
        self.graph.until(self.clients[name].service_is_ready)
        return self.clients[name].call_async(KINDS[name].Request(**fields))

    def call(self, name, **fields):
        future = self.send(name, **fields)
        self.graph.until(future.done)
        return future.result()

    def code(self, name, **fields):
        return self.call(name, **fields).ret

    def get_ready(self, mode=0):
        assert self.code('motion_enable', id=8, data=1) == OK
        assert self.code('set_mode', data=mode) == OK
        assert self.code('set_state', data=0) == OK

    def away(self, amount=0.2):
        """Joints of the arm where it is told to be, the first one turned on. [rad]."""
        first, *others = self.box.setpoint().tolist()
        return [first + amount, *others]

    def newest(self):
        self.reports.clear()
        self.graph.until(lambda: self.reports)
        return self.reports[-1]


@pytest.fixture
def graph(make_graph):
    opened = make_graph()
    yield opened
    opened.close()


@pytest.fixture
def make_bench(graph):
    made = []

    def make(**options):
        made.append(Bench(graph, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.driver.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()
