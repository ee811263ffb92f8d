# SPDX-License-Identifier: Apache-2.0
"""Moves the arm: grasps one at a time, the way home, and a stop at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from deft_arm.configuration import load_arm_configuration
from deft_arm.execution import ExecutionSettings, Observed, PlanExecution
from deft_arm.nodes.convert import (
    FAILURE_NAMES,
    FEEDBACK_PHASES,
    error_code,
    flange_matrix,
    hand_command,
    marks_to_msg,
    path_to_msg,
    refusal_name,
)
from deft_arm.plan import EpisodePlan, MotionPlan, PlannedPhase
from deft_arm.planning import EpisodePlanner
from deft_core.decode import grasp_from_msg, order_joints, trajectory_from_msg
from deft_core.errors import DeftError, InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.nodes.encode import header, pose_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import COMMAND, LATCHED, LEASED_COMMAND, STATE, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_core.validation import FloatArray, finite_array
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, EmergencyStop, HandCommand, HandState

_CYCLE: Final = 0.02  # [s] of real time
_STATE_PERIOD: Final = 0.1  # [s] of real time
Action = type[ExecuteGrasp] | type[ReturnHome]


@dataclass(frozen=True)
class ArmParameters(ExecutionSettings):
    """Parameters of the node `arm`."""

    arm: str = field(default='xarm6', metadata={'doc': 'name of a file in config/arms'})


@dataclass
class Job:
    """The motion that is running, for one goal; created at a monotonic time [s]."""

    action: Action
    goal: ServerGoalHandle
    execution: PlanExecution
    feedback: Callable[[float], Any]
    created: float


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
        self._job: Job | None = None
        self._joints: FloatArray | None = None
        self._velocities: list[float] = []
        self._stamp = header(0.0, BASE_FRAME).stamp
        self._received: float | None = None
        self._hand: HandState | None = None
        self._hand_received = 0.0
        self._stop: EmergencyStop | None = None
        self._holding = False
        self._fault = ''
        self._sequence = 0
        self._arm_publisher = self.create_publisher(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', COMMAND
        )
        self._hand_publisher = self.create_publisher(HandCommand, '/hand/command', LEASED_COMMAND)
        self._state_publisher = self.create_publisher(ArmState, '/arm/state', STATE_PUBLISHER)
        self.create_subscription(JointState, '/joint_states', self._on_joints, STATE)
        self.create_subscription(HandState, '/hand/state', self._on_hand, STATE)
        self.create_subscription(EmergencyStop, '/emergency_stop', self._on_stop, LATCHED)
        self._servers = [
            self._serve(ExecuteGrasp, '/arm/execute_grasp', self._plan_grasp),
            self._serve(ReturnHome, '/arm/return_home', self._plan_home),
        ]
        # The ROS clock may stop; what must notice this runs on real time.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_CYCLE, self._cycle, clock=steady)
        self.create_timer(_STATE_PERIOD, self._publish_state, clock=steady)

    def close(self) -> None:
        """Bring a moving arm to rest."""
        if self._job is not None:
            self._send_stop(self._job)
        for server in self._servers:
            server.destroy()

    def _serve(
        self, action: Action, name: str, plan: Callable[[Any], MotionPlan]
    ) -> ActionServer[Any, Any, Any]:
        return ActionServer(
            self,
            action,
            name,
            execute_callback=_never,
            goal_callback=self._on_goal,
            handle_accepted_callback=partial(self._start, action, plan),
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _on_goal(self, _: Any) -> GoalResponse:
        if self._job is not None:
            self.get_logger().warning('Rejected a goal: the arm is busy with another one.')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_joints(self, message: JointState) -> None:
        names = self._planner.configuration.joint_names
        try:
            joints = finite_array(
                'joint states', order_joints(message.name, message.position, names), (len(names),)
            )
        except InvalidInputError as error:
            # Counts as silence: the time-out acts when nothing better follows.
            self.get_logger().error(f'Refused joint states: {error}', throttle_duration_sec=1.0)
            return
        self._joints = joints
        self._velocities = (
            order_joints(message.name, message.velocity, names).tolist()
            if len(message.velocity) == len(message.name)
            else []
        )
        self._stamp = message.header.stamp
        self._received = time.monotonic()

    def _on_hand(self, message: HandState) -> None:
        self._hand = message
        self._hand_received = time.monotonic()

    def _on_stop(self, message: EmergencyStop) -> None:
        self._stop = message if message.pressed else None
        self._cycle()

    def _start(self, action: Action, plan: Callable[[Any], MotionPlan], goal: Any) -> None:
        """Plan an accepted goal and hand it to the cycle, or refuse it with a reason."""
        name, message = self._obstacle()
        if name:
            self._finish(action, goal, name, message)
            return
        try:
            motion = plan(goal.request)
        except DeftError as error:
            self._finish(action, goal, refusal_name(action, error), str(error))
            return
        execution = PlanExecution(motion, self._settings)
        grasping = action is ExecuteGrasp
        feedback = partial(self._grasp_feedback if grasping else self._home_feedback, execution)
        self._fault = ''
        self._holding = False
        self._job = Job(action, goal, execution, feedback, time.monotonic())

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
        """One look at the running motion."""
        job = self._job
        if job is None:
            return
        if job.goal.is_cancel_requested:
            self._stop_job('CANCELLED', 'The motion was cancelled; the arm holds its position.')
            return
        name, message = self._obstacle()
        if name:
            self._stop_job(name, message)
            return
        if self._received is None or self._received < job.created:
            return  # Planning took a while: start from a measurement that is newer.
        update = job.execution.update(self._observed())
        if update.failure is not None:
            self._stop_job(FAILURE_NAMES[update.failure], update.message)
            return
        if update.start is not None:
            self._send(update.start)
        job.goal.publish_feedback(job.feedback(self._now()))
        if update.finished:
            self._job = None
            self._holding = job.action is ExecuteGrasp
            self._finish(job.action, job.goal, 'NONE', '', job.execution)

    def _obstacle(self) -> tuple[str, str]:
        """Error constant and message of what forbids motion now; empty where nothing does."""
        limit = self._settings.state_timeout
        if self._stop is not None:
            return 'EMERGENCY_STOP', (
                f'Emergency stop by {self._stop.source}: {self._stop.reason}. Release it and '
                'return home.'
            )
        if self._age() > limit:
            return 'STALE_STATE', (
                f'No joint states on /joint_states for {self._age():.1f} s, allowed are '
                f'{limit} s; is the driver of the arm running?'
            )
        if self._hand is None or self._since(self._hand_received) > limit:
            return 'HAND_FAULT', 'No state on /hand/state; is the hand driver running?'
        if self._hand.state != HandState.ENABLED:
            return 'HAND_FAULT', (
                f'The hand is not enabled. {self._hand.fault} Call /hand/clear_fault where it is '
                'in fault, then /hand/enable.'
            )
        return '', ''

    def _stop_job(self, name: str, message: str) -> None:
        """Bring the arm to rest, then answer."""
        job = self._job
        assert job is not None
        self._job = None
        self._send_stop(job)
        if name != 'CANCELLED':
            self._fault = message
        self._finish(job.action, job.goal, name, message, job.execution)

    def _send(self, phase: PlannedPhase) -> None:
        names = self._planner.configuration.joint_names
        self._arm_publisher.publish(path_to_msg(phase.arm, names))
        if phase.hand_joint_positions is not None:
            self._sequence += 1
            self._hand_publisher.publish(
                hand_command(
                    phase.hand_joint_positions, phase.hand_duration, self._sequence, self._now()
                )
            )

    def _send_stop(self, job: Job) -> None:
        path = job.execution.stop_path(self._observed())
        self._arm_publisher.publish(path_to_msg(path, self._planner.configuration.joint_names))

    def _finish(
        self,
        action: Action,
        goal: ServerGoalHandle,
        name: str,
        message: str,
        execution: PlanExecution | None = None,
    ) -> None:
        """Send the result of a goal and set its terminal state."""
        result = action.Result(error_code=error_code(action, name), error_message=message)
        if action is ExecuteGrasp:
            result.last_phase = ExecuteGrasp.Goal.PLAN
            if execution is not None:
                result.last_phase = FEEDBACK_PHASES[execution.phase.name]
                result.executed_poses = marks_to_msg(execution.marks, self._planner.kinematics)

        def answer(handle: ServerGoalHandle) -> Any:
            if name == 'NONE':
                handle.succeed()
            elif name == 'CANCELLED':
                handle.canceled()
            else:
                handle.abort()
            return result

        if name not in ('NONE', 'CANCELLED'):
            self.get_logger().warning(message)
        goal.execute(answer)

    def _grasp_feedback(self, execution: PlanExecution, now: float) -> ExecuteGrasp.Feedback:
        return ExecuteGrasp.Feedback(
            phase=FEEDBACK_PHASES[execution.phase.name], progress=execution.progress(now)
        )

    def _home_feedback(self, execution: PlanExecution, now: float) -> ReturnHome.Feedback:
        return ReturnHome.Feedback(progress=execution.total_progress(now))

    def _publish_state(self) -> None:
        if self._joints is None:
            return
        state = ArmState.IDLE
        if self._age() > self._settings.state_timeout:
            state = ArmState.DISCONNECTED
        elif self._job is not None:
            state = ArmState.MOVING
        elif self._fault:
            state = ArmState.FAULT
        elif self._holding:
            state = ArmState.HOLDING
        message = ArmState(
            state=state,
            fault=self._fault,
            joint_names=list(self._planner.configuration.joint_names),
            joint_positions=self._joints.tolist(),
            joint_velocities=self._velocities,
            flange_pose=pose_to_msg(flange_matrix(self._planner.kinematics, self._joints)),
            emergency_stop=self._stop is not None,
        )
        message.header.stamp = self._stamp
        message.header.frame_id = BASE_FRAME
        self._state_publisher.publish(message)

    def _observed(self) -> Observed:
        return Observed(self._now(), self._measured(), self._age())

    def _measured(self) -> FloatArray:
        assert self._joints is not None, 'motions are refused before the first joint states'
        return self._joints

    def _age(self) -> float:
        """Real time since the last joint states. [s]."""
        return float('inf') if self._received is None else self._since(self._received)

    def _since(self, received: float) -> float:
        """Real time since something was received, not counting our own planning. [s]."""
        created = 0.0 if self._job is None else self._job.created
        return time.monotonic() - max(received, created)

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return self.get_clock().now().nanoseconds * 1e-9


def _never(_: ServerGoalHandle) -> Any:
    """Every goal is run by `handle_accepted_callback`, so that this is never called."""
    raise AssertionError('a goal was executed without its answer')


def main() -> int:
    """Run the node."""
    return run_node(ArmNode)
