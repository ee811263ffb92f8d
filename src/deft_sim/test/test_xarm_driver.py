# SPDX-License-Identifier: Apache-2.0
"""The simulated driver of xarm_ros2 has the services, codes and oddities of the real one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from deft_arm.xarm_codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    NOT_READY,
    OK,
    PARAMETER_ERROR,
    STATE_NOT_READY,
    WAIT_TIMEOUT,
    Mode,
    State,
)
from deft_core.nodes.qos import STATE
from deft_core.rotations import euler_from_matrix
from deft_description.models import ARM_JOINT_NAMES
from deft_sim.joint_sample import JointSample
from deft_sim.nodes.xarm_driver import SimulatedXArmDriver
from deft_sim.nodes.xarm_services import ON_BY_DEFAULT
from deft_sim.nodes.xarm_world import driver_services, make_box
from deft_sim.xarm_controller import COLLISION
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
    'move_gohome': srv.MoveHome,
    'vc_set_joint_velocity': srv.MoveVelocity,
    'vc_set_cartesian_velocity': srv.MoveVelocity,
    'set_collision_sensitivity': srv.SetInt16,
    'set_tcp_load': srv.SetTcpLoad,
}


def still(joints):
    """A measurement at rest."""
    return JointSample(joints, np.zeros(6), np.zeros(6))


class Bench:
    """Box and driver on a time that runs while somebody waits, and a client."""

    def __init__(self, graph, switches=None):
        self.graph = graph
        self.box = make_box()
        self.time = 0.0
        self.rate = 1.0  # simulated seconds per second
        self.began = time.monotonic()
        self.driver = SimulatedXArmDriver(self.box, graph.context, switches or {}, 'dev')
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
def bench(graph):
    made = Bench(graph)
    yield made
    made.driver.close()


def away(bench, amount=0.2):
    first, *others = bench.box.setpoint().tolist()
    return [first + amount, *others]


def test_only_the_services_of_the_default_parameters_are_there(bench):
    bench.graph.until(bench.clients['set_state'].service_is_ready)
    served = bench.peer.get_service_names_and_types_by_node('ufactory_driver', '/')
    offered = {n.removeprefix('/xarm/') for n, _ in served if n.startswith('/xarm/')}
    assert offered == ON_BY_DEFAULT
    assert not bench.clients['set_tcp_load'].service_is_ready()


def test_our_parameter_file_switches_on_what_we_need(graph):
    bench = Bench(graph, driver_services())
    try:
        assert bench.code('set_tcp_load', weight=0.7, center_of_gravity=[0.0, 0.0, 85.0]) == OK
        assert bench.box.tool_mass == pytest.approx(0.7)
        # Settings leave the arm not ready.
        assert bench.newest().state == State.CHANGED
        assert bench.code('set_tcp_load', weight=0.7) == PARAMETER_ERROR
    finally:
        bench.driver.close()


def test_a_mode_stops_the_arm_and_needs_state_zero_after_it(bench):
    bench.get_ready()
    bench.call('set_servo_angle', angles=away(bench, 1.0), speed=0.2, acc=5.0)
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    assert bench.code('set_mode', data=0) == OK
    report = bench.newest()
    assert (report.state, report.cmdnum) == (State.CHANGED, 0)
    assert bench.code('set_servo_angle', angles=away(bench), speed=0.2) == STATE_NOT_READY
    assert bench.code('set_state', data=0) == OK
    assert bench.code('set_servo_angle', angles=away(bench), speed=0.2) == OK


def test_a_report_tells_joints_pose_and_queue(bench):
    bench.get_ready()
    target = away(bench)
    assert bench.code('set_servo_angle', angles=target, speed=0.5, acc=5.0) == OK
    assert bench.newest().cmdnum == 1
    bench.graph.until(lambda: bench.newest().state == State.READY)
    report = bench.newest()
    assert report.cmdnum == 0
    np.testing.assert_allclose(report.angle, target, atol=1e-6)
    rotation, position = bench.box.flange(np.array(target))
    np.testing.assert_allclose(report.pose[:3], 1000.0 * position, atol=0.01)
    np.testing.assert_allclose(report.pose[3:], euler_from_matrix(rotation), atol=1e-5)
    assert (report.mode, report.mt_able, report.err) == (0, 0b111111, 0)
    assert tuple(bench.joints[-1].name) == ARM_JOINT_NAMES
    assert bench.joints[-1].header.frame_id == 'joint-state data'
    # Always seven values.
    assert len(bench.call('get_servo_angle').datas) == 7


def test_errors_come_later_than_the_state(bench):
    bench.get_ready()
    bench.graph.until(lambda: bench.newest().state == State.READY)
    bench.reports.clear()
    bench.box.fail(COLLISION)
    bench.graph.until(lambda: bench.reports and bench.reports[-1].err == COLLISION)
    stopped = [report for report in bench.reports if report.state == State.STOPPED]
    assert sum(report.err == 0 for report in stopped) >= 1


def test_a_waiting_call_blocks_every_other_service_and_no_topic(bench):
    bench.get_ready()
    waiting = bench.send('set_servo_angle', angles=away(bench, 0.3), speed=0.3, acc=5.0, wait=True)
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    stop = bench.send('set_state', data=4)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)
    assert not stop.done()
    bench.graph.until(lambda: stop.done() and waiting.done())
    assert waiting.result().ret == OK


def test_a_motion_call_while_paused_freezes_the_driver(bench):
    bench.get_ready()
    assert bench.code('set_state', data=3) == OK
    motion = bench.send('set_servo_angle', angles=away(bench), speed=0.3)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)  # calls of two clients have no order
    stop = bench.send('set_state', data=4)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)
    assert not motion.done()
    assert not stop.done()
    bench.box.set_state(0)  # by another way than this driver
    bench.graph.until(lambda: motion.done() and stop.done())


@pytest.mark.parametrize(
    ('happens', 'code'),
    [
        (lambda bench: bench.box.fail(COLLISION), HAS_ERROR),
        (lambda bench: bench.box.set_state(4), EMERGENCY_STOPPED),
        (lambda bench: setattr(bench.box, 'connected', False), DISCONNECTED),
        (lambda bench: None, WAIT_TIMEOUT),
    ],
)
def test_a_wait_ends_with_the_codes_of_the_sdk(bench, happens, code):
    bench.get_ready()
    waiting = bench.send(
        'set_servo_angle', angles=away(bench, 1.0), speed=0.1, acc=5.0, wait=True, timeout=0.5
    )
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    happens(bench)
    bench.graph.until(waiting.done)
    assert waiting.result().ret == code


def test_absolute_set_position_swallows_the_return_code(bench):
    pose = [400.0, 0.0, 300.0, np.pi, 0.0, 0.0]
    # Not enabled: a joint move says so, an absolute Cartesian one does not.
    assert bench.code('set_servo_angle', angles=away(bench), speed=0.2) == NOT_READY
    assert bench.code('set_position', pose=pose, speed=100.0) == OK
    assert bench.code('set_position', pose=[0.0] * 6, relative=True) == NOT_READY
    assert bench.newest().cmdnum == 0
    assert bench.code('set_position', pose=[1.0, 2.0]) == PARAMETER_ERROR


def test_a_straight_line_ends_where_it_was_sent(bench):
    bench.get_ready()
    rotation, start = bench.box.flange(bench.box.setpoint())
    goal = 1000.0 * (start + np.array([0.0, 0.0, 0.1]))
    pose = [*goal, *euler_from_matrix(rotation)]
    assert bench.code('set_position', pose=pose, speed=200.0, wait=True, timeout=20.0) == OK
    np.testing.assert_allclose(bench.newest().pose[:3], goal, atol=0.5)
    far = [5000.0, 0.0, 0.0, *euler_from_matrix(rotation)]
    assert bench.code('set_position', pose=far) == OK
    bench.graph.until(lambda: bench.newest().err == 40)


def test_servo_mode_and_velocities(bench):
    bench.get_ready(int(Mode.SERVO))
    target = away(bench, 0.1)
    assert bench.code('set_servo_angle_j', angles=target) == OK
    bench.graph.until(lambda: np.allclose(bench.newest().angle, target, atol=1e-5))
    bench.get_ready(int(Mode.CARTESIAN_VELOCITY))
    before = bench.newest().pose
    speeds = [0.0, 0.0, 50.0, 0.0, 0.0, 0.0]
    assert bench.code('vc_set_cartesian_velocity', speeds=speeds, duration=0.5) == OK
    bench.graph.until(lambda: bench.newest().state == State.READY)
    moved = np.array(bench.newest().pose) - before
    np.testing.assert_allclose(moved[:3], [0.0, 0.0, 25.0], atol=4.0)
    bench.get_ready(int(Mode.JOINT_VELOCITY))
    speeds = [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert bench.code('vc_set_joint_velocity', speeds=speeds) == OK
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    assert bench.code('set_state', data=4) == OK
    bench.graph.until(lambda: bench.newest().state == State.STOPPED)


def test_home_is_all_zeros(bench):
    bench.get_ready()
    bench.box.place(np.full(6, 0.05))
    assert bench.code('move_gohome', speed=0.5, acc=5.0, wait=True, timeout=20.0) == OK
    np.testing.assert_allclose(bench.newest().angle, np.zeros(6), atol=1e-6)


def test_without_connection_it_is_silent_and_refuses(bench):
    bench.get_ready()
    bench.box.connected = False
    assert bench.code('set_state', data=0) == DISCONNECTED
    bench.reports.clear()
    begin = bench.time
    bench.graph.until(lambda: bench.time > begin + 0.3)
    assert not bench.reports


def test_a_driver_that_ends_takes_its_services_away_and_the_arm_goes_on(graph):
    bench = Bench(graph)
    bench.get_ready()
    bench.call('set_servo_angle', angles=away(bench), speed=0.5, acc=5.0)
    bench.driver.close()
    graph.until(lambda: not bench.clients['set_state'].service_is_ready())
    graph.until(lambda: bench.box.report().waiting == 0)
    bench.driver = SimulatedXArmDriver(bench.box, graph.context, {}, 'dev')
    try:
        assert bench.code('set_state', data=4) == OK
    finally:
        bench.driver.close()
