# SPDX-License-Identifier: Apache-2.0
"""Session and recorder in a graph of their own, with peers that answer at once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from rclpy.action import ActionClient, ActionServer  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from deft_cem.bag_reader import BagReader  # noqa: E402
from deft_cem.nodes.recorder_node import RecorderNode  # noqa: E402
from deft_cem.nodes.session_node import SessionNode  # noqa: E402
from deft_cem.policy import load_policy  # noqa: E402
from deft_cem.session_store import SessionStore  # noqa: E402
from deft_cem.summary import STORE_FILE  # noqa: E402
from deft_core.episode import Outcome, Phase  # noqa: E402
from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.nodes.encode import prior_to_msg  # noqa: E402
from deft_core.nodes.encode_images import image_to_msg  # noqa: E402
from deft_core.nodes.encode_records import observation_to_msg  # noqa: E402
from deft_core.nodes.qos import IMAGE_PUBLISHER, LATCHED  # noqa: E402
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished  # noqa: E402
from deft_core.observation import ObjectObservation  # noqa: E402
from deft_msgs.action import ExecuteGrasp, ReturnHome, RunSession  # noqa: E402
from deft_msgs.msg import EmergencyStop, Reward, SessionStatus  # noqa: E402
from deft_msgs.srv import (  # noqa: E402
    ConfirmReset,
    ControlSession,
    PredictGrasp,
    SegmentObject,
    SubmitReward,
)

TIMEOUT = 60.0  # [s]
COLOR = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


class Peers(Node):
    """Camera, segmentation, affordance, arm and operator; a test changes its answers."""

    def __init__(self, context, records) -> None:
        super().__init__('peers', context=context)
        self.records = records
        self.statuses: list[SessionStatus] = []
        self.grasp_results: dict[int, int] = {}  # number of the grasp -> error code
        self.unseen = 0  # times that no object is found
        self.grasps: list[ExecuteGrasp.Goal] = []
        self.prediction_seeds: list[int] = []
        self.scores: list[float] = []
        self.answers = True  # whether the operator does anything
        self.color = self.create_publisher(
            Image, '/camera/camera/color/image_raw', IMAGE_PUBLISHER
        )
        self.stop = self.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.create_timer(0.02, self.publish_image)
        self.create_service(SegmentObject, '/perception/segment_object', self.segment)
        self.create_service(PredictGrasp, '/affordance/predict_grasp', self.predict)
        self.confirm = self.create_client(ConfirmReset, '/session/confirm_reset')
        self.submit = self.create_client(SubmitReward, '/session/submit_reward')
        self.create_subscription(SessionStatus, '/session/status', self.on_status, LATCHED)
        self.servers = [
            ActionServer(self, ReturnHome, '/arm/return_home', self.return_home),
            ActionServer(self, ExecuteGrasp, '/arm/execute_grasp', self.execute),
        ]

    def now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def publish_image(self) -> None:
        self.color.publish(image_to_msg(COLOR, 'rgb8', self.now(), 'camera_color_optical_frame'))

    def segment(self, request, response):
        if self.unseen > 0:
            self.unseen -= 1
            response.error_code = SegmentObject.Request.NO_OBJECT
            response.error_message = 'the table is empty'
            return response
        observation = ObjectObservation(
            stamp=self.now(),
            mask=np.ones((48, 64), dtype=bool),
            crop_box=(8, 0, 56, 48),
            points=np.random.default_rng(1).uniform(0.4, 0.5, (20, 3)),
            table_plane=np.array([0.0, 0.0, 1.0, 0.0]),
            centre=np.array([0.5, 0.0, 0.05]),
            axes=np.eye(3),
            extents=np.array([0.1, 0.08, 0.08]),
            height=0.1,
            touches_border=False,
            quality={},
            calibration_id='cell',
        )
        response.observation = observation_to_msg(observation, COLOR)
        return response

    def predict(self, request, response):
        self.prediction_seeds.append(request.seed)
        episode = self.records.make_episode(len(self.prediction_seeds))
        response.prior = prior_to_msg(episode.prior, self.now())
        return response

    def return_home(self, goal):
        goal.succeed()
        return ReturnHome.Result()

    def execute(self, goal):
        code = self.grasp_results.get(len(self.grasps), ExecuteGrasp.Goal.NONE)
        self.grasps.append(goal.request)
        goal.succeed() if code == ExecuteGrasp.Goal.NONE else goal.abort()
        return ExecuteGrasp.Result(error_code=code, error_message='as the test wants it')

    def on_status(self, status: SessionStatus) -> None:
        self.statuses.append(status)
        if not self.answers:
            return
        if status.state == SessionStatus.RESET:
            self.confirm.call_async(
                ConfirmReset.Request(
                    episode_id=status.episode_id,
                    object_name='red_mug',
                    scene_seed=status.scene_seed,
                )
            )
        elif status.state == SessionStatus.AWAIT_REWARD:
            self.scores.append(0.25 * (len(self.scores) % 4))
            self.submit.call_async(self.reward(status.episode_id, self.scores[-1]))

    def reward(self, episode_id: str, score: float) -> SubmitReward.Request:
        return SubmitReward.Request(
            reward=Reward(
                episode_id=episode_id,
                score=score,
                success=2 if score > 0.6 else 1,
                source=Reward.SOURCE_SCRIPTED_OPERATOR,
            )
        )


class Graph:
    """All nodes in one executor."""

    def __init__(self, context, records, tmp_path: Path) -> None:
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes: list[Node] = []
        self.run = tmp_path / 'run'
        self.settings = tmp_path / 'learning.yaml'
        self.settings.write_text('policy: {vae: {steps: 5}}\n')
        self.peers = self.add(Peers(context, records))
        self.exit_code: int | None = None

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def parameters(self, **values) -> list[Parameter]:
        defaults = {
            'run': str(self.run),
            'settings': str(self.settings),
            'episodes': 3,
            'warm_up': 2,
            'evaluation_trials': 1,
            'seed': 5,
            'film_period': 0.1,
        }
        return [Parameter(name, value=value) for name, value in {**defaults, **values}.items()]

    def recorder(self) -> Node:
        topics = ['/session/status deft_msgs/msg/SessionStatus latched']
        return self.add(
            RecorderNode(
                context=self.context, parameter_overrides=[Parameter('topics', value=topics)]
            )
        )

    def session(self, **values) -> Node:
        return self.add(
            SessionNode(context=self.context, parameter_overrides=self.parameters(**values))
        )

    def until(self, condition) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'nothing happened in time'
            try:
                self.executor.spin_once(timeout_sec=0.1)
            except NodeFinished as finished:
                self.exit_code = finished.exit_code

    def finish(self) -> int:
        self.until(lambda: self.exit_code is not None)
        assert self.exit_code is not None
        return self.exit_code

    def call(self, kind, name: str, request):
        client = self.peers.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self) -> None:
        for node in self.nodes:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def graph(records, tmp_path: Path):
    context = rclpy.Context()
    # Test runs beside each other must not hear each other.
    rclpy.init(context=context, domain_id=1 + os.getpid() % 50)
    graph = Graph(context, records, tmp_path)
    yield graph
    graph.close()
    rclpy.try_shutdown(context=context)


def test_a_small_session_from_the_first_episode_to_the_summary(graph, capsys) -> None:
    recorder = graph.recorder()
    graph.peers.unseen = 1  # the first look finds nothing; the episode starts over
    graph.peers.grasp_results = {
        0: ExecuteGrasp.Goal.UNREACHABLE,  # counts, reward 0
        2: ExecuteGrasp.Goal.MOTION_TIMEOUT,  # withdrawn and repeated
    }
    graph.session()
    assert graph.finish() == EXIT_OK
    recorder.close()

    reader = BagReader(graph.run / 'bag')
    episodes = list(reader.episodes())
    assert not reader.truncated
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
        np.testing.assert_array_equal(episode.first_image, COLOR)
        np.testing.assert_array_equal(episode.last_image, COLOR)
    assert np.any(episodes[3].residual.to_vector() != 0.0)
    assert np.all(episodes[4].residual.to_vector() == 0.0)
    assert episodes[3].scene_seed == episodes[4].scene_seed
    assert graph.peers.prediction_seeds[-1] == graph.peers.prediction_seeds[-2]

    with SessionStore.open(graph.run / STORE_FILE) as store:
        states = [stored.state for stored in store.episodes()]
        assert states == ['rated', 'rated', 'withdrawn', 'rated', 'rated', 'rated']
        assert store.seed == 5
    load_policy(graph.run)
    summary = json.loads((graph.run / 'summary.json').read_text())
    assert summary['episodes'] == 3
    assert summary['success_evaluation'] == float(graph.peers.scores[2] > 0.6)
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
    graph.session(peer_timeout=0.5)  # no recorder
    assert graph.finish() == EXIT_FAILURE
    said = capsys.readouterr().err
    assert 'a recorder that records this run' in said
    assert '/arm/execute_grasp' not in said
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
    graph.peers.stop.publish(EmergencyStop(pressed=True, source='panel', reason='test'))
    assert graph.finish() == EXIT_FAILURE
    graph.until(lambda: graph.peers.statuses[-1].state == SessionStatus.HALTED)
    assert 'panel' in graph.peers.statuses[-1].state_text


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


def test_pause_resume_and_stop(graph) -> None:
    graph.recorder()
    graph.peers.answers = False
    graph.session()
    statuses = graph.peers.statuses
    graph.until(lambda: statuses and statuses[-1].state == SessionStatus.RESET)

    def control(request: int, name: str):
        return graph.call(
            ControlSession,
            '/session/control',
            ControlSession.Request(request=request, episode_id=name),
        )

    kind, name = ControlSession.Request, statuses[-1].episode_id
    assert control(kind.PAUSE, 'other').error_code == kind.WRONG_EPISODE
    assert control(kind.RESUME, name).error_code == kind.NOT_POSSIBLE_NOW
    assert control(kind.PAUSE, name).accepted
    graph.until(lambda: statuses[-1].state == SessionStatus.PAUSED)
    assert control(kind.RESUME, name).accepted
    graph.until(lambda: statuses[-1].state == SessionStatus.RESET)
    assert control(kind.STOP, name).accepted
    assert graph.finish() == EXIT_FAILURE


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
    assert result_of(send('pick_cup', graph.run, resume=True)).error_code == kind.INVALID_REQUEST
    running = send('pick_cup', graph.run)
    graph.until(lambda: statuses and statuses[-1].state == SessionStatus.RESET)
    assert not send('pick_cup', graph.run.with_name('second')).accepted
    cancelled = running.cancel_goal_async()
    graph.until(cancelled.done)
    assert result_of(running).error_code == kind.CANCELLED
    assert result_of(send('pick_cup', graph.run)).error_code == kind.RUN_OCCUPIED
    graph.peers.answers = True
    assert result_of(send('pick_cup', graph.run.with_name('third'))).error_code == kind.NONE
    assert len(feedback) == 5
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
    'entry', ['/a std_msgs/msg/Header', '/a std_msgs/msg/Header often', '/a os/msg/Path latched']
)
def test_wrong_recorder_topics_are_refused(graph, entry: str) -> None:
    overrides = [Parameter('topics', value=[entry])]
    with pytest.raises(ConfigurationError, match='/a'):
        RecorderNode(context=graph.context, parameter_overrides=overrides)
