# SPDX-License-Identifier: Apache-2.0
"""Scores the practice in place of the operator: by the distance to a goal image (section 5).

The operator still lays out the scene. Trials of the evaluation are never scored here: as in the
paper, they are judged by the operator whatever reward was learned from.

Where an operator judges every episode anyway, such as the scripted one, its scores go to this
node instead of the session. In practice its verdict on success is kept for the report, and its
score gives way to that of the image; in the evaluation both are passed on as they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image

from deft_cem.encoders.registry import make_encoder
from deft_cem.nodes.camera import ColorCamera
from deft_cem.rewards.visual import (
    SOURCES,
    GoalDistance,
    Score,
    VisualReward,
    default_paths,
    load_image,
)
from deft_core.clock import Deadline
from deft_core.configuration import config_directory, nearest
from deft_core.decode import color_from_msg, time_from_msg
from deft_core.errors import ConfigurationError, StaleDataError
from deft_core.nodes.encode import header
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED
from deft_core.nodes.runner import run_node
from deft_msgs.msg import EpisodeRecord, Reward, SessionStatus
from deft_msgs.srv import SubmitReward

SERVICE: Final = '/visual_reward/submit_reward'
_PRACTICE: Final = frozenset({EpisodeRecord.PHASE_WARM_UP, EpisodeRecord.PHASE_FINE_TUNE})
_REMEMBERED: Final = 8  # episodes, of which one is open
_PERIOD: Final = 0.1  # [s] of real time between two looks at what is late


@dataclass(frozen=True)
class VisualRewardParameters:
    """Parameters of the node `visual_reward`."""

    task: str = field(default='pick_cup', metadata={'doc': 'file in config/tasks'})
    encoder: str = field(default='r3m_resnet18', metadata={'doc': f'one of {", ".join(SOURCES)}'})
    weights: str = field(
        default='', metadata={'doc': "folder of weights files; empty takes the user's"}
    )
    goal_image: str = field(
        default='', metadata={'doc': 'JPEG or PNG; empty takes config/goals/TASK_goal.jpg'}
    )
    start_image: str = field(
        default='', metadata={'doc': 'JPEG or PNG; empty takes config/goals/TASK_start.jpg'}
    )
    operator_judges: bool = field(
        default=False, metadata={'doc': f'wait for the verdict of an operator on {SERVICE}'}
    )
    answer_timeout: float = field(
        default=15.0,
        metadata={
            'minimum': 0.1,
            'maximum': 600.0,
            'unit': 's',
            'doc': 'for a picture of the camera, for the status of an episode that is scored, and '
            'for the answer of the session',
        },
    )


@dataclass
class _Episode:
    """What is known of an episode that waits for a score."""

    deadline: Deadline  # for the session to announce it, once an operator has judged it
    practised: bool | None = None  # whether it is practice; None until the session says so
    score: Score | None = None
    verdict: Reward | None = None  # what an operator gave
    sent: Reward | None = None  # what the session was sent
    answer_by: Deadline | None = None  # while the session has not answered


class VisualRewardNode(Node):
    """Follows the session and looks at the camera when an episode has ended."""

    def __init__(self, **options: Any) -> None:
        """Load weights and anchors."""
        super().__init__('visual_reward', **options)
        self._parameters = declare_parameters(self, VisualRewardParameters)
        self._reward = make_visual_reward(self._parameters)
        self._episodes: dict[str, _Episode] = {}
        self._camera = ColorCamera(self, video_period=1.0)
        self._session = self.create_client(SubmitReward, '/session/submit_reward')
        self.create_subscription(SessionStatus, '/session/status', self._on_status, LATCHED)
        self.create_service(SubmitReward, SERVICE, self._on_operator)
        self.create_timer(_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _episode(self, name: str) -> _Episode:
        if name not in self._episodes:
            while len(self._episodes) >= _REMEMBERED:
                self._episodes.pop(next(iter(self._episodes)))
            self._episodes[name] = _Episode(Deadline(self._parameters.answer_timeout))
        return self._episodes[name]

    def _on_status(self, status: SessionStatus) -> None:
        if status.state != SessionStatus.AWAIT_REWARD:
            return
        if status.task != self._parameters.task:
            raise ConfigurationError(
                f'the session teaches {status.task!r}, the goal image shows '
                f'{self._parameters.task!r}; set the parameter task'
            )
        name, episode = status.episode_id, self._episode(status.episode_id)
        if episode.sent is not None:
            # A session that was started again asks again; the same score is accepted twice.
            self._submit(episode)
        elif episode.practised is None:
            episode.practised = status.phase in _PRACTICE
            if episode.practised:
                stamp, timeout = (
                    time_from_msg(status.header.stamp),
                    self._parameters.answer_timeout,
                )
                self._camera.take(stamp, timeout, lambda image: self._on_image(name, image))
            self._send_when_complete(name)

    def _on_image(self, name: str, image: Image) -> None:
        score = self._reward.score(color_from_msg(image))
        self.get_logger().info(f'{name}: visual score {score.value:.3f} ({score.comment}).')
        self._episode(name).score = score
        self._send_when_complete(name)

    def _on_operator(
        self, request: SubmitReward.Request, response: SubmitReward.Response
    ) -> SubmitReward.Response:
        """Take a verdict; what the session makes of it is said in the log."""
        name = request.reward.episode_id
        if self._episode(name).verdict is None:
            self._episode(name).verdict = request.reward
            self._send_when_complete(name)
        response.accepted = True
        return response

    def _send_when_complete(self, name: str) -> None:
        episode = self._episode(name)
        verdict, score = episode.verdict, episode.score
        if episode.sent is not None or episode.practised is None:
            return
        if not episode.practised:
            episode.sent = verdict
        elif score is not None and (verdict is not None or not self._parameters.operator_judges):
            given = '' if verdict is None else f'; the operator gave {verdict.score:.3f}'
            episode.sent = Reward(
                header=header(self.get_clock().now().nanoseconds * 1e-9, ''),
                episode_id=name,
                score=score.value,
                success=EpisodeRecord.SUCCESS_UNKNOWN if verdict is None else verdict.success,
                source=score.source.value,
                comment=score.comment + given,
            )
        if episode.sent is not None:
            self._submit(episode)

    def _submit(self, episode: _Episode) -> None:
        reward = episode.sent

        def answered(future: Future) -> None:
            episode.answer_by = None
            response = future.result()
            if not response.accepted:
                self.get_logger().warning(
                    f'The session refused the score of {reward.episode_id}: '
                    f'{response.error_message}.'
                )

        episode.answer_by = Deadline(self._parameters.answer_timeout)
        answer = self._session.call_async(SubmitReward.Request(reward=reward))
        answer.add_done_callback(answered)

    def _look(self) -> None:
        blind = self._camera.overdue()
        if blind is not None:
            raise StaleDataError(f'no picture came on {blind} after an episode; is the camera on?')
        for name, episode in list(self._episodes.items()):
            if episode.practised is None and episode.deadline.passed:
                self.get_logger().warning(f'No episode {name!r} waits; its score was dropped.')
                self._episodes.pop(name)
            # An answer gets lost where one of both was held up; the same score is accepted again.
            late = episode.answer_by is not None and episode.answer_by.passed
            if late and self._session.service_is_ready():
                self._submit(episode)


def make_visual_reward(parameters: VisualRewardParameters) -> VisualReward:
    """Load encoder and anchors.

    Raises:
        ConfigurationError: An image, the encoder or its weights are missing or wrong.
    """
    if parameters.encoder not in SOURCES:
        raise ConfigurationError(
            f'{parameters.encoder!r} cannot reward a session; '
            f'{nearest(parameters.encoder, SOURCES)}'
        )
    goal, start = default_paths(parameters.task, config_directory())
    weights = Path(parameters.weights) if parameters.weights else None
    distance = GoalDistance(
        make_encoder(parameters.encoder, weights),
        load_image(Path(parameters.goal_image) if parameters.goal_image else goal),
        load_image(Path(parameters.start_image) if parameters.start_image else start),
    )
    return VisualReward(distance, SOURCES[parameters.encoder])


def main() -> int:
    """Run the node."""
    return run_node(VisualRewardNode, 'visual_reward')


if __name__ == '__main__':
    sys.exit(main())
