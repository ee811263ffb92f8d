# SPDX-License-Identifier: Apache-2.0
"""Normals, masked depth, figures and flags of an observation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft_core.camera import RgbdFrame
from deft_core.rotations import invert_transform, transform_points
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.quality import Flag, flags_of
from deft_perception.segmentation.settings import SegmentationSettings


def segment(frame, pose, click=None):
    segmentation = PlaneSegmentation(SegmentationSettings())
    return segmentation.segment(frame, pose, np.random.default_rng(0), click=click)


@pytest.fixture
def boxed(scene, box):
    return scene(
        bodies=(box(0.55, 0.0, (0.10, 0.08, 0.06), 0.5),), noise=0.001, width=640, height=480
    )


def changed(frame, depth=None, color=None):
    return RgbdFrame(
        frame.stamp,
        frame.color if color is None else color,
        frame.depth if depth is None else depth,
        frame.intrinsics,
    )


def top_pixels(scene, half=8):
    """A square of pixels on the top of the box, inside it."""
    column, row = scene.pixel(0.55, 0.0, 0.06)
    return slice(row - half, row + half), slice(column - half, column + half)


def test_normals_are_those_of_the_faces(boxed):
    found = segment(boxed.render(), boxed.pose)
    assert found.normals.shape == found.points.shape
    good = np.isfinite(found.normals[:, 0])
    assert np.mean(good) > 0.9
    assert np.linalg.norm(found.normals[good], axis=1) == pytest.approx(1.0)
    on_top = good & (found.points[:, 2] > 0.055)
    tilt = np.arccos(np.clip(found.normals[on_top, 2], -1.0, 1.0))
    assert np.median(tilt) < 0.12
    to_camera = boxed.pose[:3, 3] - found.points[good]
    assert np.all(np.sum(found.normals[good] * to_camera, axis=1) > 0.0)


def test_points_belong_to_their_pixels(boxed):
    found = segment(boxed.render(), boxed.pose)
    pixels = boxed.camera.project(transform_points(invert_transform(boxed.pose), found.points))
    assert pixels == pytest.approx(found.pixels.astype(float), abs=1e-2)
    assert np.all(found.mask[found.pixels[:, 1], found.pixels[:, 0]])


def test_masked_depth_is_that_of_the_object_alone(boxed):
    frame = boxed.render()
    found = segment(frame, boxed.pose)
    inside = np.isfinite(found.depth)
    assert np.all(found.mask[inside])
    assert np.array_equal(found.depth[inside], frame.depth[inside])
    assert np.mean(inside[found.mask]) > 0.95


def test_a_good_view_raises_no_flag(boxed):
    assert flags_of(segment(boxed.render(), boxed.pose)) == ()


def test_a_hole_inside_the_object_belongs_to_it_and_is_counted(boxed):
    frame = boxed.render()
    whole = segment(frame, boxed.pose)
    depth = frame.depth.copy()
    depth[top_pixels(boxed, 11)] = np.nan
    holed = segment(changed(frame, depth), boxed.pose)
    assert np.mean(holed.mask[whole.mask]) > 0.97
    assert holed.quality['depth_coverage'] < whole.quality['depth_coverage'] - 0.05
    depth[top_pixels(boxed, 24)] = np.nan
    worse = segment(changed(frame, depth), boxed.pose)
    assert Flag.HOLES in flags_of(worse)


def test_a_mirror_on_the_object_is_flagged(boxed):
    frame = boxed.render()
    depth = frame.depth.copy()
    depth[top_pixels(boxed)] += 0.25  # what is mirrored seems to lie behind the surface
    mirrored = segment(changed(frame, depth), boxed.pose)
    assert mirrored.quality['below_table_fraction'] > 0.02
    assert Flag.REFLECTION in flags_of(mirrored)
    # The table seen through a handle lies on the table, not below it.
    assert segment(frame, boxed.pose).quality['below_table_fraction'] == 0.0


def test_glare_without_depth_is_a_reflection_and_white_paint_is_not(boxed):
    frame = boxed.render()
    color = frame.color.copy()
    color[top_pixels(boxed, 11)] = 255
    assert flags_of(segment(changed(frame, color=color), boxed.pose)) == ()
    depth = frame.depth.copy()
    depth[top_pixels(boxed, 11)] = np.nan
    assert Flag.REFLECTION in flags_of(segment(changed(frame, depth, color), boxed.pose))


def test_mixed_pixels_at_the_edges_are_counted(boxed):
    clean = segment(boxed.render(), boxed.pose)
    mixed = segment(replace(boxed, mixed_pixels=True).render(), boxed.pose)
    assert mixed.quality['mixed_pixel_fraction'] > clean.quality['mixed_pixel_fraction']


def test_an_object_at_the_border_and_two_alike_are_flagged(scene, box, cylinder):
    cut = scene(bodies=(cylinder(0.42, 0.32, 0.045, 0.10),), position=(0.05, 0.1, 0.55))
    assert Flag.CUT_BY_BORDER in flags_of(segment(cut.render(), cut.pose))
    twins = scene(
        bodies=(box(0.45, 0.1, (0.05, 0.05, 0.05)), box(0.55, -0.1, (0.05, 0.05, 0.06))),
        noise=0.001, width=640, height=480,
    )  # fmt: skip
    assert Flag.NO_CLEAR_CHOICE in flags_of(segment(twins.render(), twins.pose))
    column, row = twins.pixel(0.55, -0.1, 0.06)
    clicked = segment(twins.render(), twins.pose, click=(column, row))
    assert Flag.NO_CLEAR_CHOICE not in flags_of(clicked)
