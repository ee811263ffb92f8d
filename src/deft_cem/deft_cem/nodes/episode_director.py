# SPDX-License-Identifier: Apache-2.0
"""Carries out the effects of the session machine that make up one episode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rclpy.node import Node
from rclpy.serialization import serialize_message

from deft_cem.episode_timing import Kind, Part, Stretch
from deft_cem.nodes.camera_tap import CameraTap
from deft_cem.nodes.running_episode import RunningEpisode
from deft_cem.nodes.score_desk import SOURCES, check_scene, check_score
from deft_cem.nodes.session_clients import SessionClients
from deft_cem.nodes.session_parameters import SessionParameters
from deft_cem.nodes.session_setup import SessionSetup
from deft_cem.session_machine import Effect, Event
from deft_core.camera import ColorImage
from deft_core.decode import SUCCESS_FROM_MSG, color_from_msg, prior_from_msg
from deft_core.episode import Outcome
from deft_core.errors import DeftError
from deft_core.nodes.encode import SUCCESS_TO_MSG, grasp_to_msg, time_to_msg, trajectory_to_msg
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import EpisodeRecord
from deft_msgs.srv import ConfirmReset, PredictGrasp, SegmentObject, SubmitReward

# Nobody is asked about a grasp that could not be tried (see CrossEntropyMethod).
_SOURCE_OUTCOME: Final = 'outcome'
# The parameters are to blame: the episode counts, with reward 0. Everything else that stops a
# motion, such as a machine that is overloaded, withdraws the episode.
_BLAMED: Final = {
    ExecuteGrasp.Goal.UNREACHABLE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.OUTSIDE_WORKSPACE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.COLLISION: Outcome.COLLISION,
}
_UNSEEN: Final = {SegmentObject.Request.NO_OBJECT, SegmentObject.Request.DEPTH_MISSING}
_MOVING: Final = 2  # feedback of an arm that moves
# The arm may get home when it tries again: nothing was in its way.
_LATE: Final = {ReturnHome.Goal.MOTION_TIMEOUT, ReturnHome.Goal.STALE_STATE}


class EpisodeDirector:
    """Turns effects into calls and answers into events; decides nothing about the course."""

    def __init__(
        self,
        node: Node,
        parameters: SessionParameters,
        emit: Callable[[Event], None],
        fail: Callable[[str], None],
        announce: Callable[[], None],
        hand_over: Callable[[], None],
    ) -> None:
        """Create the clients and the camera subscription.

        Args:
            node: The session node.
            parameters: Its parameters.
            emit: Takes an event of the session machine.
            fail: Takes the reason for which the session cannot go on.
            announce: Called when the operator may act: the arm is home, the last image taken.
            hand_over: Called when there is time to hand the last episode over.
        """
        self._node = node
        self._parameters = parameters
        self._emit, self._fail, self._announce = emit, fail, announce
        self._hand_over = hand_over
        self.clients = SessionClients(node)
        self.camera = CameraTap(node, parameters.film_period)
        self._setup: SessionSetup | None = None
        self.running = RunningEpisode()
        self._fresh = False  # the running episode has not begun to prepare its scene
        self.record: EpisodeRecord | None = None  # of the newest episode that was executed
        self._retries = 0
        self._why_withdrawn = ''
        self.awaits_scene = False
        self.awaits_reward = False
        self._effects: dict[Effect, Callable[[], None]] = {
            Effect.PREPARE_SCENE: self._prepare_scene,
            Effect.CHANGE_SCENE: self._change_scene,
            Effect.SEGMENT: self._segment,
            Effect.PREDICT: self._predict,
            Effect.SAMPLE: self._sample,
            Effect.EXECUTE: self._execute,
            Effect.ASK_REWARD: self._ask_reward,
            Effect.SCORE_ZERO: self._score_zero,
            Effect.REPEAT: self._repeat,
            Effect.WITHDRAW: self._withdraw,
            Effect.SKIP: self._skip,
        }

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
        self._why_withdrawn = 'aborted by the operator'

    def look(self) -> str | None:
        """Do what time asks for; name of the peer whose answer is late, if any."""
        self.clients.look()
        return self.clients.overdue() or self.camera.overdue()

    def perform(self, effect: Effect) -> None:
        """Begin an effect of one episode."""
        self._effects[effect]()

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return float(self._node.get_clock().now().nanoseconds * 1e-9)

    def _spend(self, part: Part, kind: Kind = Kind.SOFTWARE) -> None:
        """From now on the episode is in `part` and waits for `kind`."""
        self.running.clock.switch(part, kind)

    def _again(self, event: Event, reason: str) -> None:
        """Start the episode over, but not for ever."""
        self._retries += 1
        if self._retries > self._parameters.maximum_retries:
            self._fail(f'the episode was started {self._retries} times in vain: {reason}')
            return
        self._why_withdrawn = reason
        self._node.get_logger().warning(f'The episode starts over: {reason}')
        self._emit(event)

    def _change_scene(self) -> None:
        seed = self.setup.core.another_scene()
        self._node.get_logger().info(f'It gets another scene, with seed {seed}.')

    def close_episode(self) -> tuple[Stretch, ...]:
        """The rated episode is over; where its time went. What follows counts for the next."""
        stretches = self.running.clock.stop()
        self.running = RunningEpisode()
        self._spend(Part.RESET)
        self._fresh = True
        return stretches

    def forget_time(self) -> None:
        """What was done since the last episode belongs to none, such as the training."""
        self._fresh = False

    def _repeat(self) -> None:
        self.setup.core.repeat()

    def _withdraw(self) -> None:
        self.setup.core.withdraw(self._why_withdrawn)

    def _skip(self) -> None:
        self.setup.core.skip('skipped by the operator')

    def _prepare_scene(self) -> None:
        if not self._fresh:
            self.running = RunningEpisode()
            self._spend(Part.RESET)
        self._fresh = False

        def arrived(result: ReturnHome.Result) -> None:
            if result.error_code == ReturnHome.Goal.NONE:
                self._spend(Part.RESET, Kind.PERSON)
                self.awaits_scene = True
                self._announce()
            elif result.error_code == ReturnHome.Goal.EMERGENCY_STOP:
                self._emit(Event.EMERGENCY_STOP)
            elif result.error_code in _LATE:
                self._again(Event.NOT_HOME, result.error_message)
            else:
                self._fail(f'the arm did not return home: {result.error_message}')

        goal = ReturnHome.Goal(release=True, open_hand=list(self.setup.task.open_hand))
        self._move('/arm/return_home', goal, Part.RESET, arrived)

    def _move(self, name: str, goal: object, part: Part, on_result: Callable[..., None]) -> None:
        """Have the arm move; planning is software, and ends with the first feedback."""

        def fed_back(count: int) -> None:
            if count == 1:  # the plan is made; it starts from the newest state of the robot
                self._spend(part, Kind.SENSOR)
            elif count == _MOVING:
                self._spend(part, Kind.MOTION)
                self._hand_over()  # nobody waits for the disk now

        def ended(result: object) -> None:
            self._spend(part)
            self._hand_over()  # where the server gave no feedback
            on_result(result)

        def rejected(_: str) -> None:
            self._fail(f'{name} did not take the goal; is another program using the arm?')

        timeout = self._parameters.motion_timeout
        self.clients.act(name, goal, timeout, ended, rejected, fed_back)

    def confirm_reset(
        self, request: ConfirmReset.Request, _: ConfirmReset.Response
    ) -> ConfirmReset.Response:
        """The operator says that the scene is laid out."""
        core = self._setup.core if self._setup is not None else None
        response = check_scene(core, self.awaits_scene, request)
        if response.accepted:
            self.awaits_scene = False
            self.running.object_name = request.object_name
            self.running.scene_seed = request.scene_seed
            self.running.started = self._now()
            self._emit(Event.SCENE_READY)
        return response

    def _segment(self) -> None:
        self._spend(Part.OBSERVE, Kind.SENSOR)
        now = self._now()
        # The node that segments gets the picture at the same time.
        self.camera.notice(now, lambda: self._spend(Part.OBSERVE))

        def answered(response: SegmentObject.Response) -> None:
            self.camera.ignore()
            self._spend(Part.OBSERVE)
            if response.error_code == SegmentObject.Request.NONE:
                self.running.observation = response.observation
                self._emit(Event.OBSERVED)
            elif response.error_code in _UNSEEN:
                self._again(Event.NO_OBJECT, response.error_message)
            else:
                self._fail(f'the scene was not observed: {response.error_message}')

        request = SegmentObject.Request(
            instruction=self.setup.task.instruction, not_before=time_to_msg(now)
        )
        timeout = self._parameters.service_timeout
        self.clients.call('/perception/segment_object', request, timeout, answered)

    def _predict(self) -> None:
        self._spend(Part.PREDICT)

        def answered(response: PredictGrasp.Response) -> None:
            if response.error_code == PredictGrasp.Request.NONE:
                self.running.prior = prior_from_msg(response.prior)
                self._emit(Event.PREDICTED)
            elif response.error_code == PredictGrasp.Request.NO_PROPOSAL:
                self._again(Event.NO_PROPOSAL, response.error_message)
            else:
                self._fail(f'no grasp was predicted: {response.error_message}')

        request = PredictGrasp.Request(
            observation=self.running.observation,
            task=self.setup.task.name,
            predictor=self.setup.predictor,
            seed=self.setup.core.prediction_seed(),
        )
        timeout = self._parameters.service_timeout
        self.clients.call('/affordance/predict_grasp', request, timeout, answered)

    def _sample(self) -> None:
        self._spend(Part.SAMPLE)
        running = self.running
        assert running.observation is not None, 'sampled before observing'
        assert running.prior is not None, 'sampled before predicting'
        self.setup.core.propose(
            color_from_msg(running.observation.color),
            running.prior,
            running.object_name,
            running.scene_seed,
        )
        self._emit(Event.SAMPLED)

    def _execute(self) -> None:
        self._spend(Part.EXECUTE)
        task, proposal = self.setup.task, self.setup.core.proposal
        assert self.running.prior is not None, 'executed before predicting'
        stamp = self._now()
        goal = ExecuteGrasp.Goal(
            episode_id=proposal.episode_id,
            grasp=grasp_to_msg(self.running.prior.grasp + proposal.residual, stamp),
            trajectory=trajectory_to_msg(self.setup.trajectory, stamp),
            pregrasp_distance=task.pregrasp.distance,
            pregrasp_direction=list(task.pregrasp.direction),
            open_hand=list(task.open_hand),
        )
        self.camera.start_film()
        self._move('/arm/execute_grasp', goal, Part.EXECUTE, self._executed)

    def _executed(self, result: ExecuteGrasp.Result) -> None:
        kind = ExecuteGrasp.Goal
        running = self.running
        running.film = self.camera.stop_film()
        running.ended = self._now()
        running.outcome_message = result.error_message
        if result.error_code == kind.EMERGENCY_STOP:
            self._emit(Event.EMERGENCY_STOP)
        elif result.error_code == kind.INVALID_GOAL:
            self._fail(f'the arm refused the grasp as invalid: {result.error_message}')
        elif result.error_code == kind.NONE or result.error_code in _BLAMED:
            running.outcome = _BLAMED.get(result.error_code, Outcome.COMPLETED)
            tried = running.outcome is Outcome.COMPLETED
            self._emit(Event.EXECUTED if tried else Event.NOT_EXECUTABLE)
        else:
            self._again(Event.INTERRUPTED, result.error_message)

    def _ask_reward(self) -> None:
        def asked() -> None:
            self._spend(Part.REWARD, Kind.PERSON)
            self.awaits_reward = True
            self._announce()
            self._keep_record()  # the operator looks at the robot meanwhile

        self._take_last_image(asked)

    def _score_zero(self) -> None:
        def rated() -> None:
            self._spend(Part.REWARD)
            if self._keep_record():
                self._rate(0.0, _SOURCE_OUTCOME, success=False)

        self._take_last_image(rated)

    def _take_last_image(self, then: Callable[[], None]) -> None:
        """Commit how the motion ended and take the picture of what came of it."""
        self._spend(Part.LAST_IMAGE)

        def taken(image: ColorImage) -> None:
            self._spend(Part.LAST_IMAGE)
            self.running.last_image = image
            then()

        self.camera.take(self.running.ended, self._parameters.image_timeout, taken)
        self.setup.core.finish_motion(self.running.outcome)
        self._spend(Part.LAST_IMAGE, Kind.SENSOR)

    def _keep_record(self) -> bool:
        """Commit all of the episode but its score; whether that was possible."""
        try:
            self.record = self.running.record(self.setup)
            self.setup.core.keep_record(serialize_message(self.record))
        except DeftError as error:
            self._fail(str(error))
            return False
        return True

    def _rate(self, reward: float, source: str, *, success: bool | None) -> str:
        """Commit the score; returns why that was not possible, empty when it was."""
        assert self.record is not None, 'rated before there was a record'
        self._spend(Part.REWARD)
        try:
            self.setup.core.rate(reward, source, success)
        except DeftError as error:
            self._fail(str(error))
            return str(error)
        self.record.reward, self.record.reward_source = reward, source
        self.record.success = SUCCESS_TO_MSG[success]
        self._retries = 0
        self._emit(Event.REWARDED)
        return ''

    def submit_reward(
        self, request: SubmitReward.Request, _: SubmitReward.Response
    ) -> SubmitReward.Response:
        """The operator scores the episode; the same score again is accepted again."""
        core = self._setup.core if self._setup is not None else None
        reward = request.reward
        response, new = check_score(core, self.awaits_reward, reward)
        if new:
            self.awaits_reward = False
            success = SUCCESS_FROM_MSG[reward.success]
            problem = self._rate(reward.score, SOURCES[reward.source], success=success)
            if problem:
                response.accepted = False
                response.error_code = SubmitReward.Request.UNKNOWN
                response.error_message = problem
        return response

    def progress_line(self) -> str:
        """One line about the episode just rated."""
        progress, record = self.setup.core.progress, self.record
        assert record is not None, 'reported before it was rated'
        verdict = {None: '', False: 'failed', True: 'success'}[SUCCESS_FROM_MSG[record.success]]
        outcome = '' if self.running.outcome is Outcome.COMPLETED else self.running.outcome.name
        phase = self.setup.core.proposal.planned.phase.name.lower()
        return (
            f'episode {progress.position:3d}/{len(progress.plan)}  {phase:15}  '
            f'reward {record.reward:.2f}  mean of last ten {progress.recent_mean:.2f}  '
            f'{verdict:7}  {record.object_name} {outcome.lower()}'
        ).rstrip()
