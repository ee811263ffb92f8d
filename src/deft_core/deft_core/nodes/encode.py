# SPDX-License-Identifier: Apache-2.0
"""Messages to plain objects and back: grasps, priors, residuals, trajectories, transforms.

Every `*_from_msg` checks shape, names, finiteness and frame; hand joints are reordered by name.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Quaternion, Transform, Vector3
from std_msgs.msg import Header

from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspResidual
from deft_core.prior import GraspPrior
from deft_core.rotations import quaternion_from_matrix
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray
from deft_msgs.msg import GraspDistribution
from deft_msgs.msg import GraspParameters as GraspParametersMsg
from deft_msgs.msg import GraspPrior as GraspPriorMsg
from deft_msgs.msg import GraspResidual as GraspResidualMsg
from deft_msgs.msg import WristTrajectory as WristTrajectoryMsg

_MANO_POSE_SIZE = 45


def time_to_msg(stamp: float) -> Time:
    """ROS time of seconds since the epoch of the ROS clock. [s]."""
    seconds = math.floor(stamp)
    nanoseconds = min(round((stamp - seconds) * 1e9), 999_999_999)
    return Time(sec=seconds, nanosec=nanoseconds)


def header(stamp: float, frame_id: str) -> Header:
    """Header with a stamp in seconds. [s]."""
    return Header(stamp=time_to_msg(stamp), frame_id=frame_id)


def grasp_to_msg(grasp: GraspParameters, stamp: float) -> GraspParametersMsg:
    """Message of grasp parameters."""
    return GraspParametersMsg(
        header=header(stamp, grasp.frame_id),
        position=grasp.position,
        wrist_rotation=grasp.wrist_rotation,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=grasp.joint_positions,
    )


def residual_to_msg(residual: GraspResidual) -> GraspResidualMsg:
    """Message of a residual."""
    return GraspResidualMsg(
        position=residual.position,
        wrist_rotation=residual.wrist_rotation,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=residual.joint_positions,
    )


def distribution_to_msg(mean: npt.ArrayLike, std: npt.ArrayLike) -> GraspDistribution:
    """Message of a diagonal Gaussian; mean and std have shape (22,). [m, rad]."""
    return GraspDistribution(
        mean=residual_to_msg(GraspResidual.from_vector(mean)),
        standard_deviation=residual_to_msg(GraspResidual.from_vector(std)),
    )


def prior_to_msg(prior: GraspPrior, stamp: float) -> GraspPriorMsg:
    """Message of a prior, without the heat map that only a learned model has."""
    return GraspPriorMsg(
        header=header(stamp, prior.grasp.frame_id),
        grasp=grasp_to_msg(prior.grasp, stamp),
        contact_point=prior.contact_point,
        contact_uncertainty=prior.contact_uncertainty,
        source=prior.source,
        task=prior.task,
        instruction=prior.instruction,
        calibration_id=prior.calibration_id,
        mano_pose=np.full(_MANO_POSE_SIZE, np.nan, dtype=np.float32),
    )


def trajectory_to_msg(trajectory: WristTrajectory, stamp: float) -> WristTrajectoryMsg:
    """Message of a post-grasp trajectory."""
    return WristTrajectoryMsg(
        header=header(stamp, trajectory.frame_id),
        rate=trajectory.rate,
        translations=[_vector_to_msg(row) for row in trajectory.translations],
        rotation_vectors=[_vector_to_msg(row) for row in trajectory.rotation_vectors],
        source=trajectory.source,
    )


def transform_to_msg(matrix: npt.ArrayLike) -> Transform:
    """Message of a rigid transform, shape (4, 4). [m]."""
    checked = np.asarray(matrix, dtype=np.float64)
    return Transform(
        translation=_vector_to_msg(checked[:3, 3]), rotation=_quaternion_to_msg(checked)
    )


def pose_to_msg(matrix: npt.ArrayLike) -> Pose:
    """Pose message of a rigid transform, shape (4, 4). [m]."""
    checked = np.asarray(matrix, dtype=np.float64)
    pose = Pose(orientation=_quaternion_to_msg(checked))
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in checked[:3, 3])
    return pose


def _quaternion_to_msg(matrix: FloatArray) -> Quaternion:
    x, y, z, w = (float(v) for v in quaternion_from_matrix(matrix[:3, :3]))
    return Quaternion(x=x, y=y, z=z, w=w)


def _vector_to_msg(vector: FloatArray) -> Vector3:
    return Vector3(x=float(vector[0]), y=float(vector[1]), z=float(vector[2]))
