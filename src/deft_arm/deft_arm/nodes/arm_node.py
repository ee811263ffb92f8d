# SPDX-License-Identifier: Apache-2.0
"""Moves the arm: grasps one at a time, the way home, and a stop at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from std_srvs.srv import Trigger

from deft_arm.configuration import load_arm_configuration
from deft_arm.execution import Observed, PlanExecution
from deft_arm.faults import Fault, FaultLatch
from deft_arm.nodes.arm_job import Action, Job
from deft_arm.nodes.arm_parameters import XARM_API, ArmParameters
from deft_arm.nodes.backend import ArmBackend
from deft_arm.nodes.convert import FAILURE_NAMES, hand_command, refusal_name, state_to_msg
from deft_arm.nodes.emergency_stop_desk import EmergencyStopDesk
from deft_arm.nodes.ros2_control_backend import Ros2ControlBackend
from deft_arm.plan import EpisodePlan, MotionPlan, PlannedPhase
from deft_arm.planning import EpisodePlanner
from deft_core.decode import grasp_from_msg, trajectory_from_msg
from deft_core.errors import DeftError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LEASED_COMMAND, STATE, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_core.validation import FloatArray
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, HandCommand, HandState

CLEAR_SERVICE: Final = '/arm/clear_fault'
_CYCLE: Final = 0.02  # [s] of real time
_STATE_PERIOD: Final = 0.1  # [s] of real time
_REMINDER_PERIOD: Final = 2.0  # [s] of real time between two lines about what is missing
# Nothing moves after these until a person has cleared them.
_LATCHED: Final = frozenset({'COLLISION', 'EMERGENCY_STOP', 'CONTROLLER_ERROR', 'STALE_STATE'})


class ArmNode(Node):
    """Plans and runs one motion at a time.

    A goal is run by a timer and its result sent at the end: awaiting inside an execute callback
    would make the executor of Jazzy spin without pause until the motion is over.
    """

    def __init__(self, **options: Any) -> None:
        """Build the planner and the interfaces.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter or the file of the arm is wrong.
        """
        super().__init__('arm', **options)
        self._settings = declare_parameters(self, ArmParameters)
        self._planner = EpisodePlanner(load_arm_configuration(self._settings.arm))
        self._backend = self._make_backend()
        self._job: Job | None = None
        self._hand: HandState | None = None
        self._hand_received = 0.0
        self._hand_was_enabled = False
        self._stops = EmergencyStopDesk(
            self, self._cycle, require_station=self._settings.require_station
        )
        self._stopped = ''  # the emergency stop that was acted on
        self._faults = FaultLatch()
        self._clearing = False
        self._holding = False
        self._sequence = 0
        quiet = PublisherEventCallbacks(use_default_callbacks=False)
        self._hand_publisher = self.create_publisher(
            HandCommand, '/hand/command', LEASED_COMMAND, event_callbacks=quiet
        )
        self._state_publisher = self.create_publisher(ArmState, '/arm/state', STATE_PUBLISHER)
        self.create_subscription(HandState, '/hand/state', self._on_hand, STATE)
        self.create_service(Trigger, CLEAR_SERVICE, self._on_clear)
        self._servers = [
            self._serve(ExecuteGrasp, '/arm/execute_grasp', self._plan_grasp),
            self._serve(ReturnHome, '/arm/return_home', self._plan_home),
        ]
        # The ROS clock may stop; what must notice this runs on real time.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_CYCLE, self._cycle, clock=steady)
        self.create_timer(_STATE_PERIOD, self._publish_state, clock=steady)
        self._reminder = self.create_timer(_REMINDER_PERIOD, self._remind, clock=steady)

    def close(self) -> None:
        """Bring a moving arm to rest."""
        job = self._job
        if job is not None and job.execution is not None:
            self._backend.halt(job.execution.stop_path(self._observed()))
        for server in self._servers:
            server.destroy()

    def _make_backend(self) -> ArmBackend:
        settings, planner = self._settings, self._planner
        if settings.arm_interface != XARM_API:
            return Ros2ControlBackend(self, planner.configuration.joint_names)
        # Imported here, so that ros2_control works where nobody has built xarm_msgs.
        from deft_arm.nodes.xarm_api_backend import XArmApiBackend  # noqa: PLC0415

        return XArmApiBackend(
            self, settings, planner.configuration, planner.kinematics, settings.state_timeout
        )

    def _serve(
        self, action: Action, name: str, plan: Callable[[Any], MotionPlan]
    ) -> ActionServer[Any, Any, Any]:
        return ActionServer(
            self,
            action,
            name,
            execute_callback=_never,
            goal_callback=self._on_goal,
            handle_accepted_callback=partial(self._accept, action, plan),
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _on_goal(self, _: Any) -> GoalResponse:
        if self._job is not None:
            self.get_logger().warning('Rejected a goal: the arm is busy with another one.')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_hand(self, message: HandState) -> None:
        self._hand = message
        self._hand_was_enabled |= message.state == HandState.ENABLED
        self._hand_received = time.monotonic()

    def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """A person has looked at the arm."""
        problem = self._stops.accept()
        if problem:
            response.message = f'Not cleared. {problem}'
            return response
        response.success = True
        if self._faults.fault is None:
            response.message = 'There is no fault.'
            return response
        if not self._clearing:
            self._backend.recover()
        self._clearing = True
        response.message = 'The arm is being made ready; /arm/state tells when it is.'
        return response

    def _accept(self, action: Action, plan: Callable[[Any], MotionPlan], goal: Any) -> None:
        self._job = Job(action, goal, plan)
        self._cycle()

    def _plan_grasp(self, request: ExecuteGrasp.Goal) -> EpisodePlan:
        return self._planner.plan(
            grasp_from_msg(request.grasp),
            trajectory_from_msg(request.trajectory),
            request.pregrasp_distance,
            request.pregrasp_direction,
            self._measured(),
            request.open_hand,
        )

    def _plan_home(self, request: ReturnHome.Goal) -> MotionPlan:
        return self._planner.plan_home(
            self._measured(), request.open_hand, release_first=request.release
        )

    def _cycle(self) -> None:
        """One look at everything."""
        self._backend.cycle()
        incident = self._backend.incident()
        if incident is not None:
            self._clearing = False
            self._latch(incident)
        self._obey_stop()
        self._finish_clearing()
        job = self._job
        if job is None:
            return
        if job.goal.is_cancel_requested:
            self._end(job, 'CANCELLED', 'The motion was cancelled; the arm holds its position.')
        elif job.execution is None:
            self._begin(job)
        else:
            self._go_on(job, job.execution)

    def _obey_stop(self) -> None:
        """Stop in the cycle in which an emergency stop is pressed or its station is lost."""
        problem = self._stops.problem()
        if problem and problem != self._stopped:
            self._latch(
                Fault('EMERGENCY_STOP', f'{problem} Release it, then call {CLEAR_SERVICE}.')
            )
            self._stops.tell_of_loss()
            if self._job is None or self._job.execution is None:
                self._backend.halt(None)
        self._stopped = problem

    def _finish_clearing(self) -> None:
        if self._clearing and self._backend.ready and self._age() < self._settings.state_timeout:
            self._clearing = False
            self._faults.clear()
            self.get_logger().info('The fault is cleared; the arm takes goals again.')

    def _begin(self, job: Job) -> None:
        """Plan a goal as soon as motion is allowed, or refuse it with a reason."""
        fault = self._faults.fault
        if fault is not None:
            if time.monotonic() - job.arrived >= self._settings.clearance_wait:
                stop = fault.name == 'EMERGENCY_STOP'
                self._end(
                    job,
                    'EMERGENCY_STOP' if stop else 'CONTROLLER_ERROR',
                    f'A fault is not cleared: {fault.message} Look at the arm, then call '
                    f'{CLEAR_SERVICE}.',
                )
            return
        name, message = self._obstacle()
        if not name and not self._backend.ready:
            name = 'CONTROLLER_ERROR'
            message = f'The arm still waits for {self._backend.waits_for}.'
        if name:
            # Drivers that are being started or made ready deserve patience, lost ones do not.
            awaited = name in ('CONTROLLER_ERROR', 'EMERGENCY_STOP') or self._starts_up()
            if not awaited or time.monotonic() - job.arrived >= self._settings.ready_timeout:
                self._end(job, name, message)
            return
        try:
            motion = job.plan(job.goal.request)
        except DeftError as error:
            self._end(job, refusal_name(job.action, error), str(error))
            return
        job.execution = PlanExecution(motion, self._settings, own_pace=self._backend.own_pace)
        job.planned = time.monotonic()
        self._holding = False
        # Tells who times an episode that the plan is made; what follows waits for the robot.
        job.goal.publish_feedback(job.action.Feedback())

    def _go_on(self, job: Job, execution: PlanExecution) -> None:
        fault = self._faults.fault
        if fault is not None:
            self._end(job, fault.name, fault.message)
            return
        name, message = self._obstacle()
        if not name and not self._backend.ready:
            name, message = (
                'STALE_STATE',
                (
                    f'In the middle of a motion the arm waits for {self._backend.waits_for}; '
                    'was the driver restarted?'
                ),
            )
        if name:
            self._end(job, name, message)
            return
        measured = self._backend.measurement
        if measured is None or measured.received < job.planned:
            return  # Planning took a while: start from a measurement that is newer.
        update = execution.update(self._observed())
        if update.failure is not None:
            self._end(job, FAILURE_NAMES[update.failure], update.message)
            return
        if update.start is not None:
            self._send(update.start)
        job.feed_back(self._now())
        if update.finished:
            self._holding = job.grasps
            self._end(job, 'NONE', '')

    def _remind(self) -> None:
        """Tell what is missing until the arm is ready for the first time."""
        if self._faults.fault is not None:
            return  # it was told
        _, missing = self._obstacle()
        if not missing and not self._backend.ready:
            missing = f'Waiting for {self._backend.waits_for}.'
        self.get_logger().info(missing or 'The arm takes goals.')
        if not missing:
            self._reminder.cancel()

    def _starts_up(self) -> bool:
        """Whether arm or hand have not been ready yet since this node began."""
        return self._backend.measurement is None or not self._hand_was_enabled

    def _obstacle(self) -> tuple[str, str]:
        """Error constant and message of what forbids motion now; empty where nothing does."""
        missing = self._stops.missing()
        if missing:
            return 'EMERGENCY_STOP', missing
        limit = self._settings.state_timeout
        if self._age() > limit:
            heard = self._backend.measurement is not None
            since = f'for {self._age():.1f} s, allowed are {limit} s' if heard else 'yet'
            return 'STALE_STATE', (
                f'No joint states on {self._backend.source} {since}; is the driver of the arm '
                'running?'
            )
        if self._hand is None or self._since(self._hand_received) > limit:
            return 'HAND_FAULT', 'No state on /hand/state; is the hand driver running?'
        if self._hand.state != HandState.ENABLED:
            return 'HAND_FAULT', (
                f'The hand is not enabled. {self._hand.fault} Call /hand/clear_fault where it is '
                'in fault, then /hand/enable.'
            )
        return '', ''

    def _end(self, job: Job, name: str, message: str) -> None:
        """Bring the arm to rest where it moves, then answer."""
        self._job = None
        if job.execution is not None and name != 'NONE':
            self._come_to_rest(job, job.execution, name)
            if name in _LATCHED:
                self._latch(Fault(name, message, self._backend.error_code))
        if name not in ('NONE', 'CANCELLED'):
            self.get_logger().warning(message)
        job.answer(name, message, self._planner.kinematics)

    def _come_to_rest(self, job: Job, execution: PlanExecution, name: str) -> None:
        observed = self._observed()
        if name in _LATCHED:
            self._backend.halt(execution.stop_path(observed))
        elif name == 'MOTION_TIMEOUT':  # it is not where it should be on its way
            self._backend.brake(execution.stop_path(observed))
        else:
            self._backend.brake(execution.brake_path(observed))
        if name == 'COLLISION' and self._settings.hand_after_collision == 'open':
            duration = self._planner.configuration.close_duration
            self._command_hand(job.goal.request.open_hand, duration)

    def _send(self, phase: PlannedPhase) -> None:
        self._backend.start(phase.arm)
        if phase.hand_joint_positions is not None:
            self._command_hand(phase.hand_joint_positions, phase.hand_duration)

    def _command_hand(self, joint_positions: Any, duration: float) -> None:
        self._sequence += 1
        self._hand_publisher.publish(
            hand_command(joint_positions, duration, self._sequence, self._now())
        )

    def _latch(self, fault: Fault) -> None:
        if self._faults.fault is None:
            self.get_logger().error(fault.message)
        self._faults.set(fault)

    def _publish_state(self) -> None:
        measured = self._backend.measurement
        if measured is None:
            return
        state = ArmState.IDLE
        if self._age() > self._settings.state_timeout:
            state = ArmState.DISCONNECTED
        elif self._faults.fault is not None:
            state = ArmState.FAULT
        elif self._job is not None:
            state = ArmState.MOVING
        elif self._holding:
            state = ArmState.HOLDING
        message = state_to_msg(state, self._faults.fault, measured, self._planner)
        message.controller_error = self._backend.error_code
        message.emergency_stop = bool(self._stops.problem() or self._stops.missing())
        self._state_publisher.publish(message)

    def _observed(self) -> Observed:
        return Observed(self._now(), self._measured(), self._age(), self._backend.idle)

    def _measured(self) -> FloatArray:
        measured = self._backend.measurement
        assert measured is not None, 'motions are refused before the first joint states'
        return measured.joint_positions

    def _age(self) -> float:
        """Real time since the last joint states. [s]."""
        measured = self._backend.measurement
        return float('inf') if measured is None else self._since(measured.received)

    def _since(self, received: float) -> float:
        """Real time since something was received, not counting our own planning. [s]."""
        planned = 0.0 if self._job is None else self._job.planned
        return time.monotonic() - max(received, planned)

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return self.get_clock().now().nanoseconds * 1e-9


def _never(_: Any) -> Any:
    """Every goal is run by `handle_accepted_callback`, so that this is never called."""
    raise AssertionError('a goal was executed without its answer')


def main() -> int:
    """Run the node."""
    return run_node(ArmNode)
