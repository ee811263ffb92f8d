# SPDX-License-Identifier: Apache-2.0
"""Pictures of real cameras that nobody here took; skipped where they are not at hand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_core.camera import CameraIntrinsics, RgbdFrame
from deft_core.errors import NoObjectError
from deft_perception.segmentation.free_table import pose_over_table
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.quality import Flag, flags_of
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import bounding_box

PICTURES = Path(__file__).resolve().parents[3].parent / 'shared' / 'data' / 'rgbd'
REALSENSE = CameraIntrinsics(640, 480, 612.937, 613.173, 322.549, 248.158)
XTION = CameraIntrinsics(640, 480, 1066.778, 1067.487, 312.9869, 241.3109)
D435 = CameraIntrinsics(1280, 720, 921.0, 921.0, 642.0, 359.0)
ANYWHERE = SegmentationSettings(
    workspace_minimum=(-2.0, -2.0, -0.05),
    workspace_maximum=(2.0, 2.0, 0.5),
    maximum_clearance=0.5,
)
pytestmark = pytest.mark.skipif(not PICTURES.is_dir(), reason='the pictures are not at hand')


def read(color, depth, camera, unit=1e-3):
    picture = cv2.cvtColor(cv2.imread(str(PICTURES / color)), cv2.COLOR_BGR2RGB)
    metres = cv2.imread(str(PICTURES / depth), cv2.IMREAD_UNCHANGED).astype(np.float32) * unit
    metres[metres == 0.0] = np.nan
    return RgbdFrame(0.0, picture, metres, camera)


def scene(number):
    stem = f'uoc_realsense/{int(number):06d}'
    return read(f'{stem}-color.png', f'{stem}-depth.png', REALSENSE)


def desk(number):
    stem = f'ycbv_xtion/{number:06d}'
    return read(f'{stem}-color.png', f'{stem}-depth.png', XTION, 1e-4)


def bottles(number, kind):
    stem = f'cleargrasp_d435/{number:09d}-{kind}'
    return read(f'{stem}-rgb-img.jpg', f'{stem}-depth-mm.png', D435)


def segment(frame, click=None):
    pose = pose_over_table(frame, np.random.default_rng(0))
    segmentation = PlaneSegmentation(ANYWHERE)
    return segmentation.segment(frame, pose, np.random.default_rng(0), click=click)


def overlap(found, box):
    """Intersection over union of the box of a mask and a box (x0, y0, x1, y1)."""
    own = bounding_box(found.mask) + np.array([0, 0, 1, 1])
    sides = np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (np.prod(own[2:] - own[:2]) + np.prod(np.subtract(box[2:], box[:2])) - shared)


def test_a_click_gives_the_object_alone():
    good = total = 0
    for number, objects in json.loads((PICTURES / 'uoc_realsense/boxes.json').read_text()).items():
        frame = scene(number)
        for x0, y0, x1, y1 in objects.values():
            total += 1
            try:
                found = segment(frame, ((x0 + x1) // 2, (y0 + y1) // 2))
            except NoObjectError:
                continue
            good += overlap(found, (x0, y0, x1, y1)) >= 0.7
    assert total == 20
    assert good >= 19


SCENES = {
    **{f'mugs and boxes {n}': partial(scene, n) for n in range(6)},
    **{f'desk {n}': partial(desk, n) for n in (1, 3, 4)},
    **{
        f'{kind} {n}': partial(bottles, n, kind)
        for n in (80, 130)
        for kind in ('opaque', 'transparent')
    },
}


@pytest.mark.parametrize('name', SCENES)
def test_clutter_without_a_click_is_no_clear_choice(name):
    found = segment(SCENES[name]())
    assert Flag.NO_CLEAR_CHOICE in flags_of(found)
    assert not found.touches_border
    assert max(found.extents) < 0.3  # one or two things, not the whole table


def test_glass_that_depth_does_not_show_is_refused():
    mask = cv2.imread(str(PICTURES / 'cleargrasp_d435/000000080-mask.png'), cv2.IMREAD_GRAYSCALE)
    _, _, boxes, middles = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    for (x, y, width, height, _), middle in zip(boxes[1:], middles[1:], strict=True):
        click = tuple(int(value) for value in middle)
        painted = segment(bottles(80, 'opaque'), click)
        assert overlap(painted, (x, y, x + width, y + height)) > 0.8
        with pytest.raises(NoObjectError):
            segment(bottles(80, 'transparent'), click)


@pytest.mark.parametrize('kind', ['opaque', 'transparent'])
def test_a_wall_is_no_object(kind):
    behind = segment(bottles(80, kind))
    assert bounding_box(behind.mask)[1] > 150
    beside = segment(bottles(130, kind))
    assert overlap(beside, (398, 256, 592, 480)) > 0.6  # the mug
    assert not behind.touches_border
    assert not beside.touches_border
