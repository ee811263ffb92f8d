# SPDX-License-Identifier: Apache-2.0
"""Messages of the arm node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_arm.execution import PassedMark
from deft_arm.planning.kinematics import ArmKinematics
from deft_arm.planning.paths import JointPath
from deft_arm.planning.plan import Phase
from deft_arm.planning.safety import CollisionError, WorkspaceError
from deft_core.errors import DeftError, InvalidInputError, SafetyError, UnreachableError
from deft_core.frames import BASE_FRAME
from deft_core.nodes.encode import header, pose_to_msg
from deft_core.rotations import transform
from deft_core.validation import FloatArray
from deft_msgs.action import ExecuteGrasp, ReturnHome

Action = type[ExecuteGrasp] | type[ReturnHome]


@dataclass(frozen=True)
class Fault:
    """Why nothing moves until a person has cleared it."""

    name: str  # error constant of the actions, such as COLLISION
    message: str  # what happened and what to do
    code: int = 0  # of the controller, 0 where it has none


@dataclass(frozen=True, eq=False)
class Measurement:
    """One report of the arm."""

    joint_positions: FloatArray  # (6,) [rad]
    joint_velocities: list[float]  # [rad/s] empty where they are not known
    received: float  # [s] monotonic
    stamp: Time = field(default_factory=Time)


FEEDBACK_PHASES: Final = {
    Phase.MOVE_TO_PREGRASP: ExecuteGrasp.Goal.PREGRASP,
    Phase.APPROACH: ExecuteGrasp.Goal.APPROACH,
    Phase.CLOSE_HAND: ExecuteGrasp.Goal.CLOSE,
    Phase.FOLLOW_TRAJECTORY: ExecuteGrasp.Goal.TRAJECTORY,
    Phase.HOLD: ExecuteGrasp.Goal.HOLD,
}
# The more special kinds stand first. Names while grasping, then while returning home.
_REFUSALS: Final[tuple[tuple[type[DeftError], str, str], ...]] = (
    (WorkspaceError, 'OUTSIDE_WORKSPACE', 'UNREACHABLE'),
    (UnreachableError, 'UNREACHABLE', 'UNREACHABLE'),
    (CollisionError, 'COLLISION', 'COLLISION'),
    (SafetyError, 'CONTROLLER_ERROR', 'CONTROLLER_ERROR'),
    (InvalidInputError, 'INVALID_GOAL', 'UNKNOWN'),
)


def refusal_name(action: Action, error: DeftError) -> str:
    """Error constant that stands for a refused plan."""
    for kind, when_grasping, when_returning in _REFUSALS:
        if isinstance(error, kind):
            return when_grasping if action is ExecuteGrasp else when_returning
    return 'UNKNOWN'


def path_to_msg(path: JointPath, joint_names: Sequence[str]) -> JointTrajectory:
    """Trajectory that starts when it is received (a zero stamp)."""
    points = []
    for time, positions in zip(path.times, path.positions, strict=True):
        # In one step, so that rounding cannot give 1e9 nanoseconds.
        seconds, nanoseconds = divmod(round(float(time) * 1e9), 1_000_000_000)
        points.append(
            JointTrajectoryPoint(
                positions=positions.tolist(),
                time_from_start=Duration(sec=seconds, nanosec=nanoseconds),
            )
        )
    return JointTrajectory(joint_names=list(joint_names), points=points)


def flange_to_msg(kinematics: ArmKinematics, joint_positions: FloatArray) -> Any:
    """Flange in the base frame."""
    rotation, _ = kinematics.forward(joint_positions)
    return pose_to_msg(transform(rotation, kinematics.flange_position(joint_positions)))


def marks_to_msg(marks: Sequence[PassedMark], kinematics: ArmKinematics) -> list[PoseStamped]:
    """Stamped flange poses at the end of each displacement."""
    return [
        PoseStamped(
            header=header(mark.stamp, BASE_FRAME),
            pose=flange_to_msg(kinematics, mark.joint_positions),
        )
        for mark in marks
    ]
