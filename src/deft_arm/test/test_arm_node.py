# SPDX-License-Identifier: Apache-2.0
"""The arm node in one process with a controller that plays its trajectories under /clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('deft_msgs')
from action_msgs.msg import GoalStatus  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from deft_arm.nodes.arm_node import ArmNode  # noqa: E402
from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.nodes.encode import grasp_to_msg, time_to_msg, trajectory_to_msg  # noqa: E402
from deft_core.nodes.qos import COMMAND, LATCHED, STATE, STATE_PUBLISHER  # noqa: E402
from deft_msgs.action import ExecuteGrasp, ReturnHome  # noqa: E402
from deft_msgs.msg import ArmState, EmergencyStop, HandCommand, HandState  # noqa: E402

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
NAMES = [f'joint{i}' for i in range(1, 7)]
# The peer publishes joint2 first: names count, not places.
PUBLISHED = ['joint2', 'joint1', *NAMES[2:]]
CLOCK_STEP = 0.05  # [s] of simulated time per tick of 5 ms
SLOW_STEP = 0.001  # [s] so slow that a lease of 1 s ends before the motion does


class Cell(Node):
    """Controller, hand driver, operator and client in one."""

    def __init__(self, context, home):
        super().__init__('cell', context=context)
        self.joints = np.array(home)
        self.now = 10.0
        self.clock_step = CLOCK_STEP
        self.moving = True
        self.ticking = True
        self.hand_state = HandState.ENABLED
        self.trajectories, self.hand_commands, self.states, self.feedback = [], [], [], []
        self.begin, self.path = 0.0, None
        self.clock_publisher = self.create_publisher(Clock, '/clock', STATE_PUBLISHER)
        self.joint_publisher = self.create_publisher(JointState, '/joint_states', STATE_PUBLISHER)
        self.hand_publisher = self.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self.stop_publisher = self.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.create_subscription(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', self.on_path, COMMAND
        )
        self.create_subscription(HandCommand, '/hand/command', self.hand_commands.append, COMMAND)
        self.create_subscription(ArmState, '/arm/state', self.states.append, STATE)
        self.grasp = ActionClient(self, ExecuteGrasp, '/arm/execute_grasp')
        self.home = ActionClient(self, ReturnHome, '/arm/return_home')
        self.clear = self.create_client(Trigger, '/arm/clear_fault')
        self.timer = self.create_timer(0.005, self.tick)

    def on_path(self, message):
        times = [p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in message.points]
        positions = np.array([p.positions for p in message.points])
        assert list(message.joint_names) == NAMES
        self.trajectories.append((times, positions))
        self.begin, self.path = self.now, (times, positions)

    def tick(self):
        if self.ticking:
            self.now += self.clock_step
            self.clock_publisher.publish(Clock(clock=time_to_msg(self.now)))
        if self.moving and self.path is not None:
            times, positions = self.path
            elapsed = self.now - self.begin
            self.joints = np.array([np.interp(elapsed, times, p) for p in positions.T])
        by_name = dict(zip(NAMES, self.joints, strict=True))
        self.joint_publisher.publish(
            JointState(name=PUBLISHED, position=[float(by_name[n]) for n in PUBLISHED])
        )
        self.hand_publisher.publish(HandState(state=self.hand_state, fault=''))

    def press(self, pressed, source='operator'):
        self.stop_publisher.publish(EmergencyStop(pressed=pressed, source=source, reason='drill'))


class Graph:
    """The arm node and the cell on an executor of their own."""

    def __init__(self, monkeypatch, configuration, cup):
        monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []
        self.configuration, self.cup = configuration, cup

    def start(self, **parameters):
        values = {'use_sim_time': True, 'arm_interface': 'ros2_control', **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.arm = ArmNode(context=self.context, parameter_overrides=overrides)
        self.cell = Cell(self.context, self.configuration.home)
        self.nodes = [self.arm, self.cell]
        for node in self.nodes:
            self.executor.add_node(node)
        self.until(lambda: self.cell.states)
        self.until(lambda: self.cell.hand_publisher.get_subscription_count() > 0)
        self.until(lambda: self.cell.grasp.server_is_ready() and self.cell.home.server_is_ready())
        return self.cell

    def until(self, condition, timeout=60.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'the condition was not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, client, goal):
        future = client.send_goal_async(
            goal, feedback_callback=lambda m: self.cell.feedback.append(m.feedback)
        )
        self.until(future.done)
        handle = future.result()
        return handle, handle.get_result_async() if handle.accepted else None

    def result(self, future):
        self.until(future.done)
        return future.result().status, future.result().result

    def cancel(self, handle, future):
        """Cancel while time nearly stands, so that on a busy machine the motion is not over."""
        self.cell.clock_step = SLOW_STEP
        handle.cancel_goal_async()
        answer = self.result(future)
        self.cell.clock_step = CLOCK_STEP
        return answer

    def grasp_goal(self, **changes):
        values = {
            'episode_id': 'test',
            'grasp': grasp_to_msg(self.cup.grasp(), 0.0),
            'trajectory': trajectory_to_msg(self.cup.lift(), 0.0),
            'pregrasp_distance': 0.1,
            'pregrasp_direction': self.cup.approach / np.sqrt(2.0),
            'open_hand': self.cup.open,
        }
        return ExecuteGrasp.Goal(**{**values, **changes})

    def home_goal(self, release=True):
        return ReturnHome.Goal(release=release, open_hand=self.cup.open)

    def clear_fault(self):
        self.until(self.cell.clear.service_is_ready)
        future = self.cell.clear.call_async(Trigger.Request())
        self.until(future.done)
        return future.result()

    def until_phase(self, phase):
        self.until(lambda: self.cell.feedback and self.cell.feedback[-1].phase == phase)

    def close(self):
        for node in self.nodes:
            if node is self.cell:
                node.grasp.destroy()
                node.home.destroy()
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(monkeypatch, configuration, cup):
    graph = Graph(monkeypatch, configuration, cup)
    yield graph
    graph.close()


@pytest.fixture
def cell(graph):
    return graph.start()


def last_state(cell):
    return cell.states[-1].state


def test_grasp_then_home(graph, cell, planner, cup):
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    status, result = graph.result(future)
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, ExecuteGrasp.Goal.NONE)
    assert result.last_phase == ExecuteGrasp.Goal.HOLD
    # One trajectory per phase; two hand commands: open, then close.
    assert len(cell.trajectories) == 5
    assert len(cell.hand_commands) == 2
    np.testing.assert_allclose(cell.hand_commands[1].joint_positions, cup.closed)
    assert cell.hand_commands[1].sequence > cell.hand_commands[0].sequence
    phases = [message.phase for message in cell.feedback]
    assert phases == sorted(phases)
    assert set(phases) == {0, 1, 2, 3, 4, 5}  # 0: the plan is made
    assert all(0.0 <= message.progress <= 1.0 for message in cell.feedback)
    # The last pose is the one after the fortieth displacement, 0.16 m above the grasp.
    assert len(result.executed_poses) == 40
    _, centre = planner.kinematics.forward(cell.joints)
    np.testing.assert_allclose(centre - cup.grasp().position, [0.0, 0.0, 0.16], atol=5e-3)
    last = result.executed_poses[-1]
    np.testing.assert_allclose(
        [last.pose.position.x, last.pose.position.y, last.pose.position.z],
        planner.kinematics.flange_position(cell.joints),
        atol=5e-3,
    )
    assert last.header.frame_id == 'link_base'
    graph.until(lambda: last_state(cell) == ArmState.HOLDING)

    _, future = graph.send(cell.home, graph.home_goal())
    status, result = graph.result(future)
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, ReturnHome.Goal.NONE)
    np.testing.assert_allclose(cell.joints, graph.configuration.home, atol=0.01)
    np.testing.assert_allclose(cell.hand_commands[-1].joint_positions, cup.open)
    graph.until(lambda: last_state(cell) == ArmState.IDLE)


@pytest.mark.parametrize(
    'phase',
    [
        ExecuteGrasp.Goal.PREGRASP,
        ExecuteGrasp.Goal.APPROACH,
        ExecuteGrasp.Goal.CLOSE,
        ExecuteGrasp.Goal.TRAJECTORY,
        ExecuteGrasp.Goal.HOLD,
    ],
)
def test_cancelling_holds_in_every_phase(graph, cell, phase):
    handle, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(phase)
    graph.until(lambda: len(cell.trajectories) >= phase)
    count = len(cell.trajectories)
    status, result = graph.cancel(handle, future)
    assert (status, result.error_code) == (
        GoalStatus.STATUS_CANCELED,
        ExecuteGrasp.Goal.CANCELLED,
    )
    graph.until(lambda: len(cell.trajectories) > count)
    # It comes to rest on its way, and motion goes on with the next goal.
    times, positions = cell.trajectories[-1]
    assert times[-1] < 0.5
    steps = np.abs(np.diff(positions, axis=0)).max(axis=1)
    assert steps[-1] <= 0.2 * steps.max() + 1e-12
    ways = np.concatenate([positions for _, positions in cell.trajectories[:count]])
    for position in positions:
        assert np.abs(ways - position).max(axis=1).min() < 0.03
    graph.until(lambda: last_state(cell) == ArmState.IDLE)
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


@pytest.mark.parametrize('progress', [0.05, 0.4, 0.6])
def test_cancelling_holds_on_the_way_home(graph, cell, progress):
    """Release, retreat and the move home are phases of their own."""
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.result(future)
    cell.feedback.clear()
    handle, future = graph.send(cell.home, graph.home_goal())
    graph.until(lambda: cell.feedback and cell.feedback[-1].progress > progress)
    status, result = graph.cancel(handle, future)
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, ReturnHome.Goal.CANCELLED)
    graph.until(lambda: last_state(cell) == ArmState.IDLE)
    assert np.abs(cell.joints - graph.configuration.home).max() > 0.05
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


def test_emergency_stop_aborts_and_stays_latched(graph, cell):
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.TRAJECTORY)
    graph.until(lambda: cell.feedback[-1].progress > 0.2)
    cell.press(True)
    status, result = graph.result(future)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == ExecuteGrasp.Goal.EMERGENCY_STOP
    assert 'drill' in result.error_message
    assert 0 < len(result.executed_poses) < 40
    graph.until(lambda: last_state(cell) == ArmState.FAULT and cell.states[-1].emergency_stop)
    count = len(cell.trajectories)
    _, future = graph.send(cell.home, graph.home_goal())
    _, refused = graph.result(future)
    assert refused.error_code == ReturnHome.Goal.EMERGENCY_STOP
    assert len(cell.trajectories) == count
    # While it is pressed nobody can clear the fault; released, the fault stays.
    assert not graph.clear_fault().success
    cell.press(False)
    graph.until(lambda: not cell.states[-1].emergency_stop)
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.EMERGENCY_STOP
    assert len(cell.trajectories) == count
    assert graph.clear_fault().success
    graph.until(lambda: last_state(cell) == ArmState.IDLE)
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


def kill(station):
    """End a process without a word."""
    station.send_signal(signal.SIGKILL)
    station.wait()


@pytest.fixture
def open_station(graph):
    """Start stations in processes of their own: a lease tells nothing inside of one process."""
    stations = []

    def start():
        command = [sys.executable, '-m', 'deft_arm.nodes.emergency_stop_station']
        paths = os.pathsep.join(sys.path)
        environment = {**os.environ, 'PYTHONPATH': paths}
        stations.append(subprocess.Popen(command, env=environment))
        return stations[-1]

    yield start
    for station in stations:
        kill(station)


def test_nothing_moves_without_a_required_stop_station(graph, open_station):
    cell = graph.start(require_station=True, ready_timeout=0.5)
    _, future = graph.send(cell.home, graph.home_goal())
    result = graph.result(future)[1]
    assert result.error_code == ReturnHome.Goal.EMERGENCY_STOP
    assert 'No emergency stop station' in result.error_message
    assert not graph.clear_fault().success
    assert cell.states[-1].emergency_stop
    assert not cell.trajectories

    # That it is started last is no fault that somebody would have to clear.
    station = open_station()
    graph.until(lambda: not cell.states[-1].emergency_stop)
    assert last_state(cell) == ArmState.IDLE
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    cell.clock_step = SLOW_STEP
    kill(station)
    result = graph.result(future)[1]
    cell.clock_step = CLOCK_STEP
    assert result.error_code == ExecuteGrasp.Goal.EMERGENCY_STOP
    assert '1 of 1 emergency stop stations are gone' in result.error_message
    assert not graph.clear_fault().success
    open_station()
    graph.until(lambda: graph.clear_fault().success)
    graph.until(lambda: last_state(cell) == ArmState.IDLE)


def test_a_frozen_stop_station_stops_the_motion(graph, open_station):
    cell = graph.start(require_station=True)
    station = open_station()
    graph.until(lambda: not cell.states[-1].emergency_stop)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    cell.clock_step = SLOW_STEP
    station.send_signal(signal.SIGSTOP)
    result = graph.result(future)[1]
    cell.clock_step = CLOCK_STEP
    assert result.error_code == ExecuteGrasp.Goal.EMERGENCY_STOP
    graph.until(lambda: last_state(cell) == ArmState.FAULT)


def test_a_stop_pressed_while_a_fault_is_cleared_can_be_cleared(graph, cell):
    for _ in range(3):
        cell.press(True)
        graph.until(lambda: cell.states[-1].emergency_stop)
        cell.press(False)
        graph.until(lambda: graph.clear_fault().success)
    graph.until(lambda: last_state(cell) == ArmState.IDLE)
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


@pytest.mark.parametrize('hand', ['hold', 'open'])
def test_after_a_collision_the_hand_does_as_configured_and_nothing_moves(graph, hand):
    cell = graph.start(hand_after_collision=hand)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.TRAJECTORY)
    graph.until(lambda: cell.feedback[-1].progress > 0.3)
    commands = len(cell.hand_commands)
    cell.moving = False
    _, result = graph.result(future)
    assert result.error_code == ExecuteGrasp.Goal.COLLISION
    assert result.executed_poses
    graph.until(lambda: last_state(cell) == ArmState.FAULT)
    if hand == 'open':
        graph.until(lambda: len(cell.hand_commands) > commands)
        np.testing.assert_allclose(cell.hand_commands[-1].joint_positions, graph.cup.open)
    else:
        assert len(cell.hand_commands) == commands
    # It holds where it was stopped.
    _, positions = cell.trajectories[-1]
    assert np.abs(positions - cell.joints).max() < 1e-6
    count = len(cell.trajectories)
    _, future = graph.send(cell.home, graph.home_goal())
    result = graph.result(future)[1]
    assert result.error_code == ReturnHome.Goal.CONTROLLER_ERROR
    assert '/arm/clear_fault' in result.error_message
    assert len(cell.trajectories) == count
    cell.moving = True
    assert graph.clear_fault().success
    graph.until(lambda: last_state(cell) == ArmState.IDLE)
    _, future = graph.send(cell.home, graph.home_goal())
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


def test_a_goal_may_wait_for_the_person_in_simulation(graph):
    cell = graph.start(clearance_wait=60.0)
    cell.press(True)
    graph.until(lambda: cell.states[-1].emergency_stop)
    cell.press(False)
    _, future = graph.send(cell.home, graph.home_goal())
    graph.until(lambda: last_state(cell) == ArmState.FAULT)
    assert not future.done()
    assert not cell.trajectories
    assert graph.clear_fault().success
    assert graph.result(future)[1].error_code == ReturnHome.Goal.NONE


def test_a_second_goal_is_rejected_while_busy(graph, cell):
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    for client, goal in ((cell.grasp, graph.grasp_goal()), (cell.home, graph.home_goal())):
        handle, _ = graph.send(client, goal)
        assert not handle.accepted
    assert graph.result(future)[1].error_code == ExecuteGrasp.Goal.NONE


def test_silent_joint_states_stop_the_motion(graph):
    cell = graph.start(state_timeout=1.0)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    cell.timer.cancel()
    _, result = graph.result(future)
    assert result.error_code == ExecuteGrasp.Goal.STALE_STATE
    graph.until(lambda: last_state(cell) == ArmState.DISCONNECTED)
    # That it comes back is not enough: nobody knows what it did meanwhile.
    cell.timer.reset()
    graph.until(lambda: last_state(cell) == ArmState.FAULT)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    result = graph.result(future)[1]
    assert result.error_code == ExecuteGrasp.Goal.CONTROLLER_ERROR
    assert 'No joint states' in result.error_message
    assert graph.clear_fault().success
    graph.until(lambda: last_state(cell) == ArmState.IDLE)


def test_without_joint_states_goals_are_refused(graph):
    cell = graph.start(state_timeout=0.5)
    cell.timer.cancel()
    graph.until(lambda: last_state(cell) == ArmState.DISCONNECTED)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    assert graph.result(future)[1].error_code == ExecuteGrasp.Goal.STALE_STATE


def test_a_standing_clock_stops_the_motion(graph):
    cell = graph.start(state_timeout=1.0)
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    cell.ticking = False
    _, result = graph.result(future)
    assert result.error_code == ExecuteGrasp.Goal.STALE_STATE
    assert 'clock' in result.error_message


def test_a_hand_that_is_not_enabled_refuses_and_stops(graph, cell):
    _, future = graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    cell.hand_state = HandState.FAULT
    _, result = graph.result(future)
    assert result.error_code == ExecuteGrasp.Goal.HAND_FAULT
    cell.hand_state = HandState.DISABLED
    _, future = graph.send(cell.home, graph.home_goal())
    assert '/hand/enable' in graph.result(future)[1].error_message


@pytest.mark.parametrize(
    ('code', 'make'),
    [
        (ExecuteGrasp.Goal.OUTSIDE_WORKSPACE, lambda c: {'grasp': c.grasp(x=0.9)}),
        (ExecuteGrasp.Goal.COLLISION, lambda c: {'grasp': c.grasp(height=0.0)}),
        (ExecuteGrasp.Goal.INVALID_GOAL, lambda _: {'pregrasp_distance': float('nan')}),
        (ExecuteGrasp.Goal.INVALID_GOAL, lambda _: {'open_hand': [float('nan')] * 16}),
    ],
)
def test_bad_goals_are_refused_before_anything_moves(graph, cell, cup, code, make):
    changes = make(cup)
    if 'grasp' in changes:
        changes['grasp'] = grasp_to_msg(changes['grasp'], 0.0)
    _, future = graph.send(cell.grasp, graph.grasp_goal(**changes))
    status, result = graph.result(future)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.error_code == code
    assert result.error_message
    assert result.last_phase == ExecuteGrasp.Goal.PLAN
    assert not cell.trajectories


def test_closing_the_node_stops_a_moving_arm(graph, cell):
    graph.send(cell.grasp, graph.grasp_goal())
    graph.until_phase(ExecuteGrasp.Goal.APPROACH)
    count = len(cell.trajectories)
    graph.arm.close()
    graph.executor.remove_node(graph.arm)
    graph.until(lambda: len(cell.trajectories) > count)
    _, positions = cell.trajectories[-1]
    assert np.abs(positions[0] - positions[-1]).max() == 0.0


def test_wrong_parameters_are_refused(graph):
    with pytest.raises(ConfigurationError, match="Unknown arm configuration 'panda'"):
        graph.start(arm='panda')
    with pytest.raises(ConfigurationError, match="did you mean 'xarm_api'"):
        graph.start(arm_interface='xarm-api')
