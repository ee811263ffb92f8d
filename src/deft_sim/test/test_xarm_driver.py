# SPDX-License-Identifier: Apache-2.0
"""The simulated driver of xarm_ros2 has the codes and oddities of the real one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from deft_arm.xarm.codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    HAS_WARNING,
    OK,
    PARAMETER_ERROR,
    STATE_NOT_READY,
    WAIT_TIMEOUT,
    State,
)
from deft_core.errors import ConfigurationError
from deft_core.nodes.qos import STATE
from deft_core.rotations import euler_from_matrix
from deft_description.models import ARM_JOINT_NAMES
from deft_sim.nodes.xarm_driver import SimulatedXArmDriver
from deft_sim.nodes.xarm_world import driver_services, make_box
from deft_sim.world import JointSample
from deft_sim.xarm_controller import COLLISION, MOST_COMMANDS, WRONG_PARAMETER
from xarm_msgs import srv
from xarm_msgs.msg import RobotMsg

PERIOD = 0.01
KINDS = {
    'clean_error': srv.Call,
    'clean_warn': srv.Call,
    'motion_enable': srv.SetInt16ById,
    'set_mode': srv.SetInt16,
    'set_state': srv.SetInt16,
    'set_servo_angle': srv.MoveJoint,
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


def test_only_the_services_of_the_default_parameters_are_there(bench):
    bench.graph.until(bench.clients['set_state'].service_is_ready)
    served = bench.peer.get_service_names_and_types_by_node('ufactory_driver', '/')
    offered = {n.removeprefix('/xarm/') for n, _ in served if n.startswith('/xarm/')}
    assert offered == {
        'clean_error', 'clean_warn', 'motion_enable', 'set_mode', 'set_state', 'set_servo_angle',
    }  # fmt: skip
    assert not bench.clients['set_tcp_load'].service_is_ready()


def test_our_parameter_file_switches_on_what_we_need(make_bench):
    bench = make_bench(switches=driver_services())
    bench.get_ready()
    assert bench.code('set_tcp_offset', datas=[0.0] * 6) == OK
    # Settings leave the arm not ready, and the load counts as a motion.
    assert bench.newest().state == State.CHANGED
    load = {'weight': 0.7, 'center_of_gravity': [0.0, 0.0, 85.0]}
    assert bench.code('set_tcp_load', **load) == STATE_NOT_READY
    assert bench.box.tool_mass == 0.0
    assert bench.code('set_state', data=0) == OK
    assert bench.code('set_tcp_load', **load) == OK
    assert bench.box.tool_mass == pytest.approx(0.7)
    assert bench.code('set_tcp_load', weight=0.7) == PARAMETER_ERROR


def test_a_pending_warning_is_the_answer_of_most_settings_until_it_is_cleared(make_bench):
    bench = make_bench(switches=driver_services())
    bench.get_ready()
    bench.box.warn(WRONG_PARAMETER)
    bench.graph.until(lambda: bench.newest().warn == WRONG_PARAMETER)
    assert bench.code('clean_error') == HAS_WARNING
    assert bench.code('set_tcp_offset', datas=[0.0] * 6) == HAS_WARNING
    assert bench.code('set_collision_sensitivity', data=3) == HAS_WARNING
    assert bench.code('set_state', data=0) == OK
    assert bench.code('set_servo_angle', angles=bench.away(), speed=0.5) == OK
    assert bench.code('clean_warn') == OK
    assert bench.code('clean_error') == OK


def test_an_answer_repeats_the_request(make_bench):
    bench = make_bench(switches=driver_services())
    assert bench.call('set_state', data=4).message == 'data=4'
    assert bench.call('motion_enable', id=8, data=1).message == 'id=8, data=1'
    load = bench.call('set_tcp_load', weight=0.5, center_of_gravity=[0.0, 0.0, 85.0])
    assert load.message == ('weight=0.500000, center_of_gravity=[ 0.000000, 0.000000, 85.000000 ]')
    assert bench.call('clean_error').message == ''


def test_a_switch_that_nobody_knows_is_refused(graph):
    """The real driver says nothing, and the service is missed much later."""
    with pytest.raises(ConfigurationError, match="did you mean 'set_mode'"):
        SimulatedXArmDriver(make_box(), graph.context, {'set_mote': True}, 'dev')


def test_a_mode_stops_the_arm_and_needs_state_zero_after_it(bench):
    bench.get_ready()
    bench.call('set_servo_angle', angles=bench.away(1.0), speed=0.2, acc=5.0)
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    assert bench.code('set_mode', data=0) == OK
    report = bench.newest()
    assert (report.state, report.cmdnum) == (State.CHANGED, 0)
    assert bench.code('set_servo_angle', angles=bench.away(), speed=0.2) == STATE_NOT_READY
    assert bench.code('set_state', data=0) == OK
    assert bench.code('set_servo_angle', angles=bench.away(), speed=0.2) == OK


def test_a_report_tells_joints_pose_and_queue(bench):
    bench.get_ready()
    target = bench.away()
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


def test_errors_come_later_than_the_state(bench):
    bench.get_ready()
    bench.graph.until(lambda: bench.newest().state == State.READY)
    bench.reports.clear()
    bench.box.fail(COLLISION)
    bench.graph.until(lambda: bench.reports and bench.reports[-1].err == COLLISION)
    stopped = [report for report in bench.reports if report.state == State.STOPPED]
    assert sum(report.err == 0 for report in stopped) >= 1


def test_it_clears_servo_errors_by_itself_when_it_starts(make_bench):
    for error, left in ((11, 0), (COLLISION, COLLISION)):
        box = make_box()
        box.fail(error)
        assert make_bench(box=box).box.report().error == left


@pytest.mark.parametrize(('report_type', 'rate'), [('normal', 5.0), ('rich', 5.0), ('dev', 100.0)])
def test_reports_come_at_the_rate_of_their_type(make_bench, report_type, rate):
    bench = make_bench(report_type=report_type)
    bench.newest()
    begin = bench.time
    bench.reports.clear()
    bench.graph.until(lambda: bench.time > begin + 1.0)
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for m in bench.reports]
    assert np.median(np.diff(stamps)) == pytest.approx(1.0 / rate, rel=0.01)


def test_a_waiting_call_blocks_every_other_service_and_no_topic(bench):
    bench.get_ready()
    waiting = bench.send('set_servo_angle', angles=bench.away(0.3), speed=0.3, acc=5.0, wait=True)
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    stop = bench.send('set_state', data=4)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)
    assert not stop.done()
    bench.graph.until(lambda: stop.done() and waiting.done())
    assert waiting.result().ret == OK


def fill_queue(bench):
    for _ in range(MOST_COMMANDS):
        assert bench.box.move_joints(np.array(bench.away(0.5)), 0.01, 5.0, blends=False) == OK


@pytest.mark.parametrize(
    ('before', 'after'),
    [(lambda bench: bench.box.set_state(3), 0), (fill_queue, 4)],
    ids=['paused', 'full queue'],
)
def test_a_motion_call_that_cannot_be_queued_freezes_the_driver(bench, before, after):
    bench.get_ready()
    before(bench)
    motion = bench.send('set_servo_angle', angles=bench.away(), speed=0.3)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)  # calls of two clients have no order
    stop = bench.send('set_state', data=4)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)
    assert not motion.done()
    assert not stop.done()
    bench.box.set_state(after)  # by another way than this driver
    bench.graph.until(lambda: motion.done() and stop.done())


@pytest.mark.parametrize(
    ('name', 'fields'),
    [('set_collision_sensitivity', {'data': 3}), ('set_tcp_offset', {'datas': [0.0] * 6})],
)
def test_some_settings_wait_for_the_arm_to_rest(make_bench, name, fields):
    bench = make_bench(switches=driver_services())
    bench.get_ready()
    bench.call('set_servo_angle', angles=bench.away(0.3), speed=0.3, acc=5.0)
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    setting = bench.send(name, **fields)
    bench.reports.clear()
    bench.graph.until(lambda: len(bench.reports) > 20)
    assert not setting.done()
    bench.graph.until(setting.done)
    assert bench.newest().cmdnum == 0


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
        'set_servo_angle', angles=bench.away(1.0), speed=0.1, acc=5.0, wait=True, timeout=0.5
    )
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    happens(bench)
    bench.graph.until(waiting.done)
    assert waiting.result().ret == code


def test_without_connection_it_is_silent_and_refuses(bench):
    bench.get_ready()
    bench.box.connected = False
    assert bench.code('set_state', data=0) == DISCONNECTED
    bench.reports.clear()
    begin = bench.time
    bench.graph.until(lambda: bench.time > begin + 0.3)
    assert not bench.reports
    # The cable alone does not bring it back.
    bench.box.connected = True
    begin = bench.time
    bench.graph.until(lambda: bench.time > begin + 0.3)
    assert not bench.reports
    assert bench.code('set_state', data=0) == DISCONNECTED
    bench.driver.close()
    bench.driver = SimulatedXArmDriver(bench.box, bench.graph.context, {}, 'dev')
    assert bench.code('set_state', data=0) == OK
    assert bench.newest()


def test_a_driver_that_ends_takes_its_services_away_and_the_arm_goes_on(bench):
    bench.get_ready()
    bench.call('set_servo_angle', angles=bench.away(), speed=0.5, acc=5.0)
    bench.driver.close()
    bench.graph.until(lambda: not bench.clients['set_state'].service_is_ready())
    bench.graph.until(lambda: bench.box.report().waiting == 0)
    bench.driver = SimulatedXArmDriver(bench.box, bench.graph.context, {}, 'dev')
    assert bench.code('set_state', data=4) == OK
