# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_core.errors import InvalidInputError
from deft_core.grasp import GRASP_DIMENSION, HAND_JOINT_NAMES, GraspParameters, GraspResidual

vectors = arrays(np.float64, GRASP_DIMENSION, elements=st.floats(-10, 10))


def test_parametrisation_has_the_22_numbers_of_table_1():
    assert GRASP_DIMENSION == 3 + 3 + 16 == 22
    assert len(set(HAND_JOINT_NAMES)) == 16


@given(vectors)
def test_vector_round_trip(vector):
    assert np.array_equal(GraspParameters.from_vector(vector).to_vector(), vector)
    assert np.array_equal(GraspResidual.from_vector(vector).to_vector(), vector)


@given(vectors, vectors)
def test_adding_a_residual_adds_every_number(prior, residual):
    total = GraspParameters.from_vector(prior, 'cell') + GraspResidual.from_vector(residual)
    assert np.array_equal(total.to_vector(), prior + residual)
    assert total.frame_id == 'cell'


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_refused(bad):
    vector = np.zeros(GRASP_DIMENSION)
    vector[4] = bad
    with pytest.raises(InvalidInputError, match='finite'):
        GraspParameters.from_vector(vector)


def test_wrong_length_names_both_shapes():
    with pytest.raises(InvalidInputError, match=r'\(22,\), got \(21,\)'):
        GraspResidual.from_vector(np.zeros(21))


def test_arrays_cannot_be_changed_from_outside():
    vector = np.zeros(GRASP_DIMENSION)
    grasp = GraspParameters.from_vector(vector)
    vector[0] = 1.0
    assert grasp.position[0] == 0.0
    with pytest.raises(ValueError, match='read-only'):
        grasp.position[0] = 1.0
