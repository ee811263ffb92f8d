# SPDX-License-Identifier: Apache-2.0
"""Segmentation of rendered scenes against what was put there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_core.configuration import build, config_directory
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.files import read_yaml
from deft_core.rotations import (
    invert_transform,
    matrix_from_rotation_vector,
    transform,
    transform_points,
)
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import DepthMissingError, square_crop

FAULTS = {'noise': 0.002, 'hole_share': 0.03, 'quantisation': 0.001, 'mixed_pixels': True}


@pytest.fixture
def segment():
    def segment(scene, seed=0, click=None, **changes):
        segmentation = PlaneSegmentation(SegmentationSettings(**changes))
        return segmentation.segment(
            scene.render(),
            scene.pose,
            np.random.default_rng(seed),
            click=click,
            calibration_id='cell',
        )

    return segment


def horizontal_error(observation, x, y):
    return float(np.hypot(observation.centre[0] - x, observation.centre[1] - y))


@pytest.mark.parametrize('wall', [0.0, 0.003])
@pytest.mark.parametrize(('radius', 'height'), [(0.03, 0.12), (0.036, 0.095), (0.045, 0.08)])
def test_a_cup_is_found_within_millimetres(segment, scene, cylinder, radius, height, wall):
    cup = cylinder(0.55, 0.03, radius, height, wall)
    found = segment(scene(bodies=(cup,), width=640, height=480, **FAULTS))
    assert horizontal_error(found, cup.x, cup.y) < 0.004
    assert found.height == pytest.approx(height, abs=0.004)
    assert found.centre[2] == pytest.approx(height / 2, abs=0.003)
    assert sorted(found.extents) == pytest.approx(sorted([2 * radius] * 2 + [height]), abs=0.007)
    assert found.quality['round_fraction'] > 0.0
    assert horizontal_error(found, cup.x, cup.y) < 4.0 * found.quality['centre_uncertainty_m']


@pytest.mark.parametrize('click', [False, True])
@pytest.mark.parametrize(('width', 'height'), [(1280, 720), (1281, 721), (1920, 1080)])
def test_a_large_image_gives_the_same_in_its_own_pixels(
    segment, scene, cylinder, width, height, click
):
    cup = cylinder(0.55, 0.03, 0.036, 0.095)
    setting = scene(bodies=(cup,), noise=0.001, width=width, height=height)
    place = setting.pixel(cup.x, cup.y, 0.05)
    found = segment(setting, click=place if click else None)
    assert found.mask.shape == found.depth.shape == (height, width)
    assert found.mask[place[1], place[0]]
    assert horizontal_error(found, cup.x, cup.y) < 0.004
    x0, y0, x1, y1 = found.crop_box
    assert x1 - x0 == y1 - y0
    assert np.all(found.mask[found.pixels[:, 1], found.pixels[:, 0]])
    pixels = setting.camera.project(transform_points(invert_transform(setting.pose), found.points))
    assert pixels == pytest.approx(found.pixels.astype(float), abs=1e-2)
    with pytest.raises(NoObjectError, match=r'the click \(40, 31\)'):
        segment(setting, click=(40, 31))


def test_table_that_depth_lifts_beside_a_thing_is_not_the_thing(scene, box):
    block = box(0.5, 0.0, (0.12, 0.08, 0.06))
    frame = scene(bodies=(block,), noise=0.0005, width=640, height=480).render()
    clean = scene(bodies=(block,), width=640, height=480)
    on_block = clean.render().depth < scene(width=640, height=480).render().depth - 0.004
    rng = np.random.default_rng(0)
    color = np.where(on_block[..., None], (170, 40, 40), (190, 170, 140))
    color = np.clip(color + rng.normal(0.0, 4.0, color.shape), 0, 255).astype(np.uint8)
    rows, columns = np.nonzero(on_block)
    depth = frame.depth.copy()
    smear = np.zeros_like(on_block)
    smear[rows.min() : rows.max(), columns.max() - 5 : columns.max() + 40] = True
    depth[smear & ~on_block] = np.median(depth[on_block])
    smeared = replace(frame, color=color, depth=depth)
    found = PlaneSegmentation(SegmentationSettings()).segment(smeared, clean.pose, rng)
    assert np.mean(found.mask[on_block]) > 0.9
    assert np.mean(found.mask[smear & ~on_block]) < 0.1
    plain = replace(smeared, color=np.full_like(color, 128))  # colour cannot tell
    assert (
        np.mean(
            PlaneSegmentation(SegmentationSettings())
            .segment(plain, clean.pose, rng)
            .mask[on_block]
        )
        > 0.9
    )


def test_lens_distortion_is_undone(segment, scene, cylinder):
    lens = (-0.12, 0.08, 0.001, -0.001, -0.02)
    cup = cylinder(0.62, -0.14, 0.036, 0.095)  # far from the middle of the image
    setting = scene(bodies=(cup,), noise=0.001, width=640, height=480, distortion=lens)
    found = segment(setting)
    assert horizontal_error(found, cup.x, cup.y) < 0.004
    assert found.height == pytest.approx(cup.height, abs=0.004)
    pixels = setting.camera.project(transform_points(invert_transform(setting.pose), found.points))
    assert pixels == pytest.approx(found.pixels.astype(float), abs=1e-2)


@pytest.mark.parametrize('bearing', [-2.5, -1.0, 0.5, 2.2])
def test_the_handle_does_not_move_the_centre_of_a_cup(segment, scene, cylinder, box, bearing):
    cup = cylinder(0.55, 0.0, 0.036, 0.095, 0.003)
    reach = cup.radius + 0.012
    handle = box(
        cup.x + reach * np.cos(bearing),
        cup.y + reach * np.sin(bearing),
        (0.026, 0.009, 0.05),
        bearing,
        0.02,
    )
    faults = {**FAULTS, 'lost_beside_edges': 3}
    found = segment(scene(bodies=(cup, handle), width=640, height=480, **faults))
    assert horizontal_error(found, cup.x, cup.y) < 0.004


def test_depth_lost_beside_every_edge_does_not_split_a_cup(segment, scene, cylinder):
    """A stereo camera loses the rim, and with it the link between the near and the far wall."""
    cup = cylinder(0.55, 0.03, 0.04, 0.09, 0.003)
    setting = scene(bodies=(cup,), width=640, height=480, **FAULTS, lost_beside_edges=3)
    found = segment(setting)
    assert horizontal_error(found, cup.x, cup.y) < 0.005
    assert found.quality['clusters'] == 1.0
    far_wall = setting.pixel(cup.x + 0.028, cup.y - 0.024, 0.075)
    assert found.mask[far_wall[1], far_wall[0]]


def test_only_the_front_of_a_round_thing_is_enough_for_its_axis(segment, scene, cylinder):
    cup = cylinder(0.55, 0.03, 0.036, 0.095)
    low = {'position': (0.0, 0.0, 0.15), 'target': (0.5, 0.0, 0.05)}
    found = segment(scene(bodies=(cup,), **FAULTS, **low))
    assert found.quality['round_fraction'] > 0.0
    # The mean of the seen points lies two thirds of the radius before the axis.
    assert np.hypot(*(found.points[:, :2].mean(axis=0) - (cup.x, cup.y))) > 0.02
    assert horizontal_error(found, cup.x, cup.y) < 0.008


@pytest.mark.parametrize('yaw', [-0.5, 0.0, 1.5])
def test_a_tool_gives_its_long_axis(segment, scene, box, yaw):
    handle = box(0.5, 0.0, (0.15, 0.014, 0.022), yaw)
    found = segment(scene(bodies=(handle,), width=640, height=480, **FAULTS))
    direction = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    assert abs(found.axes[:, 0] @ direction) > np.cos(0.05)
    assert found.extents == pytest.approx([0.15, 0.022, 0.018], abs=0.009)
    assert found.extents[0] == pytest.approx(0.15, abs=0.005)
    assert horizontal_error(found, 0.5, 0.0) < 0.004
    assert found.quality['round_fraction'] == 0.0


@settings(max_examples=12, deadline=None)
@given(
    width=st.floats(0.03, 0.10),
    ratio=st.floats(1.0, 2.5),
    height=st.floats(0.02, 0.12),
    yaw=st.floats(-1.5, 1.5),
    seed=st.integers(0, 1000),
)
def test_boxes_are_boxes_and_axes_are_axes(scene, box, width, ratio, height, yaw, seed):
    body = box(0.55, 0.0, (width, width * ratio, height), yaw)
    setting = scene(bodies=(body,), seed=seed, **FAULTS)
    found = PlaneSegmentation(SegmentationSettings()).segment(
        setting.render(), setting.pose, np.random.default_rng(seed)
    )
    assert np.allclose(found.axes.T @ found.axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(found.axes) == pytest.approx(1.0)
    assert list(found.extents) == sorted(found.extents, reverse=True)
    vertical = int(np.argmax(np.abs(found.axes[2])))
    assert found.axes[2, vertical] > 0.99  # up, not down
    assert found.extents[vertical] == pytest.approx(found.height)
    # A box that is nearly square and low may be taken for round; that moves its centre by 9 mm.
    assert horizontal_error(found, 0.55, 0.0) < 0.012


def test_a_lying_bulge_is_found_within_its_documented_bias(segment, scene, ellipsoid):
    lemon = ellipsoid(0.5, 0.0, (0.033, 0.026, 0.026))
    assert horizontal_error(segment(scene(bodies=(lemon,), **FAULTS)), 0.5, 0.0) < 0.009


def test_the_table_is_found_though_it_is_tilted_and_raised(segment, scene, cylinder):
    setting = scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095),), **FAULTS)
    tilt = transform(matrix_from_rotation_vector([0.03, 0.0, 0.0]), (0.0, 0.0, 0.01))
    object.__setattr__(setting, 'pose', tilt @ setting.pose)
    frame = replace_pose_render(setting, np.linalg.inv(tilt))
    found = PlaneSegmentation(SegmentationSettings()).segment(
        frame, setting.pose, np.random.default_rng(0)
    )
    normal = tilt[:3, :3] @ (0.0, 0.0, 1.0)
    assert found.table_plane[:3] == pytest.approx(normal, abs=0.004)
    assert found.table_plane[:3] @ tilt[:3, 3] + found.table_plane[3] == pytest.approx(0, abs=2e-3)
    assert found.height == pytest.approx(0.095, abs=0.004)
    assert found.quality['plane_tilt_rad'] == pytest.approx(0.03, abs=0.004)


def replace_pose_render(setting, untilted):
    """Depth of the level scene: the tilt is in the calibration alone."""
    tilted_pose = setting.pose
    object.__setattr__(setting, 'pose', untilted @ tilted_pose)
    frame = setting.render()
    object.__setattr__(setting, 'pose', tilted_pose)
    return frame


@pytest.mark.parametrize('seed', range(3))
def test_an_empty_table_holds_no_object(segment, scene, seed):
    with pytest.raises(NoObjectError, match='No object stands'):
        segment(scene(seed=seed, **FAULTS), seed)


def test_what_hangs_in_the_air_is_the_robot(segment, scene, cylinder, box):
    arm = box(0.45, 0.05, (0.10, 0.08, 0.10), 0.0, 0.20)
    with pytest.raises(NoObjectError, match='No object stands'):
        segment(scene(bodies=(arm,), **FAULTS))
    cup = cylinder(0.60, 0.15, 0.036, 0.095)
    found = segment(scene(bodies=(arm, cup), **FAULTS))
    assert horizontal_error(found, cup.x, cup.y) < 0.006


def test_what_the_border_cuts_is_taken_only_where_nothing_is_whole(segment, scene, box, cylinder):
    cut = box(0.62, 0.40, (0.20, 0.20, 0.10))
    cup = cylinder(0.52, -0.05, 0.036, 0.095)
    wide = {'workspace_maximum': (0.9, 0.7, 0.35)}
    both = segment(scene(bodies=(cut, cup)), **wide)
    assert horizontal_error(both, cup.x, cup.y) < 0.006
    assert not both.touches_border
    assert segment(scene(bodies=(cut,)), **wide).touches_border


def test_an_object_outside_the_workspace_is_no_object(segment, scene, cylinder):
    setting = scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095),))
    with pytest.raises(NoObjectError, match='workspace'):
        segment(setting, workspace_minimum=(0.25, 0.1, -0.05))


@pytest.mark.parametrize('missing', [np.nan, 0.0, np.inf])
def test_missing_depth_is_refused_and_never_guessed(scene, missing):
    setting = scene()
    frame = replace(setting.render(), depth=np.full((240, 320), missing, dtype=np.float32))
    with pytest.raises(DepthMissingError, match='no valid pixel'):
        PlaneSegmentation(SegmentationSettings()).segment(
            frame, setting.pose, np.random.default_rng(0)
        )


def test_a_camera_that_sees_no_table_is_refused(segment, scene, cylinder):
    setting = scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095),), table_height=-0.30)
    with pytest.raises(NoObjectError, match='calibration'):
        segment(setting)


def test_half_of_the_depth_missing_still_gives_the_cup(segment, scene, cylinder):
    cup = cylinder(0.55, 0.0, 0.036, 0.095)
    faults = {**FAULTS, 'hole_share': 0.5}
    found = segment(scene(bodies=(cup,), **faults))
    assert horizontal_error(found, cup.x, cup.y) < 0.006
    assert found.quality['depth_coverage'] == pytest.approx(0.5, abs=0.1)


def test_the_most_prominent_is_taken_or_the_one_clicked(segment, scene, cylinder):
    small, large = cylinder(0.5, 0.10, 0.03, 0.07), cylinder(0.55, -0.06, 0.045, 0.10)
    setting = scene(bodies=(small, large), **FAULTS)
    assert horizontal_error(segment(setting), large.x, large.y) < 0.006
    found = segment(setting, click=setting.pixel(small.x, small.y, small.height))
    assert horizontal_error(found, small.x, small.y) < 0.006
    assert found.quality['clusters'] == 2.0
    with pytest.raises(NoObjectError, match='click'):
        segment(setting, click=setting.pixel(0.40, -0.15, 0.0))
    with pytest.raises(InvalidInputError, match='outside the image'):
        segment(setting, click=(320, 10))


def test_two_things_that_overlap_in_the_image_stay_two(segment, scene, cylinder):
    """The camera looks along the line through both; only the step in depth tells them apart."""
    near, far = cylinder(0.45, 0.06, 0.03, 0.10), cylinder(0.57, -0.03, 0.03, 0.10)
    setting = scene(
        bodies=(near, far), position=(0.05, 0.36, 0.45), width=640, height=480, **FAULTS
    )
    found = segment(setting, click=setting.pixel(near.x, near.y, near.height))
    assert found.quality['clusters'] == 2.0
    assert horizontal_error(found, near.x, near.y) < 0.006


def test_the_observation_is_whole(segment, scene, cylinder):
    found = segment(
        scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095),), **FAULTS), maximum_points=300
    )
    x0, y0, x1, y1 = found.crop_box
    assert x1 - x0 == y1 - y0
    rows, columns = np.nonzero(found.mask)
    assert x0 <= columns.min()
    assert columns.max() < x1
    assert y0 <= rows.min()
    assert rows.max() < y1
    assert 100 <= len(found.points) <= 300
    assert np.all(np.linalg.norm(found.points[:, :2] - found.centre[:2], axis=1) < 0.05)
    assert (found.stamp, found.calibration_id) == (12.5, 'cell')


@given(
    x=st.integers(0, 639),
    y=st.integers(0, 479),
    width=st.integers(1, 640),
    height=st.integers(1, 480),
    margin=st.floats(0.0, 2.0),
)
def test_a_crop_is_square_inside_the_image_and_holds_what_fits(x, y, width, height, margin):
    bounds = (x, y, min(x + width - 1, 639), min(y + height - 1, 479))
    x0, y0, x1, y1 = square_crop(bounds, (480, 640), margin)
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480
    assert x1 - x0 == y1 - y0
    if bounds[2] - bounds[0] < 480:
        assert x0 <= bounds[0]
        assert bounds[2] < x1
    assert y0 <= bounds[1]
    assert bounds[3] < y1


def test_an_empty_workspace_is_refused():
    upside_down = SegmentationSettings(workspace_maximum=(0.1, 0.4, 0.35))
    with pytest.raises(InvalidInputError, match='must exceed'):
        PlaneSegmentation(upside_down)
    with pytest.raises(InvalidInputError, match='workspace_minimum'):
        PlaneSegmentation(replace(upside_down, workspace_minimum=(0.1, 0.2)))


def test_equal_generators_give_equal_observations(segment, scene, cylinder):
    setting = scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095, 0.003),), **FAULTS)
    first, second = segment(setting, seed=4), segment(setting, seed=4)
    assert np.array_equal(first.centre, second.centre)
    assert np.array_equal(first.points, second.points)
    assert first.quality == second.quality


def test_the_configuration_of_the_project_equals_the_defaults():
    document = read_yaml(config_directory() / 'nodes' / 'segmentation.yaml')
    values = document['segmentation']['ros__parameters']
    names = SegmentationSettings.__dataclass_fields__
    own = {name: value for name, value in values.items() if name in names}
    read = build(SegmentationSettings, own, 'segmentation.yaml')
    assert read == SegmentationSettings()
    assert set(own) == set(names)
