# SPDX-License-Identifier: Apache-2.0
"""Whole sessions in a graph, refused ones, and the checks at the operator's services."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.action import ActionClient
from rclpy.parameter import Parameter

from deft_bag.nodes.stream_recorder import StreamRecorder
from deft_bag.reader import BagReader
from deft_cem.nodes.session_node import SessionNode
from deft_cem.policies.policy import load_policy
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK
from deft_msgs.action import ExecuteGrasp, ReturnHome, RunSession
from deft_msgs.msg import SessionStatus
from deft_msgs.srv import ConfirmReset, SubmitReward


def test_a_small_session_from_the_first_episode_to_the_summary(graph, capsys) -> None:
    recorder = graph.recorder()
    graph.peers.unseen = 1  # the first look finds nothing; the episode gets another scene
    graph.peers.home_results = [ReturnHome.Goal.MOTION_TIMEOUT]  # tried again
    graph.peers.grasp_results = {
        0: ExecuteGrasp.Goal.UNREACHABLE,  # counts, reward 0
        2: ExecuteGrasp.Goal.MOTION_TIMEOUT,  # discarded and repeated
    }
    graph.session()
    assert graph.finish() == EXIT_OK
    recorder.close()

    reader = BagReader(graph.run / 'bag')
    episodes = list(reader.episodes())
    assert reader.damaged == []
    assert len(list((graph.run / 'bag').glob('*.mcap'))) == 5
    assert [e.phase for e in episodes] == [
        Phase.WARM_UP,
        Phase.WARM_UP,
        Phase.FINE_TUNE,
        Phase.EVALUATE_POLICY,
        Phase.EVALUATE_PRIOR,
    ]
    first = episodes[0]
    assert (first.outcome, first.reward, first.reward_source) == (
        Outcome.UNREACHABLE,
        0.0,
        'outcome',
    )
    assert [e.reward for e in episodes[1:]] == graph.peers.scores
    assert episodes[1].reward_source == 'scripted_operator'
    assert len(graph.peers.grasps) == 6
    for episode in episodes:
        np.testing.assert_allclose(
            episode.executed.to_vector(),
            episode.prior.grasp.to_vector() + episode.residual.to_vector(),
        )
        np.testing.assert_array_equal(episode.first_image, episode.last_image)
    assert np.any(episodes[3].residual.to_vector() != 0.0)
    assert np.all(episodes[4].residual.to_vector() == 0.0)
    assert episodes[3].scene_seed == episodes[4].scene_seed
    seeds = [request.seed for request in graph.peers.predictions]
    assert seeds[-1] == seeds[-2]
    scenes = [s.scene_seed for s in graph.peers.statuses if s.state == SessionStatus.RESET]
    assert scenes[0] != scenes[1] == first.scene_seed

    with SessionStore.read(graph.run / STORE_FILE) as store:
        states = [stored.state for stored in store.episodes()]
        assert states == ['rewarded', 'rewarded', 'discarded', 'rewarded', 'rewarded', 'rewarded']
        assert store.config.seed == 5
        assert store.finished
    load_policy(graph.run)
    summary = json.loads((graph.run / 'summary.json').read_text())
    assert summary['episodes'] == 3
    assert summary['success_evaluation'] == float(graph.peers.scores[2] > 0.6)
    assert summary['method'] == 'deft'
    assert summary['wall_s'] > 0.0
    assert summary['peak_rss_mb'] > 10.0
    output = capsys.readouterr().out
    assert output.count('mean of last ten') == 5
    assert 'episode   5/5  evaluate_prior' in output
    graph.until(lambda: graph.peers.statuses[-1].state == SessionStatus.DONE)
    shown = [status.state for status in graph.peers.statuses]
    assert SessionStatus.TRAIN in shown
    assert shown.count(SessionStatus.AWAIT_REWARD) == 4


def test_missing_peers_are_named_and_end_the_session(graph, capsys) -> None:
    graph.peers.destroy_service(graph.peers.predictor)
    graph.session(peer_timeout=5.0)
    assert graph.finish() == EXIT_FAILURE
    said = capsys.readouterr().err
    assert '/affordance/predict_grasp' in said
    graph.until(
        lambda: graph.peers.statuses and graph.peers.statuses[-1].state == SessionStatus.HALTED
    )


def test_emergency_stop_halts_and_leaves_the_sample_pending(graph) -> None:
    graph.recorder()
    graph.peers.answers = False
    graph.session()
    graph.until(
        lambda: graph.peers.statuses and graph.peers.statuses[-1].state == SessionStatus.RESET
    )
    graph.peers.press('panel', True)
    assert graph.finish() == EXIT_FAILURE
    assert 'panel' in graph.until_state(SessionStatus.HALTED).state_text


def test_who_releases_does_so_for_nobody_else(graph) -> None:
    graph.peers.answers = False
    node = graph.session(autostart=False)
    for source, pressed in (('panel', True), ('pendant', True), ('pendant', False)):
        graph.peers.press(source, pressed)
    client = ActionClient(graph.peers, RunSession, '/session/run')
    graph.until(client.server_is_ready)
    goal = RunSession.Goal(task='pick_cup', run_directory=str(graph.run), seed=1)

    def run_to_its_end() -> str:
        sent = client.send_goal_async(goal)
        graph.until(sent.done)
        answered = sent.result().get_result_async()
        graph.until(answered.done)
        return answered.result().result.error_message

    said = run_to_its_end()
    assert 'panel' in said
    assert 'pendant' not in said
    graph.peers.press('panel', False)
    graph.peers.statuses.clear()
    client.send_goal_async(goal)
    graph.until_state(SessionStatus.RESET)
    graph.remove(node)


def test_a_stop_station_that_was_lost_does_not_lock_a_session_for_ever(graph) -> None:
    graph.peers.answers = False
    node = graph.session(autostart=False)
    for alive in (1, 0):
        node._emergency_stop._on_stations(SimpleNamespace(alive_count=alive))
    client = ActionClient(graph.peers, RunSession, '/session/run')
    graph.until(client.server_is_ready)
    goal = RunSession.Goal(task='pick_cup', run_directory=str(graph.run), seed=1)
    client.send_goal_async(goal)
    graph.until_state(SessionStatus.RESET)
    graph.remove(node)


def test_scores_and_scenes_are_checked_before_they_count(graph) -> None:
    graph.recorder()
    graph.peers.answers = False
    graph.session()
    statuses = graph.peers.statuses
    graph.until(lambda: statuses and statuses[-1].state == SessionStatus.RESET)
    episode_id, seed = statuses[-1].episode_id, statuses[-1].scene_seed

    def confirm(name: str):
        request = ConfirmReset.Request(episode_id=name, object_name='cup', scene_seed=seed)
        return graph.call(ConfirmReset, '/session/confirm_reset', request)

    def submit(name: str, score: float):
        return graph.call(SubmitReward, '/session/submit_reward', graph.peers.reward(name, score))

    assert confirm('other').error_code == ConfirmReset.Request.WRONG_EPISODE
    assert submit(episode_id, 0.5).error_code == SubmitReward.Request.NOT_WAITING
    assert confirm(episode_id).accepted
    assert confirm(episode_id).error_code == ConfirmReset.Request.NOT_WAITING
    graph.until(lambda: statuses[-1].state == SessionStatus.AWAIT_REWARD)
    assert submit('other', 0.5).error_code == SubmitReward.Request.WRONG_EPISODE
    for score in (float('nan'), -0.5, 1.5):
        assert submit(episode_id, score).error_code == SubmitReward.Request.INVALID_SCORE
    assert submit(episode_id, 0.5).accepted
    assert submit(episode_id, 0.5).accepted  # idempotent
    assert submit(episode_id, 0.6).error_code == SubmitReward.Request.ALREADY_SCORED
    graph.until(lambda: statuses[-1].state == SessionStatus.RESET)
    assert statuses[-1].last_reward == 0.5
    assert statuses[-1].episode_id != episode_id


def test_a_motion_that_fails_again_and_again_halts(graph, capsys) -> None:
    graph.recorder()
    graph.peers.grasp_results = dict.fromkeys(range(10), ExecuteGrasp.Goal.HAND_FAULT)
    graph.session(maximum_retries=2)
    assert graph.finish() == EXIT_FAILURE
    assert len(graph.peers.grasps) == 3
    assert 'as the test wants it' in capsys.readouterr().err


def test_sessions_by_action_are_cancelled_refused_and_one_at_a_time(graph) -> None:
    graph.recorder()
    graph.peers.answers = False
    graph.session(autostart=False)
    client = ActionClient(graph.peers, RunSession, '/session/run')
    statuses, feedback = graph.peers.statuses, []

    def send(task: str, run: Path, **fields):
        goal = RunSession.Goal(task=task, run_directory=str(run), seed=1, **fields)
        future = client.send_goal_async(goal, feedback_callback=feedback.append)
        graph.until(future.done)
        return future.result()

    def result_of(handle):
        future = handle.get_result_async()
        graph.until(future.done)
        return future.result().result

    graph.until(client.server_is_ready)
    kind = RunSession.Goal
    assert result_of(send('no_task', graph.run)).error_code == kind.INVALID_REQUEST
    nothing = result_of(send('pick_cup', graph.run, resume=True))
    assert nothing.error_code == kind.RUN_OCCUPIED
    assert 'no session' in nothing.error_message
    assert not graph.run.exists()
    running = send('pick_cup', graph.run)
    graph.until(lambda: statuses and statuses[-1].state == SessionStatus.RESET)
    assert not send('pick_cup', graph.run.with_name('second')).accepted
    cancelled = running.cancel_goal_async()
    graph.until(cancelled.done)
    assert result_of(running).error_code == kind.CANCELLED
    graph.peers.answers = True
    assert result_of(send('pick_cup', graph.run, resume=True)).error_code == kind.NONE
    assert len(feedback) == 5
    finished = result_of(send('pick_cup', graph.run))
    assert finished.error_code == kind.RUN_OCCUPIED
    assert 'finished' in finished.error_message
    assert graph.exit_code is None
    client.destroy()


def test_an_occupied_run_folder_is_refused_and_untouched(graph) -> None:
    graph.run.mkdir()
    (graph.run / 'summary.json').write_text('{}')
    with pytest.raises(ConfigurationError, match='occupied'):
        SessionNode(context=graph.context, parameter_overrides=graph.parameters())
    assert [entry.name for entry in graph.run.iterdir()] == ['summary.json']


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'task': 'pick_cap'}, 'pick_cup'),
        ({'warm_up': 3}, 'warm_up'),
        ({'run': ''}, 'run'),
        ({'sedd': 1}, 'seed'),
        ({'seed': -1}, 'seed'),
    ],
)
def test_wrong_parameters_are_refused(graph, values, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SessionNode(context=graph.context, parameter_overrides=graph.parameters(**values))


@pytest.mark.parametrize(
    'entry', ['/a std_msgs/msg/Header', '/a std_msgs/msg/Header records', '/a os/msg/Path latched']
)
def test_wrong_recorder_topics_are_refused(graph, entry: str) -> None:
    overrides = [Parameter('topics', value=[entry])]
    with pytest.raises(ConfigurationError, match='/a'):
        StreamRecorder(context=graph.context, parameter_overrides=overrides)


def test_a_full_disk_halts_and_the_next_launch_goes_on(graph, monkeypatch, capsys) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    def score(scores: list[float], _: ExecuteGrasp.Goal) -> float:
        if len(scores) == 1:  # the second episode cannot be written
            monkeypatch.setattr(os, 'fsync', full)
        return 0.25

    graph.peers.score = score
    session = graph.session(episodes=3, warm_up=2, evaluation_trials=0)
    assert graph.finish() == EXIT_FAILURE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: the session halted: Cannot write')
    assert 'episode_0001.mcap: No space left on device; is the disk full' in line
    graph.remove(session)
    monkeypatch.undo()

    graph.session(episodes=3, warm_up=2, evaluation_trials=0)
    graph.until(lambda: len(graph.peers.scores) >= 3)
    first, second = graph.peers.grasps[1:3]
    assert first.episode_id == second.episode_id
    np.testing.assert_array_equal(first.grasp.position, second.grasp.position)
    assert next(e.reward for e in BagReader(graph.run / 'bag').episodes()) == 0.25
