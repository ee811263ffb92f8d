# SPDX-License-Identifier: Apache-2.0
"""Conversions between rotation forms, and 4x4 rigid transforms.

Conventions: right-handed; quaternions are (x, y, z, w); Euler angles are (roll, pitch, yaw)
about the fixed x, y and z axes in this order (extrinsic 'xyz', REP-103), which is also what
xArm controllers call RPY.

Why this order: a grasp shown on the controller's own display reads the same, and its gimbal lock
(pitch = +-90 degrees, where roll and yaw turn about one axis) lies where the flange's x axis, the
palm's normal, points straight up or down. Wrist poses of table-top grasps are chosen away from
there (side grasps 0, pinches from above 45 degrees) and the residual of the paper adds 0.2 rad of
spread: `gimbal_margin` says what is left, and the arm refuses a grasp with less than
`LEAST_GIMBAL_MARGIN`, so that no grasp that is tried is near it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array

LEAST_GIMBAL_MARGIN = 0.1
"""Least distance of the pitch of a grasp from gimbal lock [rad]."""

_ORTHONORMAL_TOLERANCE = 1e-6


def _rotation(matrix: npt.ArrayLike) -> Rotation:
    checked = finite_array('rotation matrix', matrix, (3, 3))
    error = float(np.abs(checked @ checked.T - np.eye(3)).max())
    if error > _ORTHONORMAL_TOLERANCE or np.linalg.det(checked) < 0.0:
        raise InvalidInputError(
            f'A rotation matrix must be orthonormal with determinant +1; it is off by {error:.1e}.'
        )
    return Rotation.from_matrix(checked)


def matrix_from_euler(euler: npt.ArrayLike) -> FloatArray:
    """Rotation matrix, shape (3, 3), of extrinsic xyz Euler angles, shape (3,). [rad]."""
    checked = finite_array('Euler angles', euler, (3,))
    return np.asarray(Rotation.from_euler('xyz', checked).as_matrix(), dtype=np.float64)


def euler_from_matrix(matrix: npt.ArrayLike) -> FloatArray:
    """Extrinsic xyz Euler angles, shape (3,), of a rotation matrix, shape (3, 3). [rad]."""
    return np.asarray(_rotation(matrix).as_euler('xyz'), dtype=np.float64)


def gimbal_margin(euler: npt.ArrayLike) -> float:
    """Distance of the pitch of Euler angles, shape (3,), from gimbal lock, 0 to pi/2. [rad]."""
    pitch = float(finite_array('Euler angles', euler, (3,))[1])
    return abs((pitch % np.pi) - 0.5 * np.pi)


def matrix_from_quaternion(quaternion: npt.ArrayLike) -> FloatArray:
    """Rotation matrix, shape (3, 3), of a quaternion (x, y, z, w) of any positive length.

    Raises:
        InvalidInputError: The quaternion is (nearly) zero or not finite.
    """
    checked = finite_array('quaternion', quaternion, (4,))
    if float(np.linalg.norm(checked)) < 1e-9:
        raise InvalidInputError('A quaternion must not be zero; was the message filled in?')
    return np.asarray(Rotation.from_quat(checked).as_matrix(), dtype=np.float64)


def quaternion_from_matrix(matrix: npt.ArrayLike) -> FloatArray:
    """Unit quaternion (x, y, z, w) with w >= 0 of a rotation matrix, shape (3, 3)."""
    return np.asarray(_rotation(matrix).as_quat(canonical=True), dtype=np.float64)


def matrix_from_rotation_vector(vector: npt.ArrayLike) -> FloatArray:
    """Rotation matrix, shape (3, 3), of an axis times angle, shape (3,). [rad]."""
    checked = finite_array('rotation vector', vector, (3,))
    return np.asarray(Rotation.from_rotvec(np.array(checked)).as_matrix(), dtype=np.float64)


def matrices_from_rotation_vectors(vectors: npt.ArrayLike) -> FloatArray:
    """Rotation matrices, shape (n, 3, 3), of n axes times angles, shape (n, 3). [rad]."""
    checked = finite_array('rotation vectors', vectors, (-1, 3))
    if len(checked) == 0:
        return np.empty((0, 3, 3))
    return np.asarray(Rotation.from_rotvec(np.array(checked)).as_matrix(), dtype=np.float64)


def rotation_vector_from_matrix(matrix: npt.ArrayLike) -> FloatArray:
    """Axis times angle, shape (3,), of a rotation matrix, shape (3, 3). [rad]."""
    return np.asarray(_rotation(matrix).as_rotvec(), dtype=np.float64)


def transform(rotation: npt.ArrayLike, translation: npt.ArrayLike) -> FloatArray:
    """Rigid transform, shape (4, 4), from a rotation (3, 3) and a translation (3,). [m]."""
    matrix = np.eye(4)
    matrix[:3, :3] = finite_array('rotation matrix', rotation, (3, 3))
    matrix[:3, 3] = finite_array('translation', translation, (3,))
    return matrix


def rigid_transform(matrix: npt.ArrayLike) -> FloatArray:
    """A rigid transform, shape (4, 4) [m], as it was given.

    Raises:
        InvalidInputError: It is none: its rotation or its last row are not those of one.
    """
    checked = finite_array('transform', matrix, (4, 4))
    _rotation(checked[:3, :3])
    if not np.array_equal(checked[3], [0.0, 0.0, 0.0, 1.0]):
        raise InvalidInputError(
            f'The last row of a transform must be 0, 0, 0, 1, got {checked[3].tolist()}.'
        )
    return checked


def invert_transform(matrix: npt.ArrayLike) -> FloatArray:
    """Inverse of a rigid transform, shape (4, 4)."""
    checked = finite_array('transform', matrix, (4, 4))
    rotation = checked[:3, :3].T
    return transform(rotation, -rotation @ checked[:3, 3])


def transform_points(matrix: npt.ArrayLike, points: npt.ArrayLike) -> FloatArray:
    """Points (n, 3) [m] moved by a transform (4, 4); NaN rows stay NaN."""
    checked = finite_array('transform', matrix, (4, 4))
    return np.asarray(points, dtype=np.float64) @ checked[:3, :3].T + checked[:3, 3]
