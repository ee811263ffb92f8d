# SPDX-License-Identifier: Apache-2.0
"""Runs fine-tuning sessions: follows the session machine, waits for peers, rewards, trains."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from typing import Any, Final

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.serialization import serialize_message

from deft_bag.reader import EPISODE_TOPIC
from deft_cem import __version__
from deft_cem.nodes.camera import ColorCamera
from deft_cem.nodes.episode import RunningEpisode
from deft_cem.nodes.peers import Peers
from deft_cem.nodes.session_messages import (
    CONTROLS,
    PAUSES_LATER,
    check_scene,
    result_message,
    status_message,
)
from deft_cem.nodes.session_parameters import SessionParameters, SessionSetup, make_setup
from deft_cem.policies.training_process import TrainingProcess
from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Effect, Event, State, transition
from deft_cem.session.run_folder import RunOccupiedError
from deft_cem.session.summary import PeakMemory, summarise, write_summary
from deft_core.clock import AwakeClock, Deadline
from deft_core.decode import SUCCESS_FROM_MSG, time_from_msg
from deft_core.episode import Outcome, Phase
from deft_core.errors import DeftError, InvalidInputError
from deft_core.nodes.emergency_stop import EmergencyStopMonitor
from deft_core.nodes.encode import SUCCESS_TO_MSG
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED, RECORDS
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished, run_node
from deft_msgs.action import RunSession
from deft_msgs.msg import EpisodeRecord, Reward, SessionStatus
from deft_msgs.srv import ConfirmReset, ControlSession, SubmitReward

_SOURCES: Final = {
    Reward.SOURCE_OPERATOR: 'operator',
    Reward.SOURCE_SCRIPTED_OPERATOR: 'scripted_operator',
    Reward.SOURCE_R3M: 'r3m',
    Reward.SOURCE_RESNET18: 'resnet18',
    Reward.SOURCE_OPEN_CLIP: 'open_clip',
}
_PERIOD: Final = 0.05  # [s] of real time between two looks at clocks and processes
_LONGEST_STEP: Final = 5.0  # [s] of real time; after more this process was held up
_MEMORY_PERIOD: Final = 1.0  # [s] of real time
_REMINDER_PERIOD: Final = 5.0  # [s] of real time between two lines about who is missing
# After these the episode starts over, but not for ever.
_AGAIN: Final = frozenset({Event.NOT_HOME, Event.NO_OBJECT, Event.NO_PROPOSAL, Event.INTERRUPTED})
# Nobody is asked about a grasp that could not be tried (see CrossEntropyMethod).
_SOURCE_OUTCOME: Final = 'outcome'
# Announced when the operator may act or read: arm home, last image taken, summary written.
# Between two episodes nothing is announced.
_ANNOUNCED_LATER: Final = frozenset({State.IDLE, State.RESET, State.AWAIT_REWARD, State.DONE})


class SessionNode(Node):
    """One session at a time, by the parameter `autostart` or the action `/session/run`.

    Both begin a session or go on with the one in the run folder.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces and, with `autostart`, the session."""
        super().__init__('session', **options)
        self._parameters = declare_parameters(self, SessionParameters)
        self._state = State.IDLE
        self._events: deque[Event] = deque()
        self._stepping = False
        self._reason = ''
        self._error_code = RunSession.Goal.UNKNOWN
        self._setup: SessionSetup | None = None
        self._goal: Any = None
        self._training: TrainingProcess | None = None
        self._next_memory = 0.0
        self._memory = PeakMemory()
        self._exit_code: int | None = None
        self._over = True
        self._peers_due: Deadline | None = None  # while the session waits for its peers
        self._next_reminder = 0.0
        self._pause_wanted = False
        self._retries = 0
        self._why_discarded = ''
        self._awaits_scene = self._awaits_reward = False
        self._awake = AwakeClock(_LONGEST_STEP)
        self._peers = Peers(self, self._awake)
        self._camera = ColorCamera(self, self._parameters.video_period, self._awake)
        self._episode: RunningEpisode | None = None
        self._episodes = self.create_publisher(EpisodeRecord, EPISODE_TOPIC, RECORDS)
        self._status = self.create_publisher(SessionStatus, '/session/status', LATCHED)
        self._emergency_stop = EmergencyStopMonitor(self, self._look_at_stop)
        self.create_service(ConfirmReset, '/session/confirm_reset', self._confirm_reset)
        self.create_service(SubmitReward, '/session/submit_reward', self._submit_reward)
        self.create_service(ControlSession, '/session/control', self._on_control)
        # No work is done in an execute callback: Jazzy's executor spins while one waits.
        self._server = ActionServer(
            self,
            RunSession,
            '/session/run',
            execute_callback=self._answer_goal,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )
        # The ROS clock may stop; what must notice that runs on real time.
        self.create_timer(_PERIOD, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self._parameters.autostart:
            self._begin(self._parameters.task, self._parameters.run, self._parameters.seed)

    def close(self) -> None:
        """Stop motion and training, deliver the last status, close the store."""
        self._stop_motion()
        if self._training is not None:
            self._training.stop()
        self._status.wait_for_all_acked(Duration(seconds=1.0))
        if self._setup is not None:
            self._setup.core.close()
        self._peers.close()
        self._server.destroy()

    # A session begins.

    def _begin(self, task_name: str, run: str, seed: int, *, must_exist: bool = False) -> None:
        """Set a session up; it starts as soon as all peers are there."""
        if self._setup is not None:
            self._setup.core.close()
            self._setup = None
        setup = make_setup(self._parameters, task_name, run, seed, must_exist=must_exist)
        self._setup = setup
        self._state, self._reason = State.IDLE, ''
        self._pause_wanted, self._over, self._retries = False, False, 0
        self._memory = PeakMemory()
        self._peers_due = Deadline(self._parameters.peer_timeout, self._awake)
        self._next_reminder = time.monotonic() + _REMINDER_PERIOD
        if setup.core.resumed:
            done, count = setup.core.progress.position, len(setup.core.schedule)
            print(
                f'going on with session {setup.core.session_id} after {done} of {count} episodes',
                flush=True,
            )
        self._publish_status()  # says where the run is

    def _wait_for_peers(self) -> None:
        assert self._peers_due is not None, 'nobody is waited for'
        missing = self._peers.missing()
        if not self._camera.seen:
            missing.append('the colour images of the camera')
        if self.get_clock().now().nanoseconds == 0:
            missing.append('/clock')
        names = ', '.join(missing)
        if not missing:
            self._peers_due = None
            self._emit(Event.START)
        elif self._peers_due.passed:
            self._error_code = RunSession.Goal.PEER_MISSING
            self._fail(
                f'still missing after {self._parameters.peer_timeout:.0f} s: {names}; look at the '
                'output of the nodes that offer them'
            )
        elif time.monotonic() >= self._next_reminder:
            self._next_reminder += _REMINDER_PERIOD
            self.get_logger().info(f'Waiting for {names}.')

    # Events and effects.

    def _emit(self, event: Event) -> None:
        """Take an event; effects may emit the next one, which then waits for its turn."""
        self._events.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._events:
                self._step(self._events.popleft())
        finally:
            self._stepping = False

    def _step(self, event: Event) -> None:
        try:
            self._state, effects = transition(self._state, event)
        except InvalidInputError as refusal:
            # Two things came at once, such as an answer and the stop that dropped it.
            self.get_logger().warning(str(refusal))
            return
        try:
            for effect in effects:
                self._perform(effect)
        except DeftError as error:
            self._fail(str(error))
        if self._state is State.HALTED:
            self._halt()
        elif self._state not in _ANNOUNCED_LATER:
            self._publish_status()

    def _perform(self, effect: Effect) -> None:
        core = self._session.core
        if effect is Effect.STOP_MOTION:
            self._stop_motion()
        elif effect is Effect.CHOOSE:
            self._emit(core.following())
        elif effect is Effect.ANNOUNCE:
            self._announce_episode()
        elif effect is Effect.TRAIN:
            self._train()
        elif effect is Effect.FINISH:
            self._sum_up()
        elif effect is Effect.REPEAT:
            core.repeat()
        elif effect is Effect.DISCARD:
            core.discard(self._why_discarded)
        elif effect is Effect.SKIP:
            core.skip('skipped by the operator')
        elif effect is Effect.CHANGE_SCENE:
            seed = core.another_scene()
            self.get_logger().info(f'The episode gets another scene, with seed {seed}.')
        else:
            if effect is Effect.PREPARE_SCENE:
                self._episode = RunningEpisode(
                    self, self._parameters, self._peers, self._camera, self._session, self._report
                )
            self._running.perform(effect)

    @property
    def _session(self) -> SessionSetup:
        assert self._setup is not None, 'an effect without a session'
        return self._setup

    @property
    def _running(self) -> RunningEpisode:
        assert self._episode is not None, 'a step without an episode'
        return self._episode

    def _stop_motion(self) -> None:
        """Cancel the motion and wait for nothing any more."""
        self._peers.drop()
        self._camera.drop()
        self._awaits_scene = self._awaits_reward = False
        self._why_discarded = 'aborted by the operator'

    def _report(self, event: Event | None, reason: str) -> None:
        """A step of the running episode has ended."""
        if event is None:
            self._on_ready()
        elif event is Event.FAULT:
            self._fail(reason)
        elif event not in _AGAIN:
            self._emit(event)
        elif self._retries >= self._parameters.maximum_retries:
            self._fail(f'the episode was started {self._retries + 1} times in vain: {reason}')
        else:
            self._retries += 1
            self._why_discarded = reason
            self.get_logger().warning(f'The episode starts over: {reason}')
            self._emit(event)

    def _on_ready(self) -> None:
        """The arm is home, or the last image is taken."""
        if self._state is State.RESET:
            if self._pause_wanted:
                self._pause_wanted = False
                self._emit(Event.PAUSE)
                return
            self._awaits_scene = True
        elif self._running.record.outcome != Outcome.COMPLETED.value:
            self._reward(0.0, _SOURCE_OUTCOME, success=False)
            return
        else:
            self._awaits_reward = True
        self._publish_status()

    def _fail(self, reason: str) -> None:
        """The session cannot go on, or its summary cannot be made."""
        if self._over:
            return
        self._reason = reason
        self._emit(Event.FAULT)

    # A reward.

    def _submit_reward(
        self, request: SubmitReward.Request, _: SubmitReward.Response
    ) -> SubmitReward.Response:
        """The operator scores the episode; the same score again is accepted again."""
        core = self._setup.core if self._setup is not None else None
        given = request.reward
        response, new = _check_score(core, self._awaits_reward, given)
        if new:
            self._awaits_reward = False
            success = SUCCESS_FROM_MSG[given.success]
            problem = self._reward(given.score, _SOURCES[given.source], success=success)
            if problem:
                response.accepted = False
                response.error_code = SubmitReward.Request.UNKNOWN
                response.error_message = problem
        return response

    def _reward(self, reward: float, source: str, *, success: bool | None) -> str:
        """Have the episode with its score on the disk; why that was not possible, else empty."""
        scored = self.get_clock().now().nanoseconds * 1e-9
        record = self._running.record
        record.reward, record.reward_source = reward, source
        record.success = SUCCESS_TO_MSG[success]
        data = serialize_message(record)
        try:
            self._session.core.reward(
                data, time_from_msg(record.ended), reward, source, success, scored
            )
        except DeftError as error:
            self._fail(str(error))
            return str(error)
        self._episodes.publish(data)
        self._retries = 0
        self._emit(Event.REWARDED)
        return ''

    def _announce_episode(self) -> None:
        core, record = self._session.core, self._running.record
        progress = core.progress
        verdict = {None: '', False: 'failed', True: 'success'}[SUCCESS_FROM_MSG[record.success]]
        outcome = Outcome(record.outcome)
        name = '' if outcome is Outcome.COMPLETED else outcome.name.lower()
        line = (
            f'episode {progress.position:3d}/{len(core.schedule)}  '
            f'{Phase(record.phase).name.lower():15}  reward {record.reward:.2f}  '
            f'mean of last ten {progress.recent_mean:.2f}  {verdict:7}  '
            f'{record.object_name} {name}'
        )
        print(line.rstrip(), flush=True)
        if self._goal is not None:
            self._goal.publish_feedback(
                RunSession.Feedback(
                    episode_index=progress.position - 1,
                    episode_count=len(core.schedule),
                    state=State.AWAIT_REWARD.value,
                    last_reward=progress.rewards[-1],
                )
            )

    def _confirm_reset(
        self, request: ConfirmReset.Request, _: ConfirmReset.Response
    ) -> ConfirmReset.Response:
        """The operator says that the scene is laid out."""
        core = self._setup.core if self._setup is not None else None
        response = check_scene(core, self._awaits_scene, request)
        if response.accepted:
            self._awaits_scene = False
            self._running.begin(request.object_name, request.scene_seed)
            self._emit(Event.SCENE_READY)
        return response

    # The policy.

    def _train(self) -> None:
        core = self._session.core
        print('training the policy from the bag', flush=True)
        self._training = TrainingProcess(
            core.run_directory,
            self._session.settings_file,
            core.seed,
            timeout=self._parameters.training_timeout,
        )

    def _look_at_training(self) -> None:
        try:
            if self._training is not None and self._training.poll():
                self._training = None
                self._session.core.take_policy()
                self._emit(Event.TRAINED)
        except DeftError as error:
            self._error_code = RunSession.Goal.TRAINING_FAILED
            self._fail(str(error))

    # The end.

    def _halt(self) -> None:
        """Say why, answer the goal and, with `autostart`, ask for the exit."""
        self._peers_due = None
        if self._training is not None:
            self._training.stop()
            self._training = None
        self._publish_status()
        print(f'error: the session halted: {self._reason}', file=sys.stderr, flush=True)
        self._leave(EXIT_FAILURE)

    def _sum_up(self) -> None:
        core = self._session.core
        summary = summarise(
            core.run_directory, peak_rss_bytes=self._memory.peak, software_version=__version__
        )
        path = write_summary(core.run_directory, summary)
        core.store.record_finish()
        print(f'session done in {summary["wall_s"]:.0f} s: {path}', flush=True)
        self._error_code = RunSession.Goal.NONE
        self._publish_status()
        self._leave(EXIT_OK)

    def _leave(self, exit_code: int) -> None:
        self._over = True
        if self._goal is not None:
            self._goal.execute()
        if self._parameters.autostart:
            self._exit_code = exit_code

    def _tick(self) -> None:
        """Everything that depends on real time."""
        self._awake()
        if self._exit_code is not None and self._goal is None:
            raise NodeFinished(self._exit_code)
        if self._setup is None:
            return
        if self._peers_due is not None:
            self._look_at_stop()  # one that was pressed before the session began
        if self._peers_due is not None:
            self._wait_for_peers()
        self._peers.look()
        late = self._peers.overdue() or self._camera.overdue()
        if late is not None:
            self._fail(f'{late} did not answer in time')
        self._look_at_training()
        now = time.monotonic()
        if not self._over and now >= self._next_memory:
            self._next_memory = now + _MEMORY_PERIOD
            # The launcher is the parent of all nodes; its memory counts too.
            self._memory.sample(os.getppid())

    # Other requests.

    def _look_at_stop(self) -> None:
        problem = self._emergency_stop.problem()
        if problem and not self._over:
            self._reason = problem
            self._emit(Event.EMERGENCY_STOP)

    def _on_control(
        self, request: ControlSession.Request, _: ControlSession.Response
    ) -> ControlSession.Response:
        kind = ControlSession.Request
        event = CONTROLS.get(request.request)
        answer = ControlSession.Response(error_code=kind.NOT_POSSIBLE_NOW)
        if event is None:
            answer.error_code = kind.UNKNOWN
            answer.error_message = f'there is no request {request.request}'
        elif self._setup is None:
            answer.error_message = f'{event.value!r} is not possible: there is no session'
        elif request.episode_id != self._setup.core.episode_id:
            answer.error_code = kind.WRONG_EPISODE
            answer.error_message = (
                f'episode {self._setup.core.episode_id} runs, not {request.episode_id!r}; what is '
                'rewarded is learned from and stays'
            )
        else:
            self._control(event, answer)
        return answer

    def _control(self, event: Event, answer: ControlSession.Response) -> None:
        """Do what the operator asks for, or say why it is not possible."""
        later = event is Event.PAUSE and self._state in PAUSES_LATER
        taken_back = event is Event.RESUME and self._pause_wanted
        if later or taken_back:
            self._pause_wanted = later
            self._publish_status()
        else:
            try:
                transition(self._state, event)  # refuses what has no meaning in this state
            except InvalidInputError as refusal:
                answer.error_message = str(refusal)
                return
            if event is Event.CANCEL:
                self._reason = 'stopped by the operator'
                self._error_code = RunSession.Goal.CANCELLED
            self._emit(event)
        answer.accepted, answer.error_code = True, ControlSession.Request.NONE

    def _on_goal(self, _: RunSession.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT if self._over else GoalResponse.REJECT

    def _on_accepted(self, goal: Any) -> None:
        request = goal.request
        self._goal = goal
        # Who begins a session knows which stations are there; arm and hand keep what they lost.
        self._emergency_stop.accept_loss()
        try:
            self._begin(
                request.task, request.run_directory, request.seed, must_exist=request.resume
            )
        except RunOccupiedError as error:
            self._refuse(RunSession.Goal.RUN_OCCUPIED, error)
        except DeftError as error:
            self._refuse(RunSession.Goal.INVALID_REQUEST, error)
        else:
            self._error_code = RunSession.Goal.HALTED

    def _refuse(self, error_code: int, error: DeftError) -> None:
        """Answer a goal that did not become a session."""
        self._error_code, self._reason = error_code, str(error)
        self._goal.execute()

    def _on_cancel(self, _: Any) -> CancelResponse:
        self._reason, self._error_code = 'cancelled', RunSession.Goal.CANCELLED
        self._emit(Event.CANCEL)
        return CancelResponse.ACCEPT

    def _answer_goal(self, goal: Any) -> RunSession.Result:
        """Called by `goal.execute()` when the session is over."""
        if self._error_code == RunSession.Goal.NONE:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        self._goal = None
        return result_message(self._setup, self._error_code, self._reason)

    def _publish_status(self) -> None:
        stamp = self.get_clock().now().nanoseconds * 1e-9
        later = 'pauses before the next episode' if self._pause_wanted else ''
        remark = self._reason or later
        self._status.publish(status_message(self._setup, self._state, remark, stamp))


def _check_score(
    core: SessionCore | None, awaited: bool, reward: Reward
) -> tuple[SubmitReward.Response, bool]:
    """Whether a score may be given now; the same score again is accepted and changes nothing."""
    kind = SubmitReward.Request

    def refused(code: int, message: str) -> tuple[SubmitReward.Response, bool]:
        return SubmitReward.Response(error_code=code, error_message=message), False

    stored = core.store.rewarded(reward.episode_id) if core is not None else None
    if stored is not None:
        if stored.reward == reward.score:
            return SubmitReward.Response(accepted=True), False
        return refused(kind.ALREADY_SCORED, f'{stored.episode_id} has the score {stored.reward}')
    if core is None or not awaited:
        return refused(kind.NOT_WAITING, 'the session does not wait for a score now')
    if reward.episode_id != core.episode_id:
        return refused(kind.WRONG_EPISODE, f'{core.episode_id} waits, not {reward.episode_id!r}')
    if (
        not (math.isfinite(reward.score) and 0.0 <= reward.score <= 1.0)
        or reward.source not in _SOURCES
        or reward.success not in SUCCESS_FROM_MSG
    ):
        return refused(
            kind.INVALID_SCORE, f'score {reward.score} must be 0 to 1, from a known source'
        )
    return SubmitReward.Response(accepted=True), True


def main() -> int:
    """Run the node."""
    return run_node(SessionNode, 'session')


if __name__ == '__main__':
    sys.exit(main())
