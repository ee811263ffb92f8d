# SPDX-License-Identifier: Apache-2.0
"""The arm node on the simulated driver of xarm_ros2: episodes, faults, and what follows them.

The arm follows its setpoints at once, so that no physics is needed.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from deft_affordance.wrist_poses import SIDE_GRASP
from deft_arm.configuration import load_arm_configuration
from deft_arm.kinematics import ArmKinematics
from deft_arm.nodes.arm_node import ArmNode
from deft_arm.xarm_codes import State
from deft_core.grasp import GraspParameters
from deft_core.nodes.encode import grasp_to_msg, time_to_msg, trajectory_to_msg
from deft_core.nodes.qos import LATCHED, STATE, STATE_PUBLISHER
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import WristTrajectory
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, EmergencyStop, HandCommand, HandState
from deft_sim.nodes.xarm_driver import SimulatedXArmDriver
from deft_sim.nodes.xarm_world import driver_services, make_box
from deft_sim.xarm_controller import COLLISION
from xarm_msgs import srv

TICK = 0.005  # [s] of real time
PERIOD = 0.01  # [s] of simulated time per step of the box
STEPS = 4  # of the box in a tick: eight times real time
OPEN = [0.0] * 16
CLOSED = [0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81]
GRASP, HOME = ExecuteGrasp.Goal, ReturnHome.Goal


class Robot:
    """Box, driver, hand, clock, clients; the arm node beside them."""

    def __init__(self, graph, switches):
        self.graph = graph
        self.switches = switches
        self.box = make_box()
        self.now = 10.0
        self.driver = self.new_driver()
        self.blocked = False  # whether the arm is held fast, without the box noticing
        self.measured = self.box.setpoint()
        self.path = []
        peer = self.peer = graph.make('peer')
        self.clock = peer.create_publisher(Clock, '/clock', STATE_PUBLISHER)
        self.hand = peer.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self.stop = peer.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.states, self.feedback, self.hand_commands = [], [], []
        peer.create_subscription(ArmState, '/arm/state', self.states.append, STATE)
        peer.create_subscription(HandCommand, '/hand/command', self.hand_commands.append, 1)
        self.grasp = ActionClient(peer, ExecuteGrasp, '/arm/execute_grasp')
        self.home = ActionClient(peer, ReturnHome, '/arm/return_home')
        self.clear = peer.create_client(Trigger, '/arm/clear_fault')
        self.other = peer.create_client(srv.MoveJoint, '/xarm/set_servo_angle')
        self.other_state = peer.create_client(srv.SetInt16, '/xarm/set_state')
        peer.create_timer(TICK, self.tick)

    def new_driver(self):
        return SimulatedXArmDriver(self.box, self.graph.context, self.switches, 'dev')

    def start(self, **parameters):
        values = {'use_sim_time': True, 'arm_interface': 'xarm_api', **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.arm = ArmNode(context=self.graph.context, parameter_overrides=overrides)
        self.graph.add(self.arm)
        self.graph.until(lambda: self.states and self.arm._hand is not None)
        self.graph.until(self.grasp.server_is_ready)
        self.graph.until(self.home.server_is_ready)
        return self

    def tick(self):
        for _ in range(STEPS):
            self.now += PERIOD
            setpoint = self.box.step(PERIOD, self.measured)
            if not self.blocked:
                self.measured = setpoint
            self.path.append(self.measured.copy())
        self.clock.publish(Clock(clock=time_to_msg(self.now)))
        self.driver.publish(self.now, self.measured, np.zeros(6))
        self.hand.publish(HandState(state=HandState.ENABLED))

    def press(self, pressed):
        self.stop.publish(EmergencyStop(pressed=pressed, source='panel', reason='drill'))

    def send(self, client, goal):
        self.feedback.clear()
        future = client.send_goal_async(
            goal, feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        self.graph.until(future.done)
        assert future.result().accepted
        return future.result(), future.result().get_result_async()

    def result(self, future):
        self.graph.until(future.done)
        return future.result().result

    def run(self, client, goal):
        return self.result(self.send(client, goal)[1])

    def until_phase(self, phase, progress=0.0):
        self.graph.until(
            lambda: (
                self.feedback
                and self.feedback[-1].phase == phase
                and self.feedback[-1].progress >= progress
            )
        )

    def until_state(self, state):
        self.graph.until(lambda: self.states[-1].state == state)

    def clear_fault(self):
        return self.graph.call(self.clear, Trigger.Request())

    def rests(self):
        """Whether the arm stays where it is for half a simulated second."""
        before, end = self.measured.copy(), self.now + 0.5
        self.graph.until(lambda: self.now > end)
        return bool(np.array_equal(before, self.measured))

    def close(self):
        self.driver.close()


def lift(step=0.004, count=40):
    translations = np.zeros((count, 3))
    translations[:, 2] = step
    return WristTrajectory(translations, np.zeros((count, 3)), 10.0, 'test')


def grasp_goal(trajectory=None):
    position = np.array([0.55, 0.0, 0.07]) + 0.013 * SIDE_GRASP[:, 0]
    grasp = GraspParameters(position, euler_from_matrix(SIDE_GRASP), CLOSED)
    return ExecuteGrasp.Goal(
        episode_id='test',
        grasp=grasp_to_msg(grasp, 0.0),
        trajectory=trajectory_to_msg(lift() if trajectory is None else trajectory, 0.0),
        pregrasp_distance=0.1,
        pregrasp_direction=[0.7071, 0.0, 0.7071],
        open_hand=OPEN,
    )


def home_goal():
    return ReturnHome.Goal(release=True, open_hand=OPEN)


@pytest.fixture
def robot(make_graph):
    graph = make_graph()
    made = Robot(graph, driver_services())
    yield made
    graph.close()
    made.close()


@pytest.fixture
def ready(robot):
    robot.start()
    robot.until_state(ArmState.IDLE)
    return robot


def go_home(robot):
    result = robot.run(robot.home, home_goal())
    assert result.error_code == HOME.NONE, result.error_message
    np.testing.assert_allclose(robot.measured, robot.arm._planner.configuration.home, atol=0.02)


def test_an_episode_and_the_way_home(ready):
    result = ready.run(ready.grasp, grasp_goal())
    assert result.error_code == GRASP.NONE, result.error_message
    assert result.last_phase == GRASP.HOLD
    assert {message.phase for message in ready.feedback} == {0, 1, 2, 3, 4, 5}
    # The poses are those of the demonstration: 4 mm up with every displacement.
    heights = np.array([pose.pose.position.z for pose in result.executed_poses])
    assert len(heights) == 40
    np.testing.assert_allclose(heights - heights[-1], 0.004 * np.arange(-39, 1), atol=0.009)
    sideways = np.array([[p.pose.position.x, p.pose.position.y] for p in result.executed_poses])
    assert np.ptp(sideways, axis=0).max() < 0.002
    np.testing.assert_allclose(ready.hand_commands[-1].joint_positions, CLOSED)
    go_home(ready)
    # Nothing was faster than the joints may be.
    speed = np.abs(np.diff(ready.path, axis=0)).max(axis=0) / PERIOD
    assert np.all(speed <= 1.05 * np.array(ready.arm._planner.configuration.speed_limit))


def test_the_controller_gets_its_settings_before_the_first_motion(ready):
    ready.graph.until(lambda: ready.arm._backend.ready)
    configuration = ready.arm._planner.configuration.controller
    assert ready.box.tool_mass == pytest.approx(configuration.tool_mass)
    assert ready.box.sensitivity == configuration.collision_sensitivity
    lower, upper = ready.box._fence
    np.testing.assert_allclose(lower, configuration.fence_lower)
    np.testing.assert_allclose(upper, configuration.fence_upper)
    assert ready.box.report().motors == 0b111111


def test_services_that_are_off_are_named(make_graph):
    graph = make_graph()
    robot = Robot(graph, {})
    try:
        robot.start(ready_timeout=0.5)
        result = robot.run(robot.home, home_goal())
        assert result.error_code == HOME.CONTROLLER_ERROR
        assert 'services.set_tcp_offset and 7 more to true' in result.error_message
    finally:
        graph.close()
        robot.close()


def test_without_settings_the_default_services_suffice(make_graph):
    graph = make_graph()
    robot = Robot(graph, {})
    try:
        robot.start(controller_settings=False)
        go_home(robot)
    finally:
        graph.close()
        robot.close()


@pytest.mark.parametrize(
    'phase', [GRASP.PREGRASP, GRASP.APPROACH, GRASP.CLOSE, GRASP.TRAJECTORY, GRASP.HOLD]
)
def test_cancelling_in_every_phase(ready, phase):
    handle, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(phase)
    handle.cancel_goal_async()
    ready.graph.until(future.done)
    assert future.result().status == GoalStatus.STATUS_CANCELED
    assert future.result().result.error_code == GRASP.CANCELLED
    assert future.result().result.last_phase == phase
    ready.graph.until(lambda: ready.arm._backend.ready)
    assert ready.rests()
    # Motion goes on without a person.
    go_home(ready)


@pytest.mark.parametrize('progress', [0.05, 0.5, 0.8])
def test_cancelling_on_the_way_home(ready, progress):
    assert ready.run(ready.grasp, grasp_goal()).error_code == GRASP.NONE
    handle, future = ready.send(ready.home, home_goal())
    ready.graph.until(lambda: ready.feedback and ready.feedback[-1].progress >= progress)
    handle.cancel_goal_async()
    assert ready.result(future).error_code == HOME.CANCELLED
    ready.graph.until(lambda: ready.arm._backend.ready)
    assert ready.rests()
    go_home(ready)


def refuses_until_cleared(robot):
    """Nothing moves before a person has cleared the fault; then everything goes on."""
    robot.until_state(ArmState.FAULT)
    result = robot.run(robot.home, home_goal())
    assert result.error_code in (HOME.CONTROLLER_ERROR, HOME.EMERGENCY_STOP)
    assert '/arm/clear_fault' in result.error_message
    assert robot.rests()
    assert robot.clear_fault().success
    robot.until_state(ArmState.IDLE)
    go_home(robot)


def test_a_collision_ends_the_job_and_halts(ready):
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.TRAJECTORY, 0.3)
    ready.box.fail(COLLISION)
    result = ready.result(future)
    assert result.error_code == GRASP.COLLISION
    assert 'C31' in result.error_message
    assert 'payload' in result.error_message  # the remedy
    assert 0 < len(result.executed_poses) < 40
    ready.graph.until(lambda: ready.states[-1].controller_error == COLLISION)
    assert 'C31' in ready.states[-1].fault
    refuses_until_cleared(ready)


def test_the_button_of_the_controller(ready):
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    ready.box.press_button(pressed=True)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'C1' in result.error_message
    # Clearing does not help before the button is released.
    assert ready.clear_fault().success
    ready.graph.until(lambda: not ready.arm._clearing)
    ready.until_state(ArmState.FAULT)
    ready.box.press_button(pressed=False)
    refuses_until_cleared(ready)


def test_an_emergency_stop_stops_the_controller(ready):
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.TRAJECTORY, 0.2)
    ready.press(True)
    result = ready.result(future)
    assert result.error_code == GRASP.EMERGENCY_STOP
    ready.graph.until(lambda: ready.box.report().state == State.STOPPED)
    assert ready.rests()
    assert not ready.clear_fault().success
    ready.press(False)
    ready.graph.until(lambda: not ready.states[-1].emergency_stop)
    refuses_until_cleared(ready)


def test_an_emergency_stop_at_rest_stops_the_controller_too(ready):
    ready.graph.until(lambda: ready.box.report().state == State.READY)
    ready.press(True)
    ready.graph.until(lambda: ready.box.report().state == State.STOPPED)


def test_a_driver_restart_in_the_middle(ready):
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.TRAJECTORY, 0.2)
    ready.driver.close()
    result = ready.result(future)
    assert result.error_code == GRASP.STALE_STATE
    # The arm goes on with the few commands that it has, then rests.
    ready.graph.until(lambda: ready.box.report().waiting == 0)
    assert ready.rests()
    ready.driver = ready.new_driver()
    refuses_until_cleared(ready)


def test_a_lost_connection(robot):
    robot.start(state_timeout=0.5)
    robot.until_state(ArmState.IDLE)
    _, future = robot.send(robot.grasp, grasp_goal())
    robot.until_phase(GRASP.APPROACH)
    robot.box.connected = False
    result = robot.result(future)
    assert result.error_code == GRASP.STALE_STATE
    robot.until_state(ArmState.DISCONNECTED)
    # The driver does not connect again by itself: it must be started anew.
    robot.driver.close()
    robot.box.connected = True
    robot.driver = robot.new_driver()
    refuses_until_cleared(robot)


def test_a_driver_that_comes_back_while_the_arm_rests(ready):
    ready.graph.until(lambda: ready.arm._backend.ready)
    ready.driver.close()
    ready.graph.until(lambda: not ready.arm._backend.ready)
    ready.driver = ready.new_driver()
    ready.graph.until(lambda: ready.arm._backend.ready)
    go_home(ready)


def test_commands_that_are_taken_and_not_carried_out(robot):
    """A return code of 0 proves nothing: the arm must be seen to move."""
    robot.start(settle_timeout=0.5)
    robot.until_state(ArmState.IDLE)
    robot.blocked = True
    result = robot.run(robot.grasp, grasp_goal())
    assert result.error_code == GRASP.MOTION_TIMEOUT
    assert 'still' in result.error_message


def test_another_program_that_changes_the_mode(ready):
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    ready.box.set_mode(1)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'another program' in result.error_message
    refuses_until_cleared(ready)


def test_another_program_that_pauses(ready):
    """A motion command to a paused arm would freeze the driver: none is sent.

    One that is on its way at that moment cannot be called back, so the pause comes between.
    """
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.PREGRASP, 0.2)
    feed = ready.arm._backend._feed
    ready.graph.until(lambda: not feed._commands and not feed._in_flight)
    assert ready.box.report().waiting > 0
    ready.box.set_state(3)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'paused' in result.error_message
    # The driver still answers.
    assert ready.graph.call(ready.other_state, srv.SetInt16.Request(data=4)).ret == 0


def test_a_driver_that_is_blocked_by_another_program(robot):
    robot.start(call_timeout=0.5)
    robot.until_state(ArmState.IDLE)
    robot.graph.until(lambda: robot.arm._backend.ready)
    around = [robot.measured[0] + 0.3, *robot.measured[1:]]
    robot.graph.until(robot.other.service_is_ready)
    robot.other.call_async(srv.MoveJoint.Request(angles=around, speed=0.05, acc=5.0, wait=True))
    robot.graph.until(lambda: robot.box.report().state == State.MOVING)
    result = robot.run(robot.home, home_goal())
    assert result.error_code in (HOME.CONTROLLER_ERROR, HOME.COLLISION)
    robot.until_state(ArmState.FAULT)
    assert 'wait:=true' in robot.states[-1].fault or 'off its path' in robot.states[-1].fault


def test_a_tool_offset_that_somebody_else_set_is_noticed(robot):
    robot.box.tool_offset = np.array([0.0, 0.0, 172.0, 0.0, 0.0, 0.0])
    robot.start(controller_settings=False, ready_timeout=3.0)
    robot.until_state(ArmState.FAULT)
    assert 'tool offset of 172 mm' in robot.states[-1].fault


def test_an_error_from_before_is_for_a_person_to_clear(robot):
    robot.box.fail(COLLISION)
    robot.start()
    robot.until_state(ArmState.FAULT)
    assert 'C31' in robot.states[-1].fault
    refuses_until_cleared(robot)


def test_a_trajectory_that_returns_to_where_it_began_is_followed(ready):
    up = lift(0.006, 20)
    back = WristTrajectory(
        np.concatenate([up.translations, -up.translations]),
        np.zeros((40, 3)),
        10.0,
        'test',
    )
    result = ready.run(ready.grasp, grasp_goal(back))
    assert result.error_code == GRASP.NONE, result.error_message
    heights = np.array([pose.pose.position.z for pose in result.executed_poses])
    assert heights[19] - heights[-1] == pytest.approx(0.12, abs=0.009)


def test_reported_pose_and_our_kinematics_agree():
    configuration = load_arm_configuration('xarm6')
    kinematics = ArmKinematics(configuration)
    box = make_box()
    generator = np.random.default_rng(0)
    for _ in range(20):
        joints = generator.uniform(*configuration.planning_limits())
        np.testing.assert_allclose(box.flange(joints)[1], kinematics.flange_position(joints))


def test_stopping_takes_one_cycle(ready):
    """From the press on the wire to the stopped controller, in real time."""
    _, future = ready.send(ready.grasp, grasp_goal())
    ready.until_phase(GRASP.TRAJECTORY, 0.3)
    ready.press(True)
    begin = time.monotonic()
    while ready.box.report().state != State.STOPPED:
        assert time.monotonic() - begin < 2.0
        ready.graph.executor.spin_once(timeout_sec=0.01)
    assert ready.result(future).error_code == GRASP.EMERGENCY_STOP
