# SPDX-License-Identifier: Apache-2.0
"""From a pixel to its 3D point, on synthetic scenes whose exact depth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deft_core.errors import InvalidInputError
from deft_core.rotations import transform_points
from deft_perception.contact.contact_point import (
    ContactDepthError,
    ContactMethod,
    locate_contact,
)


def exact_of(scene):
    clean = dataclasses.replace(
        scene, noise=0.0, hole_share=0.0, quantisation=0.0, mixed_pixels=False, lost_beside_edges=0
    )
    return clean.render()


def exact_points(scene):
    """Point of every pixel in the base frame. Shape (240, 320, 3)."""
    points = scene.camera.deproject(exact_of(scene).depth)
    return transform_points(scene.pose, points.reshape(-1, 3)).reshape(240, 320, 3)


def truth(scene, column, row):
    return exact_points(scene)[row, column]


def above_table(scene):
    return exact_points(scene)[..., 2] > 0.002


def locate(scene, depth, mask, column, row):
    return locate_contact(depth, mask, scene.camera, scene.pose, (float(column), float(row)))


@pytest.fixture(
    params=[(), (-0.0556, 0.0662, 0.00056, -0.00024, -0.0213)], ids=['pinhole', 'lens']
)
def noisy(request, scene, box, cylinder):
    return scene(
        distortion=request.param,
        bodies=(box(0.55, -0.02, (0.09, 0.07, 0.05), 0.4), cylinder(0.45, 0.10, 0.036, 0.09)),
        noise=0.0012,
        quantisation=0.001,
        hole_share=0.03,
        lost_beside_edges=1,
    )


def test_on_noise_holes_and_lost_edges_the_error_stays_small(noisy):
    frame, mask, exact = noisy.render(), above_table(noisy), exact_points(noisy)
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(mask)
    errors, sigmas = [], []
    for index in rng.integers(0, len(rows), 80):
        found = locate(noisy, frame.depth, mask, columns[index], rows[index])
        errors.append(np.linalg.norm(found.position - exact[rows[index], columns[index]]))
        sigmas.append(found.uncertainty)
    errors, sigmas = np.array(errors), np.array(sigmas)
    assert np.median(errors) < 0.0015
    assert np.percentile(errors, 95) < 0.005
    assert np.mean(errors < 2.0 * sigmas) > 0.9


def test_a_slope_is_followed_to_the_border_of_the_mask(scene, box):
    """The median of a one-sided window on a slope would be off by half the window."""
    tilted = scene(bodies=(box(0.5, 0.0, (0.12, 0.12, 0.06)),), noise=0.0003)
    frame, mask = tilted.render(), above_table(tilted)
    mask[:, : np.nonzero(mask)[1].mean().astype(int)] = False
    column = np.nonzero(mask.any(axis=0))[0][0]
    row = int(np.nonzero(mask[:, column])[0].mean())
    found = locate(tilted, frame.depth, mask, column, row)
    assert np.linalg.norm(found.position - truth(tilted, column, row)) < 0.001


def test_the_surface_of_the_pixel_is_kept_at_a_step_inside_the_mask(scene, box):
    """Two boxes overlap in the image; both lie in the mask."""
    stacked = scene(
        bodies=(box(0.47, 0.05, (0.06, 0.06, 0.12)), box(0.57, -0.05, (0.10, 0.10, 0.03))),
        noise=0.0008,
    )
    frame, mask = stacked.render(), above_table(stacked)
    depth, exact = exact_of(stacked).depth, exact_points(stacked)
    step = np.abs(np.diff(depth, axis=1)) > 0.03
    step &= mask[:, 1:] & mask[:, :-1]
    rows, columns = np.nonzero(step)
    assert len(rows) > 10
    for row, column in zip(rows, columns, strict=True):
        for beside in (column - 2, column + 3):
            if not mask[row, beside]:
                continue
            found = locate(stacked, frame.depth, mask, beside, row)
            assert np.linalg.norm(found.position - exact[row, beside]) < 0.006


def test_a_hole_is_bridged_and_called_a_plane_with_more_doubt(scene, box):
    flat = scene(bodies=(box(0.5, 0.0, (0.12, 0.12, 0.06)),), noise=0.001)
    frame, mask = flat.render(), above_table(flat)
    column, row = flat.pixel(0.5, 0.0, 0.06)
    full = locate(flat, frame.depth, mask, column, row)
    assert full.method is ContactMethod.MEDIAN
    depth = frame.depth.copy()
    depth[row - 3 : row + 12, column - 12 : column + 4] = np.nan
    bridged = locate(flat, depth, mask, column, row)
    assert bridged.method is ContactMethod.PLANE
    assert bridged.uncertainty > full.uncertainty
    assert np.linalg.norm(bridged.position - truth(flat, column, row)) < 0.003


def test_a_pixel_between_two_surfaces_without_depth_is_doubtful(scene, box):
    two = scene(bodies=(box(0.5, 0.0, (0.10, 0.10, 0.10)),))
    depth, everything = two.render().depth, np.ones((240, 320), dtype=bool)
    rows, columns = np.nonzero(np.abs(np.diff(depth, axis=1)) > 0.03)
    row, column = rows[len(rows) // 2], columns[len(rows) // 2]
    depth[row - 12 : row + 13, column - 2 : column + 4] = np.nan
    assert locate(two, depth, everything, column, row).uncertainty > 0.01


def test_the_normal_is_that_of_the_face_and_looks_to_the_camera(scene, box):
    flat = scene(bodies=(box(0.5, 0.0, (0.12, 0.12, 0.06)),), noise=0.0005)
    frame, mask = flat.render(), above_table(flat)
    column, row = flat.pixel(0.5, 0.0, 0.06)
    found = locate(flat, frame.depth, mask, column, row)
    assert np.linalg.norm(found.normal) == pytest.approx(1.0)
    assert found.normal @ [0.0, 0.0, 1.0] > np.cos(0.12)
    assert found.normal @ (flat.pose[:3, 3] - found.position) > 0.0


@pytest.mark.parametrize('keep', [0, 5])
def test_without_depth_there_is_no_point(scene, box, keep):
    flat = scene(bodies=(box(0.5, 0.0, (0.12, 0.12, 0.06)),))
    mask = above_table(flat)
    column, row = flat.pixel(0.5, 0.0, 0.06)
    depth = np.full((240, 320), np.nan, dtype=np.float32)
    depth[row, column : column + keep] = 0.6
    with pytest.raises(ContactDepthError, match='depth'):
        locate(flat, depth, mask, column, row)


def test_wrong_sizes_and_pixels_are_refused(scene, box):
    flat = scene(bodies=(box(0.5, 0.0, (0.12, 0.12, 0.06)),))
    frame, mask = flat.render(), above_table(flat)
    with pytest.raises(InvalidInputError, match='outside the image'):
        locate(flat, frame.depth, mask, 320, 10)
    with pytest.raises(InvalidInputError, match='rows and columns'):
        locate(flat, frame.depth, mask[:100], 10, 10)


def test_depth_outside_the_mask_does_not_count(scene, cylinder):
    lone = scene(bodies=(cylinder(0.5, 0.0, 0.03, 0.08),), noise=0.0005)
    frame, mask = lone.render(), above_table(lone)
    column, row = lone.pixel(0.5, 0.0, 0.08)
    before = locate(lone, frame.depth, mask, column, row)
    wild = np.where(mask, frame.depth, np.float32(0.3))
    after = locate(lone, wild, mask, column, row)
    assert after.position == pytest.approx(before.position, abs=0.0)
