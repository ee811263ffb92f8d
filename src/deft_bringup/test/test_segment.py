# SPDX-License-Identifier: Apache-2.0
"""`deft segment` on pictures of a block, seen from straight above."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deft_bringup.command_line import main

CAMERA = {
    'image_width': 320,
    'image_height': 240,
    'camera_name': 'test',
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': [300.0, 0, 160, 0, 300.0, 120, 0, 0, 1]},
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5},
}
BLOCK = ((140, 100, 190, 150, 0.775),)  # x0, y0, x1, y1, depth
COLOR, DEPTH, INFO = (
    f'/camera/camera/{name}'
    for name in ('color/image_raw', 'aligned_depth_to_color/image_raw', 'color/camera_info')
)


def table_with(blocks):
    depth = np.full((240, 320), 0.8)
    for x0, y0, x1, y1, z in blocks:
        depth[y0:y1, x0:x1] = z
    return depth


def with_gaps(depth):
    depth = depth.astype(np.float32)
    depth[::7, ::5] = np.nan
    return depth


@pytest.fixture
def segment(tmp_path, capsys):
    """Runs the command on a table at 0.8 m with blocks (x0, y0, x1, y1, depth)."""

    def segment(
        *options,
        blocks=BLOCK,
        stored=lambda depth: np.round(depth / 0.001).astype(np.uint16),
        **camera,
    ):
        files = [tmp_path / name for name in ('color.png', 'depth.tiff', 'camera.yaml')]
        assert cv2.imwrite(str(files[0]), np.full((240, 320, 3), 128, dtype=np.uint8))
        assert cv2.imwrite(str(files[1]), stored(table_with(blocks)))
        files[2].write_text(yaml.safe_dump({**CAMERA, **camera}))
        names = [str(file) for file in files]
        code = main(['segment', *names[:2], '--camera', names[2], *options])
        return code, json.loads(capsys.readouterr().out)

    return segment


@pytest.mark.parametrize(
    ('unit', 'stored'),
    [
        (0.001, lambda depth: np.round(depth / 0.001).astype(np.uint16)),
        (0.0001, lambda depth: np.round(depth / 0.0001).astype(np.uint16)),
        (1.0, with_gaps),
    ],
)
def test_what_was_found_is_one_json_object(segment, tmp_path, unit, stored):
    picture = tmp_path / 'out.png'
    code, found = segment('--depth-unit', str(unit), '--out', str(picture), stored=stored)
    assert code == 0
    assert found['mask_box'] == pytest.approx([140, 100, 190, 150], abs=3)
    assert found['height'] == pytest.approx(0.025, abs=0.002)
    assert found['centre'][2] == pytest.approx(0.0125, abs=0.002)  # the table is z = 0
    assert found['flags'] == []
    assert cv2.imread(str(picture)).shape == (240, 320, 3)


def test_from_straight_above_a_high_thing_is_found_too(segment):
    code, found = segment(blocks=((140, 100, 190, 150, 0.65),))
    assert code == 0
    assert found['height'] == pytest.approx(0.15, abs=0.003)


def test_a_click_chooses_and_without_one_the_choice_is_flagged(segment):
    two = ((60, 60, 110, 110, 0.775), (200, 120, 250, 170, 0.775))
    assert 'no_clear_choice' in segment(blocks=two)[1]['flags']
    code, found = segment('--click', '80', '90', blocks=two)
    assert code == 0
    assert found['mask_box'] == pytest.approx([60, 60, 110, 110], abs=3)


@pytest.mark.parametrize(
    ('options', 'changes', 'words'),
    [
        ((), {'blocks': ()}, 'No object'),
        (('--click', '20', '20'), {}, 'click'),
        (('--click', '900', '20'), {}, 'outside the image'),
        ((), {'distortion_model': 'equidistant'}, "'equidistant'"),
        ((), {'image_width': 640}, '640 x 240'),
        ((), {'camera_matrix': {'data': 'no'}}, 'camera_matrix'),
        ((), {'camera_matrix': {'data': [10**400, 0, 1, 0, 1, 1, 0, 0, 1]}}, 'too long'),
        ((), {'camera_matrix': {'data': [float('nan'), 0, 1, 0, 1, 1, 0, 0, 1]}}, 'finite'),
        ((), {'stored': lambda depth: np.uint8(100 * depth)}, 'holds no depth'),
        ((), {'stored': lambda depth: np.uint16(1000 * depth)[:200]}, '(200, 320)'),
        ((), {'stored': lambda depth: np.float32(np.nan * depth)}, 'unit'),
        (('--depth-unit', 'nan'), {}, '--depth-unit'),
        (('--out', '/proc/none/out.png'), {}, 'Cannot write'),
        (('--calibration', 'none'), {}, "calibration 'none'"),
    ],
)
def test_a_refusal_is_said_in_json(segment, options, changes, words):
    code, found = segment(*options, **changes)
    assert code == 3
    assert words in found['refused']


@pytest.fixture
def bag(tmp_path):
    """A bag of four frames with a block in another place each; depth comes two frames late."""
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = store.types

    def stamped(n):
        stamp = kind['builtin_interfaces/msg/Time'](sec=n, nanosec=0)
        return kind['std_msgs/msg/Header'](stamp=stamp, frame_id='camera_color_optical_frame')

    def image(n, encoding, pixels):
        return kind['sensor_msgs/msg/Image'](
            stamped(n), *pixels.shape[:2], encoding, 0, pixels[0].nbytes,
            np.frombuffer(pixels.tobytes(), dtype=np.uint8),
        )  # fmt: skip

    none = kind['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    k = np.array(CAMERA['camera_matrix']['data'], dtype=np.float64)
    info = kind['sensor_msgs/msg/CameraInfo'](
        stamped(0), 240, 320, 'plumb_bob', np.zeros(5), k, np.eye(3).ravel(), np.zeros(12), 0, 0,
        none,
    )  # fmt: skip
    path = tmp_path / 'bag'
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {
            topic: writer.add_connection(topic, name, typestore=store)
            for topic, name in (
                (INFO, 'sensor_msgs/msg/CameraInfo'),
                (COLOR, 'sensor_msgs/msg/Image'),
                (DEPTH, 'sensor_msgs/msg/Image'),
            )
        }

        def write(topic, n, message):
            data = store.serialize_cdr(message, message.__msgtype__)
            writer.write(to[topic], n * 1_000_000_000, data)

        write(INFO, 0, info)
        for n in range(6):
            if n < 4:
                write(COLOR, n, image(n, 'rgb8', np.full((240, 320, 3), 128, dtype=np.uint8)))
            if n >= 2:
                x = 40 + 50 * (n - 2)
                depth = np.uint16(np.round(1000 * table_with(((x, 100, x + 50, 150, 0.775),))))
                write(DEPTH, n, image(n - 2, '16UC1', depth))
    return path


@pytest.mark.parametrize('frame', [0, 3])
def test_a_frame_of_a_bag_is_segmented(bag, capsys, frame):
    assert main(['segment', str(bag), '--frame', str(frame)]) == 0
    found = json.loads(capsys.readouterr().out)
    x = 40 + 50 * frame
    assert found['mask_box'] == pytest.approx([x, 100, x + 50, 150], abs=3)


def test_a_frame_that_a_bag_does_not_hold_is_refused(bag, tmp_path, capsys):
    for path, frame in ((bag, '4'), (bag, '-1'), (tmp_path / 'none', '0')):
        assert main(['segment', str(path), '--frame', frame]) == 3
        assert 'refused' in json.loads(capsys.readouterr().out)


def test_files_that_are_no_pictures_are_refused(tmp_path, capsys):
    wrong = tmp_path / 'x.png'
    wrong.write_bytes(b'no picture')
    for names in ([wrong, wrong], [wrong, tmp_path / 'absent.png'], [wrong]):
        assert main(['segment', *map(str, names), '--camera', str(wrong)]) == 3
        assert 'refused' in json.loads(capsys.readouterr().out)
