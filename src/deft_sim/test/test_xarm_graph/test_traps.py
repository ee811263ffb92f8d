# SPDX-License-Identifier: Apache-2.0
"""What trips people up with xarm_ros2, met by the arm node."""

from __future__ import annotations

import numpy as np
import pytest

from deft_arm.configuration import load_arm_configuration
from deft_arm.planning.kinematics import ArmKinematics
from deft_arm.xarm.codes import ALL_JOINTS, State
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, HandState
from deft_sim.xarm_controller import SimulatedXArm

GRASP, HOME = ExecuteGrasp.Goal, ReturnHome.Goal
SERVO_ERROR = 11


def home_after_clearing(robot):
    """Nothing moves before a person has cleared the fault; then the arm gets home."""
    robot.until_state(ArmState.FAULT)
    refused = robot.run(robot.home, robot.home_goal())
    assert refused.error_code == HOME.CONTROLLER_ERROR
    robot.clear_until_idle()
    result = robot.run(robot.home, robot.home_goal())
    assert result.error_code == HOME.NONE, result.error_message


def test_reports_at_5_hz_suffice(make_robot):
    """What the driver does where nobody asked for report_type dev."""
    robot = make_robot(report_type='normal').start()
    robot.until_state(ArmState.IDLE)
    result = robot.run(robot.grasp, robot.grasp_goal())
    assert result.error_code == GRASP.NONE, result.error_message
    assert len(result.executed_poses) == 40


def test_a_servo_error_that_the_driver_clears_by_itself_is_still_for_a_person(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    ready.box.fail(SERVO_ERROR)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'C11' in result.error_message
    ready.driver.close()
    ready.until_state(ArmState.DISCONNECTED)
    ready.driver = ready.new_driver()
    assert ready.box.report().error == 0
    home_after_clearing(ready)


def test_a_joint_limit_of_the_controller_ends_the_motion_with_the_reason(make_robot):
    """The command is taken; the error comes later."""
    configuration = load_arm_configuration('xarm6')
    upper = np.array(configuration.position_upper)
    upper[0] = -0.3  # another revision of the arm turns less far
    lower, home = np.array(configuration.position_lower), np.array(configuration.home)
    box = SimulatedXArm(home, lower, upper, ArmKinematics(configuration))
    robot = make_robot(box=box).start()
    result = robot.run(robot.grasp, robot.grasp_goal())
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert 'C23: a joint is at its limit' in result.error_message
    assert robot.rests()


@pytest.mark.parametrize(
    ('meddle', 'said'),
    [
        (lambda box: box.set_state(4), 'state 4 (stopped)'),
        (lambda box: box.configure(), 'state 5 (changed)'),
        (lambda box: box.enable_motors(3, on=False), 'Motors are not enabled'),
    ],
    ids=['stop', 'setting', 'motor'],
)
def test_other_programs_are_noticed_and_named(ready, meddle, said):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.APPROACH)
    meddle(ready.box)
    result = ready.result(future)
    assert result.error_code == GRASP.CONTROLLER_ERROR
    assert said in result.error_message
    home_after_clearing(ready)


def test_the_boundary_of_the_controller_counts_as_a_collision(ready):
    _, future = ready.send(ready.grasp, ready.grasp_goal())
    ready.until_phase(GRASP.TRAJECTORY, 0.2)
    _, flange = ready.box.flange(ready.measured)
    lower, upper = ready.box.fence
    ready.box.fence = (lower, np.array([*upper[:2], flange[2] + 0.02]))
    result = ready.result(future)
    assert result.error_code == GRASP.COLLISION
    assert 'C35' in result.error_message
    assert robot_is_near(ready, flange)


def robot_is_near(robot, flange):
    assert robot.rests()
    return np.linalg.norm(robot.box.flange(robot.measured)[1] - flange) < 0.06


def test_settings_that_would_block_the_driver_wait_until_the_arm_rests(robot):
    box = robot.box
    box.enable_motors(ALL_JOINTS, on=True)
    box.set_state(0)
    around = np.array([robot.measured[0] + 0.4, *robot.measured[1:]])
    assert box.move_joints(around, 0.1, 5.0, blends=False) == 0
    robot.start()
    begin = robot.now
    robot.graph.until(lambda: robot.now > begin + 1.0)
    assert box.report().state == State.MOVING
    assert box.tool_mass == 0.0
    robot.graph.until(lambda: box.tool_mass > 0.0)
    np.testing.assert_allclose(robot.measured, around, atol=1e-6)


def test_an_arm_with_other_kinematics_is_refused(robot):
    exact = robot.box.flange

    def shifted(joints):
        rotation, position = exact(joints)
        return rotation, position + np.array([0.0, 0.0, 0.03])

    robot.box.flange = shifted
    robot.start()
    robot.until_state(ArmState.FAULT)
    assert '30 mm from where our kinematics has it' in robot.states[-1].fault


def test_a_hand_that_is_still_being_started_is_waited_for(robot, capfd):
    robot.hand_state = HandState.DISABLED
    robot.start()
    _, future = robot.send(robot.home, robot.home_goal())
    said = []

    def told(sentence):
        said.append(capfd.readouterr().err)
        return sentence in ''.join(said)

    robot.graph.until(lambda: told('The hand is not enabled'))
    assert not future.done()
    robot.hand_state = HandState.ENABLED
    assert robot.result(future).error_code == HOME.NONE
    robot.graph.until(lambda: told('The arm takes goals.'))
    # Later it is no longer a matter of starting.
    robot.hand_state = HandState.DISABLED
    assert robot.run(robot.home, robot.home_goal()).error_code == HOME.HAND_FAULT


def test_a_hand_that_never_comes_is_not_waited_for_for_ever(robot):
    robot.hand_state = HandState.DISABLED
    robot.start(ready_timeout=0.3)
    assert robot.run(robot.home, robot.home_goal()).error_code == HOME.HAND_FAULT
