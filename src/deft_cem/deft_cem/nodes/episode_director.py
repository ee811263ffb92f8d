# SPDX-License-Identifier: Apache-2.0
"""Carries out the effects of the session machine that make up one episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rclpy.node import Node

from deft_cem import __version__
from deft_cem.nodes.camera_tap import CameraTap
from deft_cem.nodes.session_clients import SessionClients
from deft_cem.nodes.session_parameters import SessionParameters
from deft_cem.nodes.session_setup import SessionSetup
from deft_cem.session_machine import Effect, Event
from deft_core.camera import ColorImage
from deft_core.decode import prior_from_msg
from deft_core.decode_images import color_from_msg
from deft_core.decode_records import SUCCESS_FROM_MSG
from deft_core.episode import Episode, FilmFrame, Outcome
from deft_core.nodes.encode import grasp_to_msg, time_to_msg, trajectory_to_msg
from deft_core.nodes.encode_records import episode_to_msg
from deft_core.prior import GraspPrior
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import EpisodeRecord, ObjectObservation, Reward
from deft_msgs.srv import ConfirmReset, PredictGrasp, SegmentObject, SubmitReward

_SOURCES: Final = {
    Reward.SOURCE_OPERATOR: 'operator',
    Reward.SOURCE_SCRIPTED_OPERATOR: 'scripted_operator',
    Reward.SOURCE_R3M: 'r3m',
    Reward.SOURCE_RESNET18: 'resnet18',
    Reward.SOURCE_OPEN_CLIP: 'open_clip',
}
# Nobody is asked about a grasp that could not be tried (see CrossEntropyMethod).
_SOURCE_OUTCOME: Final = 'outcome'
# The parameters are to blame: the episode counts, with reward 0.
_BLAMED: Final = {
    ExecuteGrasp.Goal.UNREACHABLE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.OUTSIDE_WORKSPACE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.COLLISION: Outcome.COLLISION,
}
# Nothing moves while the scene is observed, so the episode can simply start over.
_UNSEEN: Final = {
    SegmentObject.Request.NO_IMAGE,
    SegmentObject.Request.STALE_IMAGE,
    SegmentObject.Request.NO_OBJECT,
    SegmentObject.Request.DEPTH_MISSING,
}


@dataclass
class _Running:
    """What is known of the running episode; filled in as it goes on."""

    started: float = 0.0
    ended: float = 0.0
    object_name: str = ''
    scene_seed: int = -1
    observation: ObjectObservation | None = None
    prior: GraspPrior | None = None
    outcome: Outcome = Outcome.COMPLETED
    outcome_message: str = ''
    film: tuple[FilmFrame, ...] = ()
    last_image: ColorImage | None = None
    source: str = ''
    success: bool | None = None


class EpisodeDirector:
    """Turns effects into calls and answers into events; decides nothing about the course."""

    def __init__(
        self,
        node: Node,
        parameters: SessionParameters,
        emit: Callable[[Event], None],
        fail: Callable[[str], None],
        announce: Callable[[], None],
    ) -> None:
        """Create the clients and the camera subscription.

        Args:
            node: The session node.
            parameters: Its parameters.
            emit: Takes an event of the session machine.
            fail: Takes the reason for which the session cannot go on.
            announce: Publishes the status.
        """
        self._node = node
        self._parameters = parameters
        self._emit, self._fail, self._announce = emit, fail, announce
        self.clients = SessionClients(node)
        self.camera = CameraTap(node, parameters.film_period)
        self._setup: SessionSetup | None = None
        self._running = _Running()
        self._retries = 0
        self.awaits_scene = False
        self.awaits_reward = False

    def begin(self, setup: SessionSetup) -> None:
        """Take over a new session."""
        self._setup = setup
        self._retries = 0

    @property
    def setup(self) -> SessionSetup:
        """The session that runs."""
        assert self._setup is not None, 'an effect without a session'
        return self._setup

    def stop(self) -> None:
        """Cancel the motion and wait for nothing any more."""
        self.clients.drop()
        self.camera.drop()
        self.awaits_scene = self.awaits_reward = False

    def overdue(self) -> str | None:
        """Name of the peer whose answer is late, if any."""
        return self.clients.overdue() or self.camera.overdue()

    def perform(self, effect: Effect) -> None:
        """Begin an effect of one episode."""
        {
            Effect.PREPARE_SCENE: self._prepare_scene,
            Effect.SEGMENT: self._segment,
            Effect.PREDICT: self._predict,
            Effect.SAMPLE: self._sample,
            Effect.EXECUTE: self._execute,
            Effect.ASK_REWARD: self._ask_reward,
            Effect.SCORE_ZERO: self._score_zero,
            Effect.WITHDRAW: self._withdraw,
        }[effect]()

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return float(self._node.get_clock().now().nanoseconds * 1e-9)

    def _again(self, event: Event, reason: str) -> None:
        """Start the episode over, but not for ever."""
        self._retries += 1
        if self._retries > self._parameters.maximum_retries:
            self._fail(f'the episode was started {self._retries} times in vain: {reason}')
            return
        self._node.get_logger().warning(f'The episode starts over: {reason}')
        self._emit(event)

    def _prepare_scene(self) -> None:
        self._running = _Running()

        def arrived(result: ReturnHome.Result) -> None:
            if result.error_code == ReturnHome.Goal.NONE:
                self.awaits_scene = True
                self._announce()
            elif result.error_code == ReturnHome.Goal.EMERGENCY_STOP:
                self._emit(Event.EMERGENCY_STOP)
            else:
                self._fail(f'the arm did not return home: {result.error_message}')

        goal = ReturnHome.Goal(release=True, open_hand=list(self.setup.task.open_hand))
        self.clients.act(
            '/arm/return_home', goal, self._parameters.motion_timeout, arrived, self._rejected
        )

    def _rejected(self, name: str) -> None:
        self._fail(f'{name} did not take the goal; is another program using the arm?')

    def confirm_reset(
        self, request: ConfirmReset.Request, response: ConfirmReset.Response
    ) -> ConfirmReset.Response:
        """The operator says that the scene is laid out."""
        kind = ConfirmReset.Request
        episode_id = self._setup.core.episode_id if self._setup is not None else ''
        if not self.awaits_scene:
            response.error_code = kind.NOT_WAITING
            response.error_message = 'the session does not wait for a scene now'
        elif request.episode_id != episode_id:
            response.error_code = kind.WRONG_EPISODE
            response.error_message = f'episode {episode_id} waits, not {request.episode_id!r}'
        else:
            response.accepted = True
            self.awaits_scene = False
            self._running.object_name = request.object_name
            self._running.scene_seed = request.scene_seed
            self._running.started = self._now()
            self._emit(Event.SCENE_READY)
        return response

    def _segment(self) -> None:
        def answered(response: SegmentObject.Response) -> None:
            if response.error_code == SegmentObject.Request.NONE:
                self._running.observation = response.observation
                self._emit(Event.OBSERVED)
            elif response.error_code in _UNSEEN:
                self._again(Event.NO_OBJECT, response.error_message)
            else:
                self._fail(f'the scene was not observed: {response.error_message}')

        request = SegmentObject.Request(
            instruction=self.setup.task.instruction, not_before=time_to_msg(self._now())
        )
        timeout = self._parameters.service_timeout
        self.clients.call('/perception/segment_object', request, timeout, answered)

    def _predict(self) -> None:
        def answered(response: PredictGrasp.Response) -> None:
            if response.error_code == PredictGrasp.Request.NONE:
                self._running.prior = prior_from_msg(response.prior)
                self._emit(Event.PREDICTED)
            elif response.error_code == PredictGrasp.Request.NO_PROPOSAL:
                self._again(Event.NO_PROPOSAL, response.error_message)
            else:
                self._fail(f'no grasp was predicted: {response.error_message}')

        request = PredictGrasp.Request(
            observation=self._running.observation,
            task=self.setup.task.name,
            predictor=self._parameters.predictor,
            seed=self.setup.core.prediction_seed(),
        )
        timeout = self._parameters.service_timeout
        self.clients.call('/affordance/predict_grasp', request, timeout, answered)

    def _sample(self) -> None:
        running = self._running
        assert running.observation is not None, 'sampled before observing'
        assert running.prior is not None, 'sampled before predicting'
        self.setup.core.propose(
            color_from_msg(running.observation.color),
            running.prior.grasp,
            running.object_name,
            running.scene_seed,
        )
        self._emit(Event.SAMPLED)

    def _execute(self) -> None:
        task, proposal = self.setup.task, self.setup.core.proposal
        assert self._running.prior is not None, 'executed before predicting'
        stamp = self._now()
        goal = ExecuteGrasp.Goal(
            episode_id=proposal.episode_id,
            grasp=grasp_to_msg(self._running.prior.grasp + proposal.residual, stamp),
            trajectory=trajectory_to_msg(self.setup.trajectory, stamp),
            pregrasp_distance=task.pregrasp.distance,
            pregrasp_direction=list(task.pregrasp.direction),
            open_hand=list(task.open_hand),
        )
        self.camera.start_film()
        self.clients.act(
            '/arm/execute_grasp',
            goal,
            self._parameters.motion_timeout,
            self._executed,
            self._rejected,
        )

    def _executed(self, result: ExecuteGrasp.Result) -> None:
        kind = ExecuteGrasp.Goal
        running = self._running
        running.film = self.camera.stop_film()
        running.ended = self._now()
        running.outcome_message = result.error_message
        if result.error_code == kind.EMERGENCY_STOP:
            self._emit(Event.EMERGENCY_STOP)
        elif result.error_code == kind.INVALID_GOAL:
            self._fail(f'the arm refused the grasp as invalid: {result.error_message}')
        elif result.error_code == kind.NONE or result.error_code in _BLAMED:
            running.outcome = _BLAMED.get(result.error_code, Outcome.COMPLETED)
            self.setup.core.finish_motion(running.outcome)
            tried = running.outcome is Outcome.COMPLETED
            self._emit(Event.EXECUTED if tried else Event.NOT_EXECUTABLE)
        else:
            self._again(Event.INTERRUPTED, result.error_message)

    def _withdraw(self) -> None:
        self.setup.core.withdraw()

    def _ask_reward(self) -> None:
        def taken(image: ColorImage) -> None:
            self._running.last_image = image
            self.awaits_reward = True
            self._announce()

        self.camera.take(self._running.ended, self._parameters.image_timeout, taken)

    def _score_zero(self) -> None:
        def taken(image: ColorImage) -> None:
            self._running.last_image = image
            self._rate(0.0, _SOURCE_OUTCOME, success=False)

        self.camera.take(self._running.ended, self._parameters.image_timeout, taken)

    def _rate(self, reward: float, source: str, *, success: bool | None) -> None:
        self.setup.core.rate(reward, source, success)
        self._running.source, self._running.success = source, success
        self._retries = 0
        self._emit(Event.REWARDED)

    def submit_reward(
        self, request: SubmitReward.Request, response: SubmitReward.Response
    ) -> SubmitReward.Response:
        """The operator scores the episode; the same score again is accepted again."""
        kind, reward = SubmitReward.Request, request.reward
        core = self._setup.core if self._setup is not None else None
        stored = core.rated(reward.episode_id) if core is not None else None
        if stored is not None:
            response.accepted = stored.reward == reward.score
            if not response.accepted:
                response.error_code = kind.ALREADY_SCORED
                response.error_message = f'{stored.episode_id} has the score {stored.reward}'
        elif core is None or not self.awaits_reward:
            response.error_code = kind.NOT_WAITING
            response.error_message = 'the session does not wait for a score now'
        elif reward.episode_id != core.episode_id:
            response.error_code = kind.WRONG_EPISODE
            response.error_message = f'{core.episode_id} waits, not {reward.episode_id!r}'
        elif (
            not (math.isfinite(reward.score) and 0.0 <= reward.score <= 1.0)
            or reward.source not in _SOURCES
            or reward.success not in SUCCESS_FROM_MSG
        ):
            response.error_code = kind.INVALID_SCORE
            response.error_message = f'score {reward.score} must be 0 to 1, from a known source'
        else:
            self.awaits_reward = False
            success = SUCCESS_FROM_MSG[reward.success]
            self._rate(reward.score, _SOURCES[reward.source], success=success)
            response.accepted = True
        return response

    def record(self) -> EpisodeRecord:
        """The finished episode as it goes to the recorder."""
        core, running = self.setup.core, self._running
        proposal = core.proposal
        assert running.observation is not None, 'recorded before observing'
        assert running.prior is not None, 'recorded before predicting'
        assert running.last_image is not None, 'recorded before the last image'
        episode = Episode(
            episode_id=proposal.episode_id,
            index=proposal.planned.position,
            phase=proposal.planned.phase,
            task=self.setup.task.name,
            object_name=proposal.object_name,
            scene_seed=proposal.scene_seed,
            prior=running.prior,
            residual=proposal.residual,
            executed=running.prior.grasp + proposal.residual,
            outcome=running.outcome,
            reward=core.rewards[-1],
            reward_source=running.source,
            success=running.success,
            first_image=color_from_msg(running.observation.color),
            last_image=running.last_image,
            film=running.film,
            sample_seed=core.seed,
            calibration_id=running.prior.calibration_id,
            distribution_mean=proposal.distribution_mean,
            distribution_std=proposal.distribution_std,
            started=running.started,
            ended=running.ended,
        )
        return episode_to_msg(episode, core.session_id, running.outcome_message, __version__)

    def progress_line(self, record: Any) -> str:
        """One line about the episode just recorded."""
        core = self.setup.core
        phase = core.planned.phase if core.position == 0 else core.plan[core.position - 1].phase
        verdict = {None: '', False: 'failed', True: 'success'}[SUCCESS_FROM_MSG[record.success]]
        outcome = '' if self._running.outcome is Outcome.COMPLETED else self._running.outcome.name
        return (
            f'episode {core.position:3d}/{len(core.plan)}  {phase.name.lower():15}  '
            f'reward {record.reward:.2f}  mean of last ten {core.recent_mean:.2f}  '
            f'{verdict:7}  {record.object_name} {outcome.lower()}'
        ).rstrip()
