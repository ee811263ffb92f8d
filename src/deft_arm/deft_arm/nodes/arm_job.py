# SPDX-License-Identifier: Apache-2.0
"""The motion of one goal, from its arrival to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.action.server import ServerGoalHandle

from deft_arm.execution import PlanExecution
from deft_arm.kinematics import ArmKinematics
from deft_arm.nodes.convert import FEEDBACK_PHASES, error_code, marks_to_msg
from deft_arm.plan import MotionPlan
from deft_msgs.action import ExecuteGrasp, ReturnHome

Action = type[ExecuteGrasp] | type[ReturnHome]


@dataclass
class Job:
    """One goal.

    Attributes:
        action: Its type.
        goal: Its handle.
        plan: Makes the plan from where the arm is.
        arrived: Monotonic time. [s].
        execution: None until motion is allowed and planned.
        planned: Monotonic time after planning. [s].
    """

    action: Action
    goal: ServerGoalHandle
    plan: Callable[[Any], MotionPlan]
    arrived: float = field(default_factory=time.monotonic)
    execution: PlanExecution | None = None
    planned: float = 0.0

    @property
    def grasps(self) -> bool:
        """Whether this is a grasp and not the way home."""
        return self.action is ExecuteGrasp

    def feed_back(self, now: float) -> None:
        """Publish where the motion is, at a ROS time [s]."""
        execution = self.execution
        assert execution is not None
        if self.grasps:
            feedback: Any = ExecuteGrasp.Feedback(
                phase=FEEDBACK_PHASES[execution.phase.name], progress=execution.progress(now)
            )
        else:
            feedback = ReturnHome.Feedback(progress=execution.total_progress(now))
        self.goal.publish_feedback(feedback)

    def answer(self, name: str, message: str, kinematics: ArmKinematics) -> None:
        """Send the result and set the terminal state.

        Args:
            name: Error constant of the action.
            message: What happened and what to do.
            kinematics: To tell where the flange was.
        """
        code = error_code(self.action, name)
        result = self.action.Result(error_code=code, error_message=message)
        if self.grasps:
            result.last_phase = ExecuteGrasp.Goal.PLAN
            if self.execution is not None:
                result.last_phase = FEEDBACK_PHASES[self.execution.phase.name]
                result.executed_poses = marks_to_msg(self.execution.marks, kinematics)

        def end(handle: ServerGoalHandle) -> Any:
            if name == 'NONE':
                handle.succeed()
            elif name == 'CANCELLED':
                handle.canceled()
            else:
                handle.abort()
            return result

        self.goal.execute(end)
