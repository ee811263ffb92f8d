# SPDX-License-Identifier: Apache-2.0
"""A session over the interface of xarm_ros2 survives what can happen to an arm."""

from __future__ import annotations

import pytest

from deft_arm.xarm.codes import State
from deft_core.episode import Outcome
from deft_msgs.action import ExecuteGrasp, RunSession
from deft_msgs.msg import ArmState, SessionStatus
from deft_msgs.srv import ControlSession
from deft_sim.xarm_controller import COLLISION

GRASP = ExecuteGrasp.Goal
NONE, HALTED = RunSession.Goal.NONE, RunSession.Goal.HALTED
KIND = ControlSession.Request


def finished_well(session, future, count):
    """Whether the session came to its end with as many rated episodes."""
    result = session.result(future)
    assert result.error_code == NONE, result.error_message
    rated = [episode for episode in session.episodes() if episode.state == 'rewarded']
    assert len(rated) == count
    return rated


def test_a_scripted_collision_counts_against_the_grasp_and_the_session_goes_on(make_session):
    session = make_session()
    future = session.start()
    session.until_moving(GRASP.TRAJECTORY, 0.3)
    session.robot.box.fail(COLLISION)
    # The scripted operator looks at the arm and clears the fault.
    first, second = finished_well(session, future, 2)
    assert (first.outcome, first.reward, first.success) == (Outcome.COLLISION, 0.0, False)
    assert (second.outcome, second.reward) == (Outcome.COMPLETED, pytest.approx(0.8))


def test_a_collision_that_nobody_clears_halts_the_session_with_the_episode_kept(make_session):
    session = make_session(clearance_wait=0.0)  # as on a robot
    future = session.start(clears=False)
    session.until_moving(GRASP.TRAJECTORY, 0.3)
    session.robot.box.fail(COLLISION)
    result = session.result(future)
    assert result.error_code == HALTED
    assert '/arm/clear_fault' in result.error_message
    (kept,) = session.episodes()
    assert (kept.state, kept.outcome, kept.reward) == ('rewarded', Outcome.COLLISION, 0.0)
    assert session.robot.rests()
    # A person looks, clears, and goes on with the session.
    assert session.robot.clear_fault().success
    session.robot.until_state(ArmState.IDLE)
    first, _ = finished_well(session, session.go_on(), 2)
    assert first == kept


def test_a_cancel_in_every_phase(make_session):
    """An operator who has the episode done once more, again and again."""
    session = make_session()
    future = session.start(trials=1)
    phases = [GRASP.PREGRASP, GRASP.APPROACH, GRASP.CLOSE, GRASP.TRAJECTORY, GRASP.HOLD]
    for phase in phases:
        session.until_moving(phase, 0.1)
        session.control(KIND.REDO_EPISODE)
        # It comes to rest where it is before it goes home; no fault is left to clear.
        session.until_going_home(0.0)
        assert not session.robot.states[-1].fault
    (episode,) = finished_well(session, future, 1)
    assert episode.attempt == len(phases) + 1
    assert (episode.outcome, episode.reward) == (Outcome.COMPLETED, pytest.approx(0.8))


def test_a_cancel_while_it_releases_retreats_and_goes_home(make_session):
    """A session that is stopped on the way home goes on where it was, three times."""
    session = make_session()
    future = session.start(trials=2)
    session.until_state(SessionStatus.AWAIT_REWARD)
    for progress in (0.05, 0.4, 0.8):
        session.until_going_home(progress)
        session.control(KIND.STOP)
        assert session.result(future).error_code == RunSession.Goal.CANCELLED
        session.robot.until_controller_is_ready()
        assert session.robot.rests()
        future = session.go_on()
    rated = finished_well(session, future, 2)
    assert [episode.attempt for episode in rated] == [1, 1]


def test_a_driver_restart_withdraws_the_episode_and_repeats_it(make_session):
    session = make_session()
    future = session.start(trials=1)
    session.until_moving(GRASP.TRAJECTORY, 0.3)
    session.robot.driver.close()
    session.graph.until(lambda: session.episodes()[0].state == 'discarded')
    session.robot.driver = session.robot.new_driver()
    finished_well(session, future, 1)
    withdrawn, repeated = session.episodes()
    assert withdrawn.state == 'discarded'
    assert 'driver' in withdrawn.reason
    assert repeated.outcome is Outcome.COMPLETED


def test_the_button_of_the_controller_withdraws_the_episode(make_session):
    session = make_session()
    future = session.start(trials=1)
    session.until_moving(GRASP.APPROACH)
    session.robot.box.press_button(pressed=True)
    session.graph.until(lambda: session.episodes()[0].state == 'discarded')
    session.robot.box.press_button(pressed=False)
    finished_well(session, future, 1)
    assert 'C1' in session.episodes()[0].reason


def test_an_emergency_stop_halts_the_session_and_the_episode_is_done_again(make_session):
    session = make_session()
    future = session.start(trials=1)
    session.until_moving(GRASP.TRAJECTORY, 0.3)
    session.robot.press(True)
    result = session.result(future)
    assert result.error_code == HALTED
    assert 'panel' in result.error_message
    session.graph.until(lambda: session.robot.box.report().state == State.STOPPED)
    assert session.robot.rests()
    (open_episode,) = session.episodes()
    assert (open_episode.state, open_episode.outcome) == ('asked', None)
    # While it is pressed, nothing goes on.
    session.robot.until_state(ArmState.FAULT)
    assert not session.robot.clear_fault().success
    session.robot.press(False)
    session.robot.until_state(ArmState.IDLE)  # the operator has cleared the fault
    (done,) = finished_well(session, session.go_on(), 1)
    assert (done.episode_id, done.attempt) == (open_episode.episode_id, 2)
