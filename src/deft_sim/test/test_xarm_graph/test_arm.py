# SPDX-License-Identifier: Apache-2.0
"""The arm node on the simulated driver of xarm_ros2: episodes, faults, and what follows them.

The arm follows its setpoints at once, so that no physics is needed.
"""

from __future__ import annotations

import numpy as np
import pytest
from action_msgs.msg import GoalStatus

from deft_arm.configuration import load_arm_configuration
from deft_arm.xarm.codes import STATE_NOT_READY, State
from deft_core.trajectory import WristTrajectory
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState
from deft_sim.xarm_controller import COLLISION, WRONG_PARAMETER
from xarm_msgs import srv

STEPS = 8  # of the box in a tick
GRASP, HOME = ExecuteGrasp.Goal, ReturnHome.Goal
CONFIGURATION = load_arm_configuration('xarm6')


def go_home(robot):
    result = robot.run(robot.home, robot.home_goal())
    assert result.error_code == HOME.NONE, result.error_message
    np.testing.assert_allclose(robot.measured, CONFIGURATION.home, atol=0.02)


def test_an_episode_and_the_way_home(ready):
    ready.steps = 4  # poses are measured more often
    result = ready.run(ready.grasp, ready.grasp_goal())
    assert result.error_code == GRASP.NONE, result.error_message
    # Few commands wait in the controller: the arm goes on with them when this computer dies.
    assert 5 < ready.most_waiting <= 10
    assert result.last_phase == GRASP.HOLD
    assert {message.phase for message in ready.feedback} == {0, 1, 2, 3, 4, 5}
    # The poses are those of the demonstration: 4 mm up with every displacement.
    heights = np.array([pose.pose.position.z for pose in result.executed_poses])
    assert len(heights) == 40
    np.testing.assert_allclose(heights - heights[-1], 0.004 * np.arange(-39, 1), atol=0.02)
    sideways = np.array([[p.pose.position.x, p.pose.position.y] for p in result.executed_poses])
    assert np.ptp(sideways, axis=0).max() < 0.002
    np.testing.assert_allclose(ready.hand_commands[-1].joint_positions, ready.closed)
    go_home(ready)
    # Nothing was faster than the joints may be.
    speed = np.abs(np.diff(ready.path, axis=0)).max(axis=0) / ready.period
    assert np.all(speed <= 1.05 * np.array(CONFIGURATION.speed_limit))


def test_the_controller_gets_its_settings_before_the_first_motion(ready):
    ready.until_controller_is_ready()
    configuration = CONFIGURATION.controller
    assert ready.box.tool_mass == pytest.approx(configuration.tool_mass)
    assert ready.box.sensitivity == configuration.collision_sensitivity
    lower, upper = ready.box.fence
    np.testing.assert_allclose(lower, configuration.fence_lower)
    np.testing.assert_allclose(upper, configuration.fence_upper)
    assert ready.box.report().motors == 0b111111


@pytest.mark.parametrize('prepares', [True, False], ids=['settings', 'no settings'])
def test_a_pending_warning_does_not_lock_the_arm_out(robot, prepares):
    robot.box.warn(WRONG_PARAMETER)
    robot.start(controller_settings=prepares)
    go_home(robot)
    # One that came up in between stays pending through the clearing of an error, no longer.
    robot.box.warn(WRONG_PARAMETER)
    robot.box.fail(COLLISION)
    refuses_until_cleared(robot)
    assert robot.box.report().warning == 0


def test_a_setting_that_is_not_taken_is_a_fault(robot, monkeypatch):
    monkeypatch.setattr(robot.box, 'set_tool_mass', lambda _: STATE_NOT_READY)
    robot.start()
    robot.until_state(ArmState.FAULT)
    assert '/xarm/set_tcp_load answered 9' in robot.states[-1].fault
    monkeypatch.undo()
    refuses_until_cleared(robot)
    assert robot.box.tool_mass > 0.0


def test_services_that_are_off_are_named(make_robot):
    robot = make_robot(switches={}).start(ready_timeout=0.5)
    result = robot.run(robot.home, robot.home_goal())
    assert result.error_code == HOME.CONTROLLER_ERROR
    assert 'services.set_tcp_offset and 7 more to true' in result.error_message


def test_without_settings_the_default_services_suffice(make_robot):
    go_home(make_robot(switches={}).start(controller_settings=False))


@pytest.mark.parametrize(
    'phase', [GRASP.PREGRASP, GRASP.APPROACH, GRASP.CLOSE, GRASP.TRAJECTORY, GRASP.HOLD]
)
def test_cancelling_in_every_phase(ready, phase):
    handle, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(phase)
    handle.cancel_goal_async()
    ready.graph.until(future.done)
    assert future.result().status == GoalStatus.STATUS_CANCELED
    assert future.result().result.error_code == GRASP.CANCELLED
    assert future.result().result.last_phase == phase
    ready.until_controller_is_ready()
    assert ready.rests()
    # Motion goes on without a person.
    go_home(ready)


def refuses_until_cleared(robot):
    """Nothing moves before a person has cleared the fault; then everything goes on."""
    robot.until_state(ArmState.FAULT)
    result = robot.run(robot.home, robot.home_goal())
    assert result.error_code in (HOME.CONTROLLER_ERROR, HOME.EMERGENCY_STOP)
    assert '/arm/clear_fault' in result.error_message
    assert robot.rests()
    robot.clear_until_idle()
    go_home(robot)


def test_a_collision_ends_the_job_and_halts(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
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
    _, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    ready.box.press_button(pressed=True)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'C1' in result.error_message
    # Clearing does not help before the button is released.
    ready.until_state(ArmState.FAULT)
    assert ready.clear_fault().success
    ready.states.clear()
    ready.graph.until(lambda: len(ready.states) > 20)
    assert ready.states[-1].state == ArmState.FAULT
    assert 'C1' in ready.states[-1].fault
    ready.box.press_button(pressed=False)
    refuses_until_cleared(ready)


def test_an_emergency_stop_stops_the_controller(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
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
    ready.until_controller_is_ready()
    ready.press(True)
    ready.graph.until(lambda: ready.box.report().state == State.STOPPED)


def test_a_driver_restart_in_the_middle(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
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
    _, future = robot.send(robot.grasp, robot.grasp_goal())
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
    ready.until_controller_is_ready()
    ready.driver.close()
    ready.until_state(ArmState.DISCONNECTED)
    ready.driver = ready.new_driver()
    ready.until_state(ArmState.IDLE)
    go_home(ready)


def test_commands_that_are_taken_and_not_carried_out(robot):
    """A return code of 0 proves nothing: the arm must be seen to move."""
    robot.start(settle_timeout=0.5)
    robot.until_state(ArmState.IDLE)
    robot.blocked = True
    result = robot.run(robot.grasp, robot.grasp_goal())
    assert result.error_code == GRASP.MOTION_TIMEOUT
    assert 'still' in result.error_message


def test_another_program_that_changes_the_mode(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
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
    _, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.PREGRASP, 0.5)
    # Fewer wait than are kept waiting: the last one was sent.
    ready.graph.until(lambda: 0 < ready.box.report().waiting <= 5)
    ready.box.set_state(3)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'paused' in result.error_message
    # The driver still answers.
    answer = ready.meddle(srv.SetInt16, 'set_state', data=4)
    ready.graph.until(answer.done)
    assert answer.result().ret == 0


def test_a_driver_that_is_restarted_while_the_arm_comes_to_rest_is_brought_up(ready):
    handle, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    ready.steps = 0
    handle.cancel_goal_async()
    assert ready.result(future).error_code == GRASP.CANCELLED
    ready.driver.close()
    ready.until_state(ArmState.DISCONNECTED)
    ready.box.fence = None
    ready.driver, ready.steps = ready.new_driver(), STEPS
    ready.until_controller_is_ready()
    go_home(ready)


def test_a_driver_that_is_blocked_by_another_program(robot):
    robot.start(call_timeout=0.5)
    robot.until_state(ArmState.IDLE)
    robot.until_controller_is_ready()
    around = [robot.measured[0] + 0.3, *robot.measured[1:]]
    robot.meddle(srv.MoveJoint, 'set_servo_angle', angles=around, speed=0.05, acc=5.0, wait=True)
    robot.graph.until(lambda: robot.box.report().state == State.MOVING)
    result = robot.run(robot.home, robot.home_goal())
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
    ready.steps = 4  # poses are measured more often
    up = ready.lift(0.006, 20)
    back = WristTrajectory(
        np.concatenate([up.translations, -up.translations]),
        np.zeros((40, 3)),
        10.0,
        'test',
    )
    result = ready.run(ready.grasp, ready.grasp_goal(back))
    assert result.error_code == GRASP.NONE, result.error_message
    heights = np.array([pose.pose.position.z for pose in result.executed_poses])
    assert heights[19] - heights[-1] == pytest.approx(0.12, abs=0.03)


def test_a_stop_pressed_while_a_fault_is_cleared_can_be_cleared(ready):
    """Overlapping requests end in a state that can be cleared."""
    ready.box.fail(COLLISION)
    ready.until_state(ArmState.FAULT)
    assert ready.clear_fault().success
    ready.press(True)
    ready.graph.until(lambda: ready.states[-1].emergency_stop)
    assert ready.rests()
    ready.press(False)
    ready.graph.until(lambda: not ready.states[-1].emergency_stop)
    refuses_until_cleared(ready)
