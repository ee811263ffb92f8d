# SPDX-License-Identifier: Apache-2.0
"""The overlay marks what was found, where it was found."""

from __future__ import annotations

import numpy as np
import pytest

from deft_perception.segmentation.overlay import draw_overlay
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings


@pytest.fixture
def found(scene, cylinder):
    setting = scene(bodies=(cylinder(0.55, 0.0, 0.036, 0.095),))
    frame = setting.render()
    segmentation = PlaneSegmentation(SegmentationSettings())
    return setting, frame, segmentation.segment(frame, setting.pose, np.random.default_rng(0))


def test_the_outline_is_drawn_into_a_copy(found):
    setting, frame, observation = found
    before = frame.color.copy()
    image = draw_overlay(frame, observation, setting.pose)
    assert np.array_equal(frame.color, before)
    assert image.shape == frame.color.shape
    assert image.dtype == np.uint8
    yellow = (image[..., 0] > 200) & (image[..., 1] > 150) & (image[..., 2] < 60)
    rows, columns = np.nonzero(yellow)
    seen_rows, seen_columns = np.nonzero(observation.mask)
    assert abs(int(rows.min()) - int(seen_rows.min())) <= 2
    assert abs(int(columns.max()) - int(seen_columns.max())) <= 2


def test_the_contact_point_is_marked_at_its_pixel(found):
    setting, frame, observation = found
    contact = (0.50, 0.02, 0.10)
    plain = draw_overlay(frame, observation, setting.pose)
    marked = draw_overlay(frame, observation, setting.pose, contact)
    rows, columns = np.nonzero(np.any(plain != marked, axis=-1))
    column, row = setting.pixel(*contact)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(column, abs=1.5)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(row, abs=1.5)


def test_a_point_behind_the_camera_is_left_out(found):
    setting, frame, observation = found
    behind = setting.pose[:3, 3] - setting.pose[:3, 2]
    plain = draw_overlay(frame, observation, setting.pose)
    assert np.array_equal(draw_overlay(frame, observation, setting.pose, behind), plain)
