# SPDX-License-Identifier: Apache-2.0
"""Moves the arm: grasps one at a time, the way home, and a stop at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from std_srvs.srv import Trigger

from deft_arm.configuration import load_arm_configuration
from deft_arm.execution import Observed, PlanExecution
from deft_arm.nodes.arm_parameters import XARM_API, ArmParameters
from deft_arm.nodes.messages import (
    FEEDBACK_PHASES,
    Action,
    Fault,
    flange_to_msg,
    marks_to_msg,
    refusal_name,
)
from deft_arm.nodes.ros2_control_backend import Ros2ControlBackend
from deft_arm.planning.plan import MotionPlan, PlannedPhase
from deft_arm.planning.planner import EpisodePlanner
from deft_core.decode import grasp_from_msg, trajectory_from_msg
from deft_core.errors import DeftError
from deft_core.frames import BASE_FRAME
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.emergency_stop import EmergencyStopMonitor
from deft_core.nodes.encode import header
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LEASED_COMMAND, STATE, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_core.validation import FloatArray
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, HandCommand, HandState

if TYPE_CHECKING:
    from deft_arm.nodes.xarm_backend import XArmBackend

CLEAR_SERVICE: Final = '/arm/clear_fault'
_CYCLE: Final = 0.02  # [s] of real time
_STATE_PERIOD: Final = 0.1  # [s] of real time
_REMINDER_PERIOD: Final = 2.0  # [s] of real time between two lines about what is missing
# Nothing moves after these until a person has cleared them.
_LATCHED: Final = frozenset({'COLLISION', 'EMERGENCY_STOP', 'CONTROLLER_ERROR', 'STALE_STATE'})


@dataclass
class Job:
    """The motion of one goal, from its arrival to its answer; times are monotonic [s]."""

    action: Action
    goal: ServerGoalHandle
    plan: Callable[[Any], MotionPlan]  # from where the arm is
    arrived: float = field(default_factory=time.monotonic)
    execution: PlanExecution | None = None  # until motion is allowed and planned
    planned: float = 0.0

    @property
    def grasps(self) -> bool:
        """Whether this is a grasp and not the way home."""
        return self.action is ExecuteGrasp


class ArmNode(Node):
    """Plans and runs one motion at a time.

    A goal is run by a timer and its result sent at the end: awaiting inside an execute callback
    would make the executor of Jazzy spin without pause until the motion is over.
    """

    def __init__(self, **options: Any) -> None:
        """Build the planner and the interfaces; `options` go to `rclpy.node.Node`."""
        super().__init__('arm', **options)
        self._settings = declare_parameters(self, ArmParameters)
        self._planner = EpisodePlanner(load_arm_configuration(self._settings.arm))
        self._fault: Fault | None = None  # nothing moves until a person has looked
        self._job: Job | None = None
        self._holding = False
        self._backend = self._make_backend()
        self._hand: HandState | None = None
        self._hand_received = 0.0
        self._hand_was_enabled = False
        self._sequence = 0
        self._emergency_stop = EmergencyStopMonitor(
            self, self._cycle, require_station=self._settings.require_station
        )
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
            self._backend.stop(job.execution.stop_path(self._observed()), for_good=True)
        for server in self._servers:
            server.destroy()

    def _make_backend(self) -> Ros2ControlBackend | XArmBackend:
        settings, planner = self._settings, self._planner
        if settings.arm_interface != XARM_API:
            return Ros2ControlBackend(self, planner.configuration.joint_names)
        # Imported here, so that ros2_control works where nobody has built xarm_msgs.
        from deft_arm.nodes.xarm_backend import XArmBackend  # noqa: PLC0415

        return XArmBackend(self, settings, planner.configuration, planner.kinematics, self._latch)

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
        self._emergency_stop.accept_loss()
        problem = self._emergency_stop.problem() or self._emergency_stop.missing()
        if problem:
            response.message = f'Not cleared. {problem}'
            return response
        response.success = True
        if self._fault is None:
            response.message = 'There is no fault.'
            return response
        self._backend.recover()
        response.message = 'The arm is being made ready; /arm/state tells when it is.'
        return response

    def _accept(self, action: Action, plan: Callable[[Any], MotionPlan], goal: Any) -> None:
        self._job = Job(action, goal, plan)
        self._cycle()

    def _plan_grasp(self, request: ExecuteGrasp.Goal) -> MotionPlan:
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
        # Whatever latched a fault stopped the back end, so that it is ready only after `recover`.
        if self._fault and self._backend.ready and self._age() < self._settings.state_timeout:
            self._fault = None
            self.get_logger().info('The fault is cleared; the arm takes goals again.')
        self._obey_stop()
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
        problem = self._emergency_stop.problem()
        if problem and not self._backend.stopped:
            self._latch(
                Fault('EMERGENCY_STOP', f'{problem} Release it, then call {CLEAR_SERVICE}.')
            )
            if self._job is None or self._job.execution is None:
                self._backend.stop(None, for_good=True)

    def _begin(self, job: Job) -> None:
        """Plan a goal as soon as motion is allowed, or refuse it with a reason."""
        fault = self._fault
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
        if self._fault is not None:
            self._end(job, self._fault.name, self._fault.message)
            return
        name, message = self._obstacle()
        if name == 'CONTROLLER_ERROR':  # it was ready
            name, message = 'STALE_STATE', f'{message} Was the driver restarted?'
        if name:
            self._end(job, name, message)
            return
        measured = self._backend.measurement
        if measured is None or measured.received < job.planned:
            return  # Planning took a while: start from a measurement that is newer.
        update = execution.update(self._observed())
        if update.failure is not None:
            self._end(job, update.failure, update.message)
            return
        if update.start is not None:
            self._send(update.start)
        if job.grasps:
            phase = FEEDBACK_PHASES[execution.phase.name]
            progress = execution.progress(self._now())
            job.goal.publish_feedback(ExecuteGrasp.Feedback(phase=phase, progress=progress))
        else:
            progress = execution.total_progress(self._now())
            job.goal.publish_feedback(ReturnHome.Feedback(progress=progress))
        if update.finished:
            self._holding = job.grasps
            self._end(job, 'NONE', '')

    def _remind(self) -> None:
        """Tell what is missing until the arm is ready for the first time."""
        if self._fault is not None:
            return  # it was told
        _, missing = self._obstacle()
        self.get_logger().info(missing or 'The arm takes goals.')
        if not missing:
            self._reminder.cancel()

    def _starts_up(self) -> bool:
        """Whether arm or hand have not been ready yet since this node began."""
        return self._backend.measurement is None or not self._hand_was_enabled

    def _obstacle(self) -> tuple[str, str]:
        """Error constant and message of what forbids motion now; empty where nothing does."""
        missing = self._emergency_stop.missing()
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
        if not self._backend.ready:
            return 'CONTROLLER_ERROR', f'The arm waits for {self._backend.waits_for}.'
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
        self._answer(job, name, message)

    def _come_to_rest(self, job: Job, execution: PlanExecution, name: str) -> None:
        observed = self._observed()
        # Only an arm that is on its way may go on along it.
        on_its_way = name not in _LATCHED and name != 'MOTION_TIMEOUT'
        path = execution.brake_path(observed) if on_its_way else execution.stop_path(observed)
        self._backend.stop(path, for_good=name in _LATCHED or self._fault is not None)
        if name == 'COLLISION' and self._settings.hand_after_collision == 'open':
            duration = self._planner.configuration.close_duration
            self._command_hand(job.goal.request.open_hand, duration)

    def _answer(self, job: Job, name: str, message: str) -> None:
        """Send the result, with an error constant of the action, and set the terminal state."""
        code = int(getattr(job.action.Goal, name))
        result = job.action.Result(error_code=code, error_message=message)
        if job.grasps:
            result.last_phase = ExecuteGrasp.Goal.PLAN
            if job.execution is not None:
                result.last_phase = FEEDBACK_PHASES[job.execution.phase.name]
                result.executed_poses = marks_to_msg(job.execution.marks, self._planner.kinematics)

        def end(handle: ServerGoalHandle) -> Any:
            if name == 'NONE':
                handle.succeed()
            elif name == 'CANCELLED':
                handle.canceled()
            else:
                handle.abort()
            return result

        job.goal.execute(end)

    def _send(self, phase: PlannedPhase) -> None:
        self._backend.start(phase.arm)
        if phase.hand_joint_positions is not None:
            self._command_hand(phase.hand_joint_positions, phase.hand_duration)

    def _command_hand(self, joint_positions: Any, duration: float) -> None:
        self._sequence += 1
        self._hand_publisher.publish(
            HandCommand(
                header=header(self._now(), ''),
                sequence=self._sequence,
                joint_names=list(HAND_JOINT_NAMES),
                joint_positions=[float(angle) for angle in joint_positions],
                duration=duration,
            )
        )

    def _latch(self, fault: Fault) -> None:
        """Keep the first fault; later ones follow from it, unless one explains it with a code."""
        if self._fault is None:
            self.get_logger().error(fault.message)
        if self._fault is None or (fault.code and not self._fault.code):
            self._fault = fault

    def _publish_state(self) -> None:
        measured = self._backend.measurement
        if measured is None:
            return
        message = ArmState(
            state=self._state(),
            fault='' if self._fault is None else self._fault.message,
            joint_names=list(self._planner.configuration.joint_names),
            joint_positions=measured.joint_positions.tolist(),
            joint_velocities=measured.joint_velocities,
            flange_pose=flange_to_msg(self._planner.kinematics, measured.joint_positions),
            controller_error=self._backend.error_code,
            emergency_stop=bool(self._emergency_stop.problem() or self._emergency_stop.missing()),
        )
        message.header.stamp = measured.stamp
        message.header.frame_id = BASE_FRAME
        self._state_publisher.publish(message)

    def _state(self) -> int:
        """One of the constants of the message."""
        if self._age() > self._settings.state_timeout:
            state = ArmState.DISCONNECTED
        elif self._fault is not None:
            state = ArmState.FAULT
        elif self._job is not None:
            state = ArmState.MOVING
        else:
            state = ArmState.HOLDING if self._holding else ArmState.IDLE
        return int(state)

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
    return run_node(ArmNode, 'arm')
