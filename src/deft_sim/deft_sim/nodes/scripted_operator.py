# SPDX-License-Identifier: Apache-2.0
"""Does what a person beside the table does: lays out the object, scores the episode."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from deft_core.clock import Deadline
from deft_core.configuration import config_directory
from deft_core.nodes.encode import header
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED, STATE
from deft_core.nodes.runner import run_node
from deft_core.task import load_task
from deft_msgs.msg import ArmState, Reward, SessionStatus
from deft_msgs.srv import ConfirmReset, EvaluateScene, ResetScene, SubmitReward

_PERIOD: Final = 0.05  # [s] of real time between two looks at what there is to do
_PATIENCE: Final = 0.5  # [s] of real time that a cleared arm has to become ready


@dataclass(frozen=True)
class OperatorParameters:
    """Parameters of the node `scripted_operator`."""

    answer_timeout: float = field(
        default=10.0,
        metadata={
            'minimum': 0.1,
            'maximum': 600.0,
            'unit': 's',
            'doc': 'after which an unanswered service call is made again',
        },
    )


class ScriptedOperator(Node):
    """Follows the session's status; the only node that asks the simulator for the truth.

    As a person would, it waits until the arm is home before it touches the table. Which object it
    takes from the set follows from the scene seed, so that a session can be repeated. Where
    nothing could be grasped the session asks for a scene of another seed.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; options are those of `rclpy.node.Node`."""
        super().__init__('scripted_operator', **options)
        self._settings = declare_parameters(self, OperatorParameters)
        self._status: SessionStatus | None = None
        self._arm_state = ArmState.DISCONNECTED
        self._fault: str | None = None  # of the arm, where it can be cleared now
        self._seen_to: str | None = None  # fault that was cleared last
        self._clear_again: Deadline | None = None
        self._scene: tuple[str, int, str] | None = None  # episode id, seed, object laid out
        self._scored: set[str] = set()  # ids of the episodes of which the score was taken
        self._waiting: Deadline | None = None
        self._reset = self.create_client(ResetScene, '/simulation/reset_scene')
        self._evaluate = self.create_client(EvaluateScene, '/simulation/evaluate_scene')
        self._confirm = self.create_client(ConfirmReset, '/session/confirm_reset')
        self._clear = self.create_client(Trigger, '/arm/clear_fault')
        self._submit = self.create_client(SubmitReward, '/session/submit_reward')
        self.create_subscription(SessionStatus, '/session/status', self._on_status, LATCHED)
        self.create_subscription(ArmState, '/arm/state', self._on_arm, STATE)
        self.create_timer(_PERIOD, self._work, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_status(self, message: SessionStatus) -> None:
        self._status = message

    def _on_arm(self, message: ArmState) -> None:
        self._arm_state = message.state
        clearable = message.state == ArmState.FAULT and not message.emergency_stop
        self._fault = message.fault if clearable else None
        if message.state != ArmState.FAULT:
            self._seen_to, self._clear_again = None, None

    def _work(self) -> None:
        patient = self._clear_again is not None and not self._clear_again.passed
        if (
            self._fault is not None
            and not patient
            and (self._waiting is None or self._waiting.passed)
        ):
            self._clear_fault()
            return
        status = self._status
        if status is None or (self._waiting is not None and not self._waiting.passed):
            return
        if status.state == SessionStatus.RESET and self._arm_state == ArmState.IDLE:
            if self._scene is not None and self._scene[:2] == _key(status):
                self._confirm_scene(status, self._scene[2])
            else:
                self._lay_out(status)
        elif status.state == SessionStatus.AWAIT_REWARD and status.episode_id not in self._scored:
            # The next reset of this episode, should it be done once more, needs its scene again.
            self._scene = None
            self._call(self._evaluate, EvaluateScene.Request(), lambda r: self._score(status, r))

    def _clear_fault(self) -> None:
        """Say that the arm was looked at; nothing else moves it after a collision."""
        fault = self._fault

        def cleared(response: Trigger.Response) -> None:
            if fault != self._seen_to:  # once, although its cause may last
                self._seen_to = fault
                self.get_logger().info(f'Cleared the fault of the arm: {response.message}')

        self._clear_again = Deadline(_PATIENCE)
        self._call(self._clear, Trigger.Request(), cleared)

    def _lay_out(self, status: SessionStatus) -> None:
        task = load_task(status.task, config_directory())
        objects = task.object_sets[status.object_set]
        generator = np.random.default_rng(status.scene_seed)
        name = objects[int(generator.integers(len(objects)))]

        def laid_out(response: ResetScene.Response) -> None:
            if response.error_code == ResetScene.Request.NONE:
                self._scene = (*_key(status), name)
                self.get_logger().debug(f'Laid out {name}, seed {status.scene_seed}.')
            elif response.error_code != ResetScene.Request.ROBOT_IN_THE_WAY:
                self.get_logger().error(f'The scene was not laid out: {response.error_message}')

        request = ResetScene.Request(
            task=status.task, object_name=name, scene_seed=status.scene_seed
        )
        self._call(self._reset, request, laid_out)

    def _confirm_scene(self, status: SessionStatus, object_name: str) -> None:
        def answered(response: ConfirmReset.Response) -> None:
            if response.accepted:
                self._scene = None
            else:
                self.get_logger().debug(f'Not confirmed yet: {response.error_message}')

        request = ConfirmReset.Request(
            episode_id=status.episode_id, object_name=object_name, scene_seed=status.scene_seed
        )
        self._call(self._confirm, request, answered)

    def _score(self, status: SessionStatus, evaluation: EvaluateScene.Response) -> None:
        if evaluation.error_code != EvaluateScene.Request.NONE:
            self.get_logger().error(f'No score: {evaluation.error_message}')
            return

        def answered(response: SubmitReward.Response) -> None:
            final = (SubmitReward.Request.NONE, SubmitReward.Request.ALREADY_SCORED)
            if response.error_code in final:
                self._scored.add(status.episode_id)
            else:  # such as a session that was killed and is back without having moved yet
                self.get_logger().warning(f'The score was refused: {response.error_message}')

        now = self.get_clock().now().nanoseconds * 1e-9
        reward = Reward(
            header=header(now, ''),
            episode_id=status.episode_id,
            score=evaluation.score,
            success=evaluation.success,
            source=Reward.SOURCE_SCRIPTED_OPERATOR,
            comment=evaluation.explanation,
        )
        self._call(self._submit, SubmitReward.Request(reward=reward), answered)

    def _call(self, client: Client, request: Any, then: Callable[[Any], None]) -> None:
        """Call a service; nothing else is begun until it answered or the time is over."""
        if not client.service_is_ready():
            return
        deadline = Deadline(self._settings.answer_timeout, time.monotonic)
        self._waiting = deadline

        def finished(future: Future) -> None:
            if self._waiting is deadline:
                self._waiting = None
            then(future.result())

        client.call_async(request).add_done_callback(finished)


def _key(status: SessionStatus) -> tuple[str, int]:
    """The scene that is wanted."""
    return status.episode_id, status.scene_seed


def main() -> int:
    """Run the node."""
    return run_node(ScriptedOperator, 'scripted_operator')
