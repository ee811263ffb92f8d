# SPDX-License-Identifier: Apache-2.0
"""`deft segment` on pictures of a block, seen from straight above."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

from deft_bringup.command_line import main

CAMERA = {
    'image_width': 320,
    'image_height': 240,
    'camera_name': 'test',
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': [300.0, 0, 160, 0, 300.0, 120, 0, 0, 1]},
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5},
}


@pytest.fixture
def segment(tmp_path, capsys):
    """Runs the command on a table at 0.8 m with blocks (x0, y0, x1, y1, depth)."""

    def segment(*options, blocks=((140, 100, 190, 150, 0.775),), unit=0.001, **camera):
        depth = np.full((240, 320), 0.8)
        for x0, y0, x1, y1, z in blocks:
            depth[y0:y1, x0:x1] = z
        files = [tmp_path / name for name in ('color.png', 'depth.png', 'camera.yaml')]
        assert cv2.imwrite(str(files[0]), np.full((240, 320, 3), 128, dtype=np.uint8))
        assert cv2.imwrite(str(files[1]), np.round(depth / unit).astype(np.uint16))
        files[2].write_text(yaml.safe_dump({**CAMERA, **camera}))
        names = [str(file) for file in files]
        code = main(['segment', *names[:2], '--camera', names[2], *options])
        return code, json.loads(capsys.readouterr().out)

    return segment


@pytest.mark.parametrize('unit', [0.001, 0.0001])
def test_what_was_found_is_one_json_object(segment, tmp_path, unit):
    picture = tmp_path / 'out.png'
    code, found = segment('--depth-unit', str(unit), '--out', str(picture), unit=unit)
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
    ],
)
def test_a_refusal_is_said_in_json(segment, options, changes, words):
    code, found = segment(*options, **changes)
    assert code == 3
    assert words in found['refused']


def test_files_that_are_no_pictures_are_refused(tmp_path, capsys):
    wrong = tmp_path / 'x.png'
    wrong.write_bytes(b'no picture')
    for depth in (wrong, tmp_path / 'absent.png'):
        assert main(['segment', str(wrong), str(depth), '--camera', str(wrong)]) == 3
        assert 'refused' in json.loads(capsys.readouterr().out)
