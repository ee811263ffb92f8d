# SPDX-License-Identifier: Apache-2.0
"""Session and recorder in a graph of their own, with peers that answer at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from deft_bag.nodes.stream_recorder import StreamRecorder
from deft_cem.nodes.session_node import SessionNode
from deft_core.nodes.encode import image_to_msg, observation_to_msg, prior_to_msg
from deft_core.nodes.qos import IMAGE_PUBLISHER, LATCHED
from deft_core.nodes.runner import NodeFinished
from deft_core.observation import ObjectObservation
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import EmergencyStop, Reward, SessionStatus
from deft_msgs.srv import (
    ConfirmReset,
    ControlSession,
    PredictGrasp,
    SegmentObject,
    SubmitReward,
)

TIMEOUT = 600.0  # [s]; only a hang reaches it
COLOR = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def in_turn(scores: list[float], _: ExecuteGrasp.Goal) -> float:
    """The score of the next episode, whatever was tried."""
    return 0.25 * (len(scores) % 4)


class Peers(Node):
    """Camera, segmentation, affordance, arm and operator; a test changes its answers."""

    def __init__(self, context, records) -> None:
        super().__init__('peers', context=context)
        self.records = records
        self.statuses: list[SessionStatus] = []
        self.grasp_results: dict[int, int] = {}  # number of the grasp -> error code
        self.home_results: list[int] = []  # error codes of the next ways home
        self.unseen = 0  # times that no object is found
        self.grasps: list[ExecuteGrasp.Goal] = []
        self.predictions: list[PredictGrasp.Request] = []
        self.scores: list[float] = []
        self.score: Callable[[list[float], ExecuteGrasp.Goal], float] = in_turn
        self.answers = True  # whether the operator does anything
        self.on_grasp: Callable[[], None] | None = None
        self.holds_motion = False  # whether a grasp lasts until it is cancelled
        self.moving: list = []
        self.color = self.create_publisher(
            Image, '/camera/camera/color/image_raw', IMAGE_PUBLISHER
        )
        self.stops: dict[str, Publisher] = {}  # a sender for every source
        self.create_timer(0.02, self.tick)
        self.create_service(SegmentObject, '/perception/segment_object', self.segment)
        self.predictor = self.create_service(
            PredictGrasp, '/affordance/predict_grasp', self.predict
        )
        self.confirm = self.create_client(ConfirmReset, '/session/confirm_reset')
        self.submit = self.create_client(SubmitReward, '/session/submit_reward')
        self.create_subscription(SessionStatus, '/session/status', self.on_status, LATCHED)
        self.serve_actions()

    def serve_actions(self) -> None:
        """Offer what the arm node does; again after a destruction, as when it is restarted."""
        self.servers = [
            ActionServer(self, ReturnHome, '/arm/return_home', self.return_home),
            ActionServer(
                self,
                ExecuteGrasp,
                '/arm/execute_grasp',
                self.execute,
                handle_accepted_callback=self.accepted,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            ),
        ]

    def now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def press(self, source: str, pressed: bool) -> None:
        if source not in self.stops:
            self.stops[source] = self.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        message = EmergencyStop(pressed=pressed, source=source, reason='test')
        self.stops[source].publish(message)

    def tick(self) -> None:
        self.color.publish(image_to_msg(COLOR, 'rgb8', self.now(), 'camera_color_optical_frame'))
        for goal in [goal for goal in self.moving if goal.is_cancel_requested]:
            self.moving.remove(goal)
            goal.execute(self.cancelled)

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
        self.predictions.append(request)
        episode = self.records.make_episode(0)
        response.prior = prior_to_msg(episode.prior, self.now())
        return response

    def return_home(self, goal):
        code = self.home_results.pop(0) if self.home_results else ReturnHome.Goal.NONE
        goal.succeed() if code == ReturnHome.Goal.NONE else goal.abort()
        return ReturnHome.Result(error_code=code, error_message='as the test wants it')

    def accepted(self, goal) -> None:
        self.grasps.append(goal.request)
        if self.on_grasp is not None:
            self.on_grasp()
        if self.holds_motion:
            self.moving.append(goal)
        else:
            goal.execute()

    def execute(self, goal):
        code = self.grasp_results.get(len(self.grasps) - 1, ExecuteGrasp.Goal.NONE)
        goal.succeed() if code == ExecuteGrasp.Goal.NONE else goal.abort()
        return ExecuteGrasp.Result(error_code=code, error_message='as the test wants it')

    def cancelled(self, goal):
        goal.canceled()
        return ExecuteGrasp.Result(error_code=ExecuteGrasp.Goal.CANCELLED)

    def on_status(self, status: SessionStatus) -> None:
        self.statuses.append(status)
        if not self.answers:
            return
        if status.state == SessionStatus.RESET:
            self.confirm_scene()
        elif status.state == SessionStatus.AWAIT_REWARD:
            self.scores.append(self.score(self.scores, self.grasps[-1]))
            self.submit.call_async(self.reward(status.episode_id, self.scores[-1]))

    def confirm_scene(self) -> None:
        status = self.statuses[-1]
        self.confirm.call_async(
            ConfirmReset.Request(
                episode_id=status.episode_id, object_name='red_mug', scene_seed=status.scene_seed
            )
        )

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

    def remove(self, node: Node) -> None:
        """End a node as its process would."""
        self.nodes.remove(node)
        self.executor.remove_node(node)
        node.close()
        node.destroy_node()

    def values(self, **values) -> dict:
        """Parameters of the session node."""
        defaults = {
            'run': str(self.run),
            'settings': str(self.settings),
            'episodes': 3,
            'warm_up': 2,
            'evaluation_trials': 1,
            'seed': 5,
            'video_period': 0.1,
            # Nobody is late because the machine is busy.
            **dict.fromkeys(('peer_timeout', 'service_timeout', 'image_timeout'), 300.0),
        }
        return {**defaults, **values}

    def parameters(self, **values) -> list[Parameter]:
        return [Parameter(name, value=value) for name, value in self.values(**values).items()]

    def recorder(self) -> Node:
        topics = ['/session/status deft_msgs/msg/SessionStatus latched']
        return self.add(
            StreamRecorder(
                context=self.context, parameter_overrides=[Parameter('topics', value=topics)]
            )
        )

    def session(self, **values) -> Node:
        self.exit_code = None
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

    def until_state(self, state: int) -> SessionStatus:
        """Wait until the session says that it is in a state."""
        self.until(lambda: self.peers.statuses and self.peers.statuses[-1].state == state)
        return self.peers.statuses[-1]

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

    def control(self, request: int, episode_id: str) -> ControlSession.Response:
        return self.call(
            ControlSession,
            '/session/control',
            ControlSession.Request(request=request, episode_id=episode_id),
        )

    def close(self) -> None:
        for node in list(self.nodes):
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def graph(records, tmp_path: Path):
    context = rclpy.Context()
    rclpy.init(context=context)
    graph = Graph(context, records, tmp_path)
    yield graph
    graph.close()
    rclpy.try_shutdown(context=context)
