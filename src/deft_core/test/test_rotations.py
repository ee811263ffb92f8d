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


def same_turn(first, second):
    """Equal up to full turns."""
    difference = (np.asarray(first) - np.asarray(second) + np.pi) % (2.0 * np.pi) - np.pi
    np.testing.assert_allclose(difference, 0.0, atol=1e-8)


allowed_pitch = st.floats(-1.0, 1.0).map(lambda u: u * (np.pi / 2 - r.LEAST_GIMBAL_MARGIN))


@given(angle, allowed_pitch, angle)
def test_every_form_comes_back_from_every_other_inside_the_allowed_range(roll, tilt, yaw):
    """Numbers, not only the turns they stand for: what a policy learns from must be unique."""
    euler = np.array([roll, tilt, yaw])
    assert r.gimbal_margin(euler) >= r.LEAST_GIMBAL_MARGIN - 1e-12
    matrix = r.matrix_from_euler(euler)
    quaternion = r.quaternion_from_matrix(matrix)
    vector = r.rotation_vector_from_matrix(matrix)
    same_turn(r.euler_from_matrix(matrix), euler)
    same_turn(r.euler_from_matrix(r.matrix_from_quaternion(quaternion)), euler)
    same_turn(r.euler_from_matrix(r.matrix_from_rotation_vector(vector)), euler)
    back = r.quaternion_from_matrix(r.matrix_from_rotation_vector(vector))
    assert abs(back @ quaternion) == pytest.approx(1.0, abs=1e-12)
    again = r.rotation_vector_from_matrix(r.matrix_from_quaternion(quaternion))
    np.testing.assert_allclose(
        r.matrix_from_rotation_vector(again), r.matrix_from_rotation_vector(vector), atol=1e-12
    )


@given(angle, allowed_pitch, angle)
def test_euler_steps_turn_the_wrist_about_three_axes_inside_the_allowed_range(roll, tilt, yaw):
    """Away from gimbal lock small residuals in the three angles are three different turns."""
    step = 1e-6
    euler = np.array([roll, tilt, yaw])
    base = r.matrix_from_euler(euler)
    turns = [
        r.rotation_vector_from_matrix(r.matrix_from_euler(euler + d) @ base.T) / step
        for d in step * np.eye(3)
    ]
    # Two unit axes with the angle pi/2 - pitch between them, and one across both.
    smallest = np.linalg.svd(np.array(turns), compute_uv=False)[-1]
    assert smallest >= np.sqrt(1.0 - np.sin(np.pi / 2 - r.LEAST_GIMBAL_MARGIN)) * 0.999


@pytest.mark.parametrize(
    ('tilt', 'margin'),
    [
        (0.0, np.pi / 2),
        (np.pi / 2, 0.0),
        (-np.pi / 2, 0.0),
        (1.4, np.pi / 2 - 1.4),
        (np.pi, 1.5707963),
    ],
)
def test_gimbal_margin(tilt, margin):
    assert r.gimbal_margin([1.0, tilt, -2.0]) == pytest.approx(margin, abs=1e-6)


@given(st.integers(0, 5))
def test_many_rotation_vectors_at_once_are_those_one_by_one(count):
    vectors = np.random.default_rng(count).normal(size=(count, 3))
    together = r.matrices_from_rotation_vectors(vectors)
    assert together.shape == (count, 3, 3)
    for matrix, vector in zip(together, vectors, strict=True):
        np.testing.assert_allclose(matrix, r.matrix_from_rotation_vector(vector), atol=1e-15)


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
