# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core import rotations as r
from deft_core.errors import InvalidInputError

angle = st.floats(-3.0, 3.0)
pitch = st.floats(-1.5, 1.5)


@given(angle, pitch, angle)
def test_all_forms_agree(roll, tilt, yaw):
    matrix = r.matrix_from_euler([roll, tilt, yaw])
    for there_and_back in (
        r.matrix_from_euler(r.euler_from_matrix(matrix)),
        r.matrix_from_quaternion(r.quaternion_from_matrix(matrix)),
        r.matrix_from_rotation_vector(r.rotation_vector_from_matrix(matrix)),
    ):
        np.testing.assert_allclose(there_and_back, matrix, atol=1e-9)


def test_euler_angles_are_about_fixed_axes_roll_first():
    matrix = r.matrix_from_euler([np.pi / 2, 0.0, np.pi / 2])
    # roll turns y to z, yaw leaves z alone
    np.testing.assert_allclose(matrix @ [0, 1, 0], [0, 0, 1], atol=1e-12)


@given(angle, pitch, angle, st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_inverse_undoes_a_transform(roll, tilt, yaw, translation):
    T = r.transform(r.matrix_from_euler([roll, tilt, yaw]), translation)
    points = np.array([[0.1, -0.2, 0.3], [1.0, 2.0, 3.0]])
    back = r.transform_points(r.invert_transform(T), r.transform_points(T, points))
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_zero_quaternion_and_skewed_matrix_are_refused():
    with pytest.raises(InvalidInputError, match='zero'):
        r.matrix_from_quaternion([0, 0, 0, 0])
    with pytest.raises(InvalidInputError, match='orthonormal'):
        r.quaternion_from_matrix(np.diag([1.0, 1.0, 1.1]))
    with pytest.raises(InvalidInputError, match='orthonormal'):
        r.euler_from_matrix(np.diag([1.0, 1.0, -1.0]))
