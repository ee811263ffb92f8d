# SPDX-License-Identifier: Apache-2.0
"""Predictors on objects whose right grasp can be said beforehand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_affordance.predictors import PREDICTORS, predictor
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import WRIST
from deft_core.observation import ObjectObservation
from deft_core.rotations import matrix_from_euler
from deft_core.task import GraspRule, Pregrasp, Task

TABLE = 0.03  # [m] height of the table, so that height and z are told apart
HALF_CLOSED = tuple(np.linspace(0.1, 0.8, 16))
TASK = Task(
    name='pick_cup',
    instruction='pick up the cup',
    object_sets={'train': ('a',), 'test': ('b',)},
    trajectory='none.json',
    pregrasp=Pregrasp(distance=0.1, direction=(0.7, 0.0, 0.7)),
    open_hand=(0.0,) * 16,
    half_closed_hand=HALF_CLOSED,
)


def observe(size=(0.08, 0.07, 0.10), angle=0.0, **changes):
    """Box of `size` along its turned lying axes and up, with points on its whole surface."""
    cos, sin = math.cos(angle), math.sin(angle)
    axes = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array([0.55, 0.1, TABLE + size[2] / 2])
    generator = np.random.default_rng(0)
    unit = generator.uniform(-0.5, 0.5, size=(3000, 3))
    side = generator.integers(0, 3, size=3000)
    unit[np.arange(3000), side] = np.where(generator.random(3000) < 0.5, -0.5, 0.5)
    order = np.argsort(-np.array(size), kind='stable')
    values = {
        'stamp': 1.5,
        'mask': np.ones((4, 6), dtype=bool),
        'crop_box': (1, 0, 5, 4),
        'points': middle + (unit * size) @ axes.T,
        'table_plane': np.array([0.0, 0.0, 1.0, -TABLE]),
        'centre': middle,
        'axes': axes[:, order],
        'extents': np.array(size)[order],
        'height': size[2],
        'touches_border': False,
        'calibration_id': 'cell',
    }
    return ObjectObservation(**{**values, **changes})


def propose(observation, name='geometric', seed=0, task=TASK):
    return predictor(name)(observation, task, np.random.default_rng(seed))


FLAT = (0.16, 0.03, 0.02)


def test_upright_object_gets_a_side_grasp_above_its_middle():
    prior = propose(observe())
    palm, _, fingers = prior.grasp.rotation_matrix().T
    np.testing.assert_allclose(fingers, np.array([1, 0.05, -0.5]) / math.sqrt(1.2525), atol=1e-9)
    assert palm[1] > 0.99
    np.testing.assert_allclose(prior.grasp.position[:2], [0.55, 0.1], atol=1e-12)
    assert 0.55 <= (prior.grasp.position[2] - TABLE) / 0.10 <= 0.60


@pytest.mark.parametrize(
    ('size', 'side_grasp'),
    [((0.1, 0.1, 0.081), True), ((0.1, 0.1, 0.079), False), ((0.05, 0.1, 0.079), False)],
)
def test_height_over_the_longest_lying_side_decides(size, side_grasp):
    palm = propose(observe(size)).grasp.rotation_matrix()[:, 0]
    assert (palm[1] > 0.9) == side_grasp


def test_a_task_may_name_wrist_height_and_offset():
    rule = GraspRule(wrist='hook', height=0.9, offset=(0.01, 0.0, 0.02))
    prior = propose(observe(), task=dataclasses.replace(TASK, grasp=rule))
    palm, _, fingers = prior.grasp.rotation_matrix().T
    np.testing.assert_allclose(fingers, [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(palm, [-1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(
        prior.grasp.position, [0.55 - 0.01, 0.1, TABLE + 0.9 * 0.10 - 0.02], atol=1e-9
    )
    with pytest.raises(ConfigurationError, match="did you mean 'hook'"):
        GraspRule(wrist='hok')


@given(st.floats(-math.pi, math.pi))
def test_pinch_closes_across_the_long_axis_with_the_smallest_turn(angle):
    prior = propose(observe(FLAT, angle))
    palm, _, fingers = prior.grasp.rotation_matrix().T
    long_axis = np.array([math.cos(angle), math.sin(angle), 0.0])
    assert abs(palm @ long_axis) < 1e-6
    assert abs(fingers @ long_axis) < 1e-6
    assert fingers[2] == pytest.approx(-math.sqrt(0.5))
    assert fingers[0] > -1e-6  # within +-90 degrees of "forward"


def test_flat_object_is_grasped_at_half_height():
    position = propose(observe(FLAT)).grasp.position
    np.testing.assert_allclose(position, [0.55, 0.1, TABLE + 0.01], atol=1e-12)


@pytest.mark.parametrize('angle', [0.3, 1.2])
def test_plate_without_a_long_axis_is_pinched_straight(angle):
    fingers = propose(observe((0.11, 0.10, 0.02), angle)).grasp.rotation_matrix()[:, 2]
    np.testing.assert_allclose(fingers, [math.sqrt(0.5), 0.0, -math.sqrt(0.5)], atol=1e-9)


@given(st.floats(-1.5, 1.5), st.sampled_from([FLAT, (0.08, 0.07, 0.10)]))
def test_poses_keep_their_distance_from_gimbal_lock(angle, size):
    pitch = propose(observe(size, angle)).grasp.wrist_rotation[1]
    assert abs(pitch) + 0.6 < math.pi / 2 - 0.15


def test_euler_angles_have_no_jump_where_the_grasp_has_none():
    left, right = (propose(observe(FLAT, math.pi / 2 + d)) for d in (-1e-3, 1e-3))
    difference = left.grasp.to_vector() - right.grasp.to_vector()
    assert np.abs(difference[WRIST]).max() < 0.01


def test_tables_that_are_the_same_plane_give_the_same_grasp():
    normal = propose(observe(FLAT))
    flipped = propose(observe(FLAT, table_plane=np.array([0.0, 0.0, -1.0, TABLE])))
    np.testing.assert_allclose(normal.grasp.to_vector(), flipped.grasp.to_vector())


def test_contact_is_the_seen_point_that_the_hand_meets_first():
    prior = propose(observe())
    approach = prior.grasp.rotation_matrix() @ np.array([1.0, 0.0, 1.0]) / math.sqrt(2.0)
    offset = prior.contact_point - prior.grasp.position
    assert offset @ approach < -0.02  # on the side that the hand comes from
    assert np.linalg.norm(offset - (offset @ approach) * approach) <= 0.02
    assert any(np.array_equal(prior.contact_point, point) for point in observe().points)
    assert 0.0 < prior.contact_uncertainty < 0.06


def test_point_far_beside_the_approach_is_no_contact():
    prior = propose(observe())
    approach = prior.grasp.rotation_matrix() @ np.array([1.0, 0.0, 1.0]) / math.sqrt(2.0)
    aside = np.cross(approach, [0.0, 0.0, 1.0])
    handle = prior.grasp.position - 0.2 * approach + 0.1 * aside / np.linalg.norm(aside)
    again = propose(observe(points=np.vstack([observe().points, handle])))
    np.testing.assert_array_equal(again.contact_point, prior.contact_point)


def test_single_point_away_from_the_approach_still_gives_a_contact():
    prior = propose(observe(points=np.array([[0.5, 0.3, 0.1]])))
    np.testing.assert_array_equal(prior.contact_point, [0.5, 0.3, 0.1])
    assert prior.contact_uncertainty == 0.0


@pytest.mark.parametrize('name', sorted(PREDICTORS))
def test_prior_says_what_it_is_and_takes_the_half_closed_hand(name):
    prior = propose(observe(), name)
    assert (prior.source, prior.task, prior.instruction, prior.calibration_id) == (
        f'{name}/1',
        'pick_cup',
        'pick up the cup',
        'cell',
    )
    np.testing.assert_array_equal(prior.grasp.joint_positions, HALF_CLOSED)


def test_geometric_prior_leaves_the_generator_alone():
    first, second = (propose(observe(FLAT, 0.4), seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(first.grasp.to_vector(), second.grasp.to_vector())


def test_heuristic_takes_box_centre_and_draws_the_turn_from_the_generator():
    observation = observe()
    same = [propose(observation, 'heuristic', 7).grasp for _ in range(2)]
    np.testing.assert_array_equal(same[0].to_vector(), same[1].to_vector())
    np.testing.assert_array_equal(same[0].position, observation.centre)
    wrists = np.array(
        [propose(observation, 'heuristic', seed).grasp.wrist_rotation for seed in range(200)]
    )
    np.testing.assert_allclose(wrists[:, :2], np.tile([math.pi, math.pi / 4], (200, 1)), atol=1e-6)
    assert np.ptp(wrists[:, 2]) > 1.8 * math.pi  # the full circle
    fingers = np.array([matrix_from_euler(wrist)[:, 2] for wrist in wrists])
    np.testing.assert_allclose(fingers[:, 2], -math.sqrt(0.5), atol=1e-9)


@pytest.mark.parametrize('name', sorted(PREDICTORS))
@pytest.mark.parametrize(
    ('points', 'message'),
    [(np.zeros((0, 3)), 'no object points'), (np.full((2, 3), np.nan), 'finite')],
)
def test_points_that_are_no_object_are_refused(name, points, message):
    with pytest.raises(InvalidInputError, match=message):
        propose(observe(points=points), name)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'height': 0.0}, 'positive height'),
        ({'height': math.nan}, 'positive height'),
        ({'extents': np.array([0.1, -0.1, 0.1])}, 'positive height and extents'),
        ({'axes': np.zeros((3, 3))}, 'orthonormal'),
        ({'table_plane': np.zeros(4)}, 'unit normal'),
        ({'centre': np.array([0.5, math.inf, 0.1])}, 'object centre must be finite'),
    ],
)
def test_geometry_that_is_no_object_is_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        propose(observe(**changes))


def test_task_without_a_direction_of_approach_is_refused():
    task = dataclasses.replace(TASK, pregrasp=Pregrasp(0.1, (0.0, 0.0, 0.0)))
    with pytest.raises(InvalidInputError, match='pregrasp direction must not be zero'):
        propose(observe(), task=task)


def test_unknown_predictor_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'geometrik'; did you mean 'geometric'\?"):
        predictor('geometrik')
