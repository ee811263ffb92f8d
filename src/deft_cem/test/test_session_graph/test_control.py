# SPDX-License-Identifier: Apache-2.0
"""What an operator can ask of a running session, and what is answered where it is not possible."""

from __future__ import annotations

import pytest

from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK
from deft_msgs.msg import SessionStatus
from deft_msgs.srv import ControlSession, SubmitReward

KIND = ControlSession.Request


def until_next_episode(graph, before: str) -> SessionStatus:
    """Wait for the reset of another episode."""
    last = graph.peers.statuses
    graph.until(lambda: last[-1].state == SessionStatus.RESET and last[-1].episode_id != before)
    return last[-1]


def until_scored(graph) -> SessionStatus:
    """Lay out the scene that is waited for and bring the episode to its score."""
    graph.until_state(SessionStatus.RESET)
    graph.peers.confirm_scene()
    return graph.until_state(SessionStatus.AWAIT_REWARD)


def until_moving(graph) -> SessionStatus:
    graph.until_state(SessionStatus.RESET)
    count = len(graph.peers.grasps)
    graph.peers.confirm_scene()
    graph.until(lambda: len(graph.peers.grasps) > count)
    return graph.until_state(SessionStatus.EXECUTE)


@pytest.fixture
def session(graph):
    """A session whose operator does nothing by itself."""
    graph.peers.answers = False
    graph.session()
    graph.until_state(SessionStatus.RESET)
    return graph


def states_of(graph) -> list[str]:
    with SessionStore.read(graph.run / STORE_FILE) as record:
        return [episode.state for episode in record.episodes()]


def test_pause_resume_and_stop(session) -> None:
    name = session.peers.statuses[-1].episode_id
    assert session.control(KIND.PAUSE, 'other').error_code == KIND.WRONG_EPISODE
    assert session.control(KIND.RESUME, name).error_code == KIND.NOT_POSSIBLE_NOW
    assert session.control(KIND.PAUSE, name).accepted
    session.until_state(SessionStatus.PAUSED)
    for request in (KIND.PAUSE, KIND.REDO_EPISODE, KIND.SKIP_EPISODE, KIND.ABORT_EPISODE):
        answer = session.control(request, name)
        assert answer.error_code == KIND.NOT_POSSIBLE_NOW
        assert 'resume it first' in answer.error_message
    assert session.control(KIND.RESUME, name).accepted
    session.until_state(SessionStatus.RESET)
    assert session.control(77, name).error_code == KIND.UNKNOWN
    assert session.control(KIND.STOP, name).accepted
    assert session.finish() == EXIT_FAILURE
    assert 'stopped by the operator' in session.peers.statuses[-1].state_text


def test_a_pause_in_an_episode_waits_for_its_end_and_can_be_taken_back(session) -> None:
    name = until_scored(session).episode_id
    assert session.control(KIND.PAUSE, name).accepted
    session.until(lambda: 'pauses' in session.peers.statuses[-1].state_text)
    assert session.control(KIND.RESUME, name).accepted
    session.until(lambda: 'pauses' not in session.peers.statuses[-1].state_text)
    assert session.control(KIND.PAUSE, name).accepted
    score = session.peers.reward(name, 0.5)
    assert session.call(SubmitReward, '/session/submit_reward', score).accepted
    paused = session.until_state(SessionStatus.PAUSED)
    assert paused.episode_id != name
    assert session.control(KIND.RESUME, paused.episode_id).accepted
    session.until_state(SessionStatus.RESET)


def test_redo_tries_the_same_grasp_again(session) -> None:
    first = session.peers.statuses[-1]
    refused = session.control(KIND.REDO_EPISODE, first.episode_id)
    assert refused.error_code == KIND.NOT_POSSIBLE_NOW
    assert 'nothing of this episode was tried' in refused.error_message
    until_scored(session)
    assert session.control(KIND.REDO_EPISODE, first.episode_id).accepted
    again = session.until_state(SessionStatus.RESET)
    assert (again.episode_id, again.scene_seed) == (first.episode_id, first.scene_seed)
    until_scored(session)
    before, after = session.peers.grasps
    assert (before.grasp.position == after.grasp.position).all()
    assert (before.grasp.joint_positions == after.grasp.joint_positions).all()
    assert states_of(session) == ['executed']
    score = session.peers.reward(first.episode_id, 0.5)
    assert session.call(SubmitReward, '/session/submit_reward', score).accepted
    rewarded = until_next_episode(session, first.episode_id)
    late = session.control(KIND.REDO_EPISODE, first.episode_id)
    assert late.error_code == KIND.WRONG_EPISODE
    assert rewarded.episode_id in late.error_message


def test_redo_in_a_motion_stops_it_before_the_arm_goes_home(session) -> None:
    session.peers.holds_motion = True
    name = until_moving(session).episode_id
    assert session.control(KIND.REDO_EPISODE, name).accepted
    assert session.until_state(SessionStatus.RESET).episode_id == name
    assert session.peers.moving == []
    session.peers.holds_motion = False
    until_scored(session)
    assert len(session.peers.grasps) == 2


def test_abort_stops_the_motion_and_pauses(session) -> None:
    session.peers.holds_motion = True
    name = until_moving(session).episode_id
    assert session.control(KIND.ABORT_EPISODE, name).accepted
    paused = session.until_state(SessionStatus.PAUSED)
    assert paused.episode_index == 0
    assert states_of(session) == ['discarded']
    session.until(lambda: session.peers.moving == [])
    session.peers.holds_motion = False
    assert session.control(KIND.RESUME, paused.episode_id).accepted
    again = session.until_state(SessionStatus.RESET)
    assert again.episode_id != name
    until_scored(session)
    before, after = session.peers.grasps
    assert (before.grasp.position != after.grasp.position).all()


def test_skip_leaves_a_place_empty_and_the_session_comes_to_its_end(graph) -> None:
    graph.peers.answers = False
    graph.session(episodes=4, evaluation_trials=0)
    name = until_scored(graph).episode_id
    assert graph.control(KIND.SKIP_EPISODE, name).accepted
    second = until_next_episode(graph, name)
    assert second.episode_index == 1
    # The three others are rewarded; that is enough for a policy.
    graph.peers.answers = True
    graph.peers.confirm_scene()
    assert graph.finish() == EXIT_OK
    assert states_of(graph) == ['discarded', 'rewarded', 'rewarded', 'rewarded']
    with SessionStore.read(graph.run / STORE_FILE) as record:
        assert [position for position, _ in record.skipped()] == [0]


def test_controls_without_a_session(graph) -> None:
    graph.session(autostart=False)
    answer = graph.control(KIND.PAUSE, '')
    assert answer.error_code == KIND.NOT_POSSIBLE_NOW
    assert 'no session' in answer.error_message


def test_affordance_only_is_nothing_but_trials(graph) -> None:
    graph.session(method='affordance_only', evaluation_trials=2)
    assert graph.finish() == EXIT_OK
    assert len(graph.peers.grasps) == 2
    shown = {status.state for status in graph.peers.statuses}
    assert SessionStatus.TRAIN not in shown
    assert {request.predictor for request in graph.peers.predictions} == {''}


def test_real_world_only_asks_for_the_heuristic_predictor(graph) -> None:
    graph.peers.answers = False
    graph.session(method='real_world_only')
    until_scored(graph)
    assert {request.predictor for request in graph.peers.predictions} == {'heuristic'}
