# SPDX-License-Identifier: Apache-2.0
"""Messages to plain objects: grasps, priors, residuals, trajectories, transforms.

Nothing here imports ROS: messages of rclpy and messages that `rosbags` reads from a file serve
alike. Every function checks shape, names, finiteness and frame; hand joints are
reordered by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deft_core.errors import InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspResidual
from deft_core.prior import GraspPrior
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray


def time_from_msg(stamp: Any) -> float:
    """Seconds of a ROS time. [s]."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def order_joints(
    names: Sequence[str], values: Sequence[float], expected: Sequence[str]
) -> FloatArray:
    """Values in the order of `expected`, shape (len(expected),).

    Raises:
        InvalidInputError: Names are missing, unknown or double, or the lengths differ.
    """
    if len(names) != len(values) or sorted(names) != sorted(expected):
        wrong = sorted(set(names) ^ set(expected)) or 'double names'
        raise InvalidInputError(
            f'Expected the joints {", ".join(expected)} once each with one value, got '
            f'{len(names)} names and {len(values)} values; differing: {wrong}.'
        )
    by_name = dict(zip(names, values, strict=True))
    return np.array([by_name[name] for name in expected], dtype=np.float64)


def grasp_from_msg(message: Any) -> GraspParameters:
    """Grasp parameters of a message; raises InvalidInputError as `GraspParameters` does."""
    if not message.header.frame_id:
        raise InvalidInputError('Grasp parameters need a frame in header.frame_id, got none.')
    return GraspParameters(
        position=message.position,
        wrist_rotation=message.wrist_rotation,
        joint_positions=order_joints(
            message.joint_names, message.joint_positions, HAND_JOINT_NAMES
        ),
        frame_id=message.header.frame_id,
    )


def residual_from_msg(message: Any) -> GraspResidual:
    """Residual of a message; raises InvalidInputError as `GraspResidual` does."""
    return GraspResidual(
        position=message.position,
        wrist_rotation=message.wrist_rotation,
        joint_positions=order_joints(
            message.joint_names, message.joint_positions, HAND_JOINT_NAMES
        ),
    )


def distribution_from_msg(message: Any) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, shape (22,) each. [m, rad]."""
    return (
        residual_from_msg(message.mean).to_vector(),
        residual_from_msg(message.standard_deviation).to_vector(),
    )


def prior_from_msg(message: Any) -> GraspPrior:
    """Prior of a message."""
    return GraspPrior(
        grasp=grasp_from_msg(message.grasp),
        contact_point=np.asarray(message.contact_point, dtype=np.float64),
        contact_uncertainty=float(message.contact_uncertainty),
        source=message.source,
        task=message.task,
        instruction=message.instruction,
        calibration_id=message.calibration_id,
    )


def trajectory_from_msg(message: Any) -> WristTrajectory:
    """Trajectory of a message; raises InvalidInputError as `WristTrajectory` does."""
    return WristTrajectory(
        translations=np.array([_vector_from_msg(v) for v in message.translations]).reshape(-1, 3),
        rotation_vectors=np.array([_vector_from_msg(v) for v in message.rotation_vectors]).reshape(
            -1, 3
        ),
        rate=message.rate,
        source=message.source,
        frame_id=message.header.frame_id,
    )


def transform_from_msg(message: Any) -> FloatArray:
    """Rigid transform of a message, shape (4, 4). [m]."""
    q = message.rotation
    return transform(
        matrix_from_quaternion([q.x, q.y, q.z, q.w]), _vector_from_msg(message.translation)
    )


def _vector_from_msg(message: Any) -> FloatArray:
    return np.array([message.x, message.y, message.z])
