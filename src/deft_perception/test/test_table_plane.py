# SPDX-License-Identifier: Apache-2.0
"""The plane fit against planes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_core.errors import NoObjectError
from deft_perception.segmentation.table_plane import fit_table_plane

LIMITS = {'inlier_distance': 0.008, 'maximum_tilt': 0.15}


def plane_points(rng, slope_x, slope_y, height, noise, count=2000):
    xy = rng.uniform((-0.3, -0.3), (0.3, 0.3), (count, 2))
    z = height + xy @ (slope_x, slope_y) + rng.normal(0.0, noise, count)
    return np.column_stack([xy, z])


@settings(max_examples=30, deadline=None)
@given(
    slope_x=st.floats(-0.08, 0.08),
    slope_y=st.floats(-0.08, 0.08),
    height=st.floats(-0.05, 0.05),
    clutter=st.floats(0.0, 0.4),
    seed=st.integers(0, 10_000),
)
def test_the_plane_is_recovered_under_noise_and_clutter(slope_x, slope_y, height, clutter, seed):
    rng = np.random.default_rng(seed)
    table = plane_points(rng, slope_x, slope_y, height, 0.002)
    things = rng.uniform((-0.3, -0.3, 0.0), (0.3, 0.3, 0.1), (int(clutter * 2000), 3))
    plane = fit_table_plane(np.concatenate([table, things]), rng, **LIMITS)
    normal = np.array([-slope_x, -slope_y, 1.0]) / np.hypot(1.0, np.hypot(slope_x, slope_y))
    assert plane.coefficients[:3] == pytest.approx(normal, abs=0.005)
    assert plane.distance(np.array([[0.0, 0.0, height]]))[0] == pytest.approx(0.0, abs=0.001)
    assert plane.distance(np.array([[0.0, 0.0, height + 0.1]]))[0] > 0.09  # the normal points up
    assert np.linalg.norm(plane.coefficients[:3]) == pytest.approx(1.0)
    assert 0.001 < plane.residual < 0.003


def test_a_wall_is_no_table():
    rng = np.random.default_rng(0)
    wall = plane_points(rng, 0.0, 0.0, 0.0, 0.0005)[:, [2, 0, 1]]
    with pytest.raises(NoObjectError, match='horizontal'):
        fit_table_plane(wall, rng, **LIMITS)


def test_a_slope_beyond_the_limit_is_no_table():
    rng = np.random.default_rng(0)
    slope = plane_points(rng, 0.4, 0.0, 0.0, 0.0005)
    with pytest.raises(NoObjectError, match='calibration'):
        fit_table_plane(slope, rng, **LIMITS)


@pytest.mark.parametrize('count', [0, 1, 49])
def test_too_few_points_are_refused(count):
    with pytest.raises(NoObjectError, match=f'Only {count} depth points'):
        fit_table_plane(np.zeros((count, 3)), np.random.default_rng(0), **LIMITS)
