# SPDX-License-Identifier: Apache-2.0
"""Messages of the arm node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_arm.execution import Failure, PassedMark
from deft_arm.faults import Fault
from deft_arm.kinematics import ArmKinematics
from deft_arm.nodes.backend import Measurement
from deft_arm.paths import JointPath
from deft_arm.plan import Phase
from deft_arm.planning import EpisodePlanner
from deft_arm.safety import CollisionError, WorkspaceError
from deft_core.errors import DeftError, InvalidInputError, SafetyError, UnreachableError
from deft_core.frames import BASE_FRAME
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.encode import header, pose_to_msg
from deft_core.rotations import transform
from deft_core.validation import FloatArray
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import ArmState, HandCommand

FEEDBACK_PHASES: Final = {
    Phase.MOVE_TO_PREGRASP: ExecuteGrasp.Goal.PREGRASP,
    Phase.APPROACH: ExecuteGrasp.Goal.APPROACH,
    Phase.CLOSE_HAND: ExecuteGrasp.Goal.CLOSE,
    Phase.FOLLOW_TRAJECTORY: ExecuteGrasp.Goal.TRAJECTORY,
    Phase.HOLD: ExecuteGrasp.Goal.HOLD,
}
FAILURE_NAMES: Final = {
    Failure.COLLISION: 'COLLISION',
    Failure.STALE_STATE: 'STALE_STATE',
    Failure.MOTION_TIMEOUT: 'MOTION_TIMEOUT',
}
# The more special kinds stand first.
_REFUSALS: Final[tuple[tuple[type[DeftError], str, str], ...]] = (
    (WorkspaceError, 'OUTSIDE_WORKSPACE', 'UNREACHABLE'),
    (UnreachableError, 'UNREACHABLE', 'UNREACHABLE'),
    (CollisionError, 'COLLISION', 'COLLISION'),
    (SafetyError, 'CONTROLLER_ERROR', 'CONTROLLER_ERROR'),
    (InvalidInputError, 'INVALID_GOAL', 'UNKNOWN'),
)


def error_code(action: type[ExecuteGrasp] | type[ReturnHome], name: str) -> int:
    """Number of an error constant of an action."""
    return int(getattr(action.Goal, name))


def refusal_name(action: type[ExecuteGrasp] | type[ReturnHome], error: DeftError) -> str:
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


def hand_command(
    joint_positions: Sequence[float] | FloatArray, duration: float, sequence: int, stamp: float
) -> HandCommand:
    """Command to the hand driver. Shape (16,) [rad], duration and stamp [s]."""
    return HandCommand(
        header=header(stamp, ''),
        sequence=sequence,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=[float(angle) for angle in joint_positions],
        duration=duration,
    )


def flange_matrix(kinematics: ArmKinematics, joint_positions: FloatArray) -> FloatArray:
    """Flange in the base frame. Shape (4, 4). [m]."""
    rotation, _ = kinematics.forward(joint_positions)
    return transform(rotation, kinematics.flange_position(joint_positions))


def marks_to_msg(marks: Sequence[PassedMark], kinematics: ArmKinematics) -> list[PoseStamped]:
    """Stamped flange poses at the end of each displacement."""
    return [
        PoseStamped(
            header=header(mark.stamp, BASE_FRAME),
            pose=pose_to_msg(flange_matrix(kinematics, mark.joint_positions)),
        )
        for mark in marks
    ]


def state_to_msg(
    state: int, fault: Fault | None, measured: Measurement, planner: EpisodePlanner
) -> ArmState:
    """State of the arm, one of the constants of the message, with the newest measurement."""
    flange = flange_matrix(planner.kinematics, measured.joint_positions)
    message = ArmState(
        state=state,
        fault='' if fault is None else fault.message,
        joint_names=list(planner.configuration.joint_names),
        joint_positions=measured.joint_positions.tolist(),
        joint_velocities=measured.joint_velocities,
        flange_pose=pose_to_msg(flange),
    )
    message.header.stamp = measured.stamp
    message.header.frame_id = BASE_FRAME
    return message
