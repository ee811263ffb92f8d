# SPDX-License-Identifier: Apache-2.0
"""Runs fine-tuning sessions: follows the session machine, waits for peers, trains, sums up."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import Any, Final

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from deft_cem import __version__
from deft_cem.bag_parts import BAG_FOLDER
from deft_cem.nodes.control_desk import ControlDesk
from deft_cem.nodes.episode_director import EpisodeDirector
from deft_cem.nodes.episode_hand_over import EpisodeHandOver
from deft_cem.nodes.peer_watch import PeerWatch
from deft_cem.nodes.recorder_watch import RecorderWatch
from deft_cem.nodes.session_parameters import SessionParameters
from deft_cem.nodes.session_setup import SessionSetup, make_setup
from deft_cem.nodes.session_status import result_message, status_message
from deft_cem.policies.training_process import TrainingProcess
from deft_cem.run_folder import RunOccupiedError
from deft_cem.session_machine import Effect, Event, State, transition
from deft_cem.summary import PeakMemory, summarise, write_summary
from deft_core.errors import DeftError, DeviceError, InvalidInputError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished, run_node
from deft_msgs.action import RunSession
from deft_msgs.msg import EmergencyStop, SessionStatus
from deft_msgs.srv import ConfirmReset, ControlSession, SubmitReward

_PERIOD: Final = 0.05  # [s] of real time between two looks at clocks and processes
_MEMORY_PERIOD: Final = 1.0  # [s] of real time
# Announced when the operator may act or read: arm home, last image taken, summary written.
# Between two episodes nothing is announced.
_ANNOUNCED_LATER: Final = frozenset({State.IDLE, State.RESET, State.AWAIT_REWARD, State.DONE})


class SessionNode(Node):
    """One session at a time, by the parameter `autostart` or the action `/session/run`.

    Both begin a session or go on with the one in the run folder.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces and, with `autostart`, the session.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter, the task or the run folder is wrong.
        """
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
        self._peers: PeerWatch | None = None
        self._next_memory = 0.0
        self._memory = PeakMemory()
        self._exit_code: int | None = None
        self._over = True
        self._control = ControlDesk()
        self._records = EpisodeHandOver(self, self._fail)
        timeout = self._parameters.recorder_timeout
        self._recorder = RecorderWatch(self, timeout, self._fail, self._records.confirm)
        self._director = EpisodeDirector(
            self,
            self._parameters,
            self._emit,
            self._fail,
            self._on_operator,
            self._records.give,
        )
        self._status = self.create_publisher(SessionStatus, '/session/status', LATCHED)
        self.create_subscription(EmergencyStop, '/emergency_stop', self._on_stop, LATCHED)
        self.create_service(ConfirmReset, '/session/confirm_reset', self._director.confirm_reset)
        self.create_service(SubmitReward, '/session/submit_reward', self._director.submit_reward)
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
        self._director.stop()
        if self._training is not None:
            self._training.stop()
        self._status.wait_for_all_acked(Duration(seconds=1.0))
        if self._setup is not None:
            self._setup.core.close()
        self._director.clients.close()
        self._server.destroy()

    # A session begins.

    def _begin(self, task_name: str, run: str, seed: int, *, must_exist: bool = False) -> None:
        """Set a session up; it starts as soon as all peers are there."""
        if self._setup is not None:
            self._setup.core.close()
            self._setup = None
        setup = make_setup(self._parameters, task_name, run, seed, must_exist=must_exist)
        self._setup = setup
        self._director.begin(setup)
        self._state, self._reason = State.IDLE, ''
        self._records.begin(setup.core)
        self._control.pause_wanted = False
        self._over = False
        self._memory = PeakMemory()
        timeout = self._parameters.peer_timeout
        self._peers = PeerWatch(timeout, self._missing, self.get_logger().info)
        if setup.core.resumed:
            done, count = setup.core.progress.position, len(setup.core.plan)
            print(
                f'going on with session {setup.core.session_id} after {done} of {count} episodes',
                flush=True,
            )
        self._publish_status()  # tells the recorder where to record

    def _missing(self) -> list[str]:
        """Names of what the session needs and does not see."""
        absent = self._director.clients.missing()
        if not self._director.camera.seen:
            absent.append('the colour images of the camera')
        if self.get_clock().now().nanoseconds == 0:
            absent.append('/clock')
        assert self._setup is not None, 'asked without a session'
        if not self._recorder.records(self._setup.core.run_directory / BAG_FOLDER):
            absent.append('a recorder that records this run')
        return absent

    def _wait_for_peers(self) -> None:
        assert self._peers is not None, 'nobody is waited for'
        assert self._setup is not None, 'waited without a session'
        try:
            if not self._peers.complete():
                return
            self._records.give_again()
        except DeftError as error:
            if isinstance(error, DeviceError):
                self._error_code = RunSession.Goal.PEER_MISSING
            self._fail(str(error))
        else:
            self._peers = None
            self._emit(Event.START)

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
        assert self._setup is not None, 'an effect without a session'
        core = self._setup.core
        if effect is Effect.STOP_MOTION:
            self._director.stop()
        elif effect is Effect.CHOOSE:
            self._emit(core.following())
        elif effect is Effect.RECORD:
            self._record()
        elif effect is Effect.TRAIN:
            self._records.give()
            self._recorder.when_recorded(core.progress.last_rated_id, self._train)
        elif effect is Effect.FINISH:
            self._records.give()
            self._recorder.when_recorded(core.progress.last_rated_id, self._sum_up)
        else:
            self._director.perform(effect)

    def _fail(self, reason: str) -> None:
        """The session cannot go on, or its summary cannot be made."""
        if self._over:
            return
        self._reason = reason
        self._emit(Event.FAULT)

    def _record(self) -> None:
        assert self._setup is not None, 'recorded without a session'
        core = self._setup.core
        print(self._director.progress_line(), flush=True)
        if self._goal is not None:
            self._goal.publish_feedback(
                RunSession.Feedback(
                    episode_index=core.progress.position - 1,
                    episode_count=len(core.plan),
                    state=State.AWAIT_REWARD.value,
                    last_reward=core.progress.rewards[-1],
                )
            )
        core.conclude(self._director.close_episode())
        assert self._director.record is not None, 'recorded without a record'
        self._records.take(self._director.record)

    def _on_operator(self) -> None:
        """The operator may act now; where a pause was asked for, the session pauses instead."""
        if self._control.pause_wanted and self._director.awaits_scene:
            self._control.pause_wanted = False
            self._emit(Event.PAUSE)
        else:
            self._publish_status()

    def _train(self) -> None:
        assert self._setup is not None, 'trained without a session'
        core = self._setup.core
        self._director.forget_time()
        print('training the policy from the bag', flush=True)
        self._training = TrainingProcess(
            core.run_directory,
            self._setup.settings_file,
            core.seed,
            timeout=self._parameters.training_timeout,
        )

    def _look_at_training(self) -> None:
        assert self._setup is not None, 'trained without a session'
        try:
            if self._training is not None and self._training.poll():
                self._training = None
                self._setup.core.take_policy()
                self._emit(Event.TRAINED)
        except DeftError as error:
            self._error_code = RunSession.Goal.TRAINING_FAILED
            self._fail(str(error))

    # The end.

    def _halt(self) -> None:
        """Say why, answer the goal and, with `autostart`, ask for the exit."""
        self._peers = None
        self._recorder.drop()
        if self._training is not None:
            self._training.stop()
            self._training = None
        self._publish_status()
        print(f'error: the session halted: {self._reason}', file=sys.stderr, flush=True)
        self._leave(EXIT_FAILURE)

    def _sum_up(self) -> None:
        assert self._setup is not None, 'summed up without a session'
        core = self._setup.core
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
        if self._exit_code is not None and self._goal is None:
            raise NodeFinished(self._exit_code)
        if self._setup is None:
            return
        if self._peers is not None:
            self._wait_for_peers()
        late = self._director.look()
        if late is not None:
            self._fail(f'{late} did not answer in time')
        self._look_at_training()
        self._recorder.look()
        now = time.monotonic()
        if not self._over and now >= self._next_memory:
            self._next_memory = now + _MEMORY_PERIOD
            # The launcher is the parent of all nodes; its memory counts too.
            self._memory.sample(os.getppid())

    # Other requests.

    def _on_stop(self, message: EmergencyStop) -> None:
        if message.pressed and not self._over:
            self._reason = f'emergency stop by {message.source}: {message.reason}'
            self._emit(Event.EMERGENCY_STOP)

    def _on_control(
        self, request: ControlSession.Request, _: ControlSession.Response
    ) -> ControlSession.Response:
        core = self._setup.core if self._setup is not None else None
        answer, event = self._control.take(core, self._state, request)
        if event is Event.CANCEL:
            self._reason, self._error_code = 'stopped by the operator', RunSession.Goal.CANCELLED
        if event is not None:
            self._emit(event)
        elif answer.accepted:
            self._publish_status()
        return answer

    def _on_goal(self, _: RunSession.Goal) -> GoalResponse:
        return GoalResponse.ACCEPT if self._over else GoalResponse.REJECT

    def _on_accepted(self, goal: Any) -> None:
        request = goal.request
        self._goal = goal
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
        later = 'pauses before the next episode' if self._control.pause_wanted else ''
        remark = self._reason or later
        self._status.publish(status_message(self._setup, self._state, remark, stamp))


def main() -> int:
    """Run the node."""
    return run_node(SessionNode)


if __name__ == '__main__':
    sys.exit(main())
