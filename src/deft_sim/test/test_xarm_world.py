# SPDX-License-Identifier: Apache-2.0
"""What can be done to the simulated arm by services."""

from __future__ import annotations

import numpy as np
import pytest
from std_srvs.srv import SetBool, Trigger

from deft_arm.xarm.codes import DISCONNECTED, OK
from deft_core.nodes.qos import STATE
from deft_sim.nodes.xarm_world import XArmWorld, make_box
from deft_sim.world import JointSample
from deft_sim.xarm_controller import BUTTON, COLLISION
from xarm_msgs import srv
from xarm_msgs.msg import RobotMsg

PERIOD = 0.01  # [s]


class Cell:
    """Box and driver under a node that runs three times as fast as the clock on the wall."""

    def __init__(self, graph):
        self.graph, self.box, self.time = graph, make_box(), 0.0
        self.node = graph.make('simulation')
        self.world = XArmWorld(self.node, self.box, 'dev', 3.0)
        self.peer = graph.make('peer')
        self.reports = []
        self.peer.create_subscription(RobotMsg, '/xarm/robot_states', self.reports.append, STATE)
        self.set_state = self.peer.create_client(srv.SetInt16, '/xarm/set_state')
        self.node.create_timer(PERIOD, self.tick)

    def tick(self):
        for _ in range(3):
            self.time += PERIOD
            joints = self.box.step(PERIOD, self.box.setpoint())
            self.world.publish(self.time, JointSample(joints, np.zeros(6), np.zeros(6)))

    def call(self, kind, name, **fields):
        client = self.peer.create_client(kind, f'/simulation/xarm/{name}')
        answer = self.graph.call(client, kind.Request(**fields))
        assert answer.success
        return answer

    def silent(self):
        self.reports.clear()
        end = self.time + 1.0
        self.graph.until(lambda: self.time > end)
        return not self.reports

    def heard(self):
        self.reports.clear()
        self.graph.until(lambda: self.reports)
        return self.reports[-1]


@pytest.fixture
def cell(make_graph):
    made = Cell(make_graph())
    yield made
    made.world.close()
    made.graph.close()


def test_collision_and_button(cell):
    cell.call(Trigger, 'collide')
    assert cell.box.report().error == COLLISION
    cell.box.clear_error()
    cell.call(SetBool, 'emergency_stop', data=True)
    cell.box.clear_error()
    assert cell.box.report().error == BUTTON
    cell.call(SetBool, 'emergency_stop', data=False)
    cell.box.clear_error()
    assert cell.box.report().error == 0


def test_a_restart_takes_a_while(cell):
    assert cell.heard()
    begin = cell.time
    cell.call(Trigger, 'restart_driver')
    assert cell.silent()
    assert not cell.set_state.service_is_ready()
    assert cell.heard()
    assert cell.time - begin > 2.5


def test_a_cable_that_is_plugged_in_again_needs_a_restart_too(cell):
    cell.call(SetBool, 'connection', data=False)
    assert cell.silent()
    answer = cell.call(SetBool, 'connection', data=True)
    assert 'restart_driver' in answer.message
    assert cell.silent()
    assert cell.graph.call(cell.set_state, srv.SetInt16.Request(data=4)).ret == DISCONNECTED
    cell.call(Trigger, 'restart_driver')
    assert cell.heard()
    assert cell.graph.call(cell.set_state, srv.SetInt16.Request(data=4)).ret == OK


def test_reports_are_as_many_in_a_real_second_as_those_of_a_real_arm(cell):
    cell.heard()
    begin = cell.time
    cell.reports.clear()
    cell.graph.until(lambda: cell.time > begin + 3.0)
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for m in cell.reports]
    assert np.median(np.diff(stamps)) == pytest.approx(0.03, abs=0.0011)
