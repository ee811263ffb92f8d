# SPDX-License-Identifier: Apache-2.0
"""Calibration files: what they give, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.rotations import transform_points
from deft_perception.calibration import load_calibration, load_named_calibration

GOOD = {
    'identifier': 'cell_a',
    'date': '2026-11-21',
    'camera_serial': '819312',
    'base_frame': 'link_base',
    'camera_frame': 'camera_color_optical_frame',
    'translation': [0.5, 0.0, 1.0],
    'rotation_xyzw': [1.0, 0.0, 0.0, 0.0],  # half a turn about x: looks straight down
    'source': 'measured with a ruler',
}


@pytest.fixture
def write(tmp_path):
    def write(name='cell_a', **changes):
        path = tmp_path / f'{name}.yaml'
        entries = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(entries), encoding='utf-8')
        return path

    return write


def test_camera_coordinates_are_mapped_to_the_base(write):
    calibration = load_calibration(write())
    # One metre before a camera that looks straight down from 1 m is the table below it; what is
    # lower in the image (y) is nearer to the robot's right hand (-y).
    mapped = transform_points(calibration.T_base_camera, [[0.0, 0.0, 1.0], [0.0, 0.1, 1.0]])
    assert mapped == pytest.approx(np.array([[0.5, 0.0, 0.0], [0.5, -0.1, 0.0]]))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'rotation_xyzw': [1.0, 1.0, 0.0, 0.0]}, 'unit quaternion'),
        ({'rotation_xyzw': [float('nan'), 0.0, 0.0, 0.0]}, 'rotation_xyzw'),
        ({'translation': [0.5, 0.0]}, 'translation must have 3 values'),
        ({'translation': [500.0, 0.0, 0.0]}, '-5.0 to 5.0 m'),
        ({'date': '21.11.2026'}, 'ISO 8601'),
        ({'date': '20261332'}, 'ISO 8601'),
        ({'identifier': '../cell_a'}, 'letters, digits'),
        ({'identifier': 'cell_b'}, 'identifier and file name must agree'),
        ({'camera_frame': 'link_base'}, 'must differ'),
        ({'camera_serial': ' '}, 'camera_serial is empty'),
        ({'translatoin': [0.0, 0.0, 0.0]}, "did you mean 'translation'"),
        ({'source': None}, "'source' is missing"),
    ],
)
def test_a_wrong_file_is_refused_with_its_entry(write, changes, words):
    with pytest.raises(ConfigurationError) as refusal:
        load_calibration(write(**changes))
    assert words in str(refusal.value)


def test_an_unquoted_date_is_refused(write):
    path = write()
    path.write_text(path.read_text(encoding='utf-8').replace("'", ''), encoding='utf-8')
    with pytest.raises(ConfigurationError, match='date must be str'):
        load_calibration(path)


def test_an_unknown_name_gets_the_nearest_one(write):
    directory = write().parent
    (directory / 'calibration').mkdir()
    write('calibration/cell_a')
    assert load_named_calibration('cell_a', directory).identifier == 'cell_a'
    with pytest.raises(ConfigurationError, match="did you mean 'cell_a'"):
        load_named_calibration('cell_aa', directory)
    with pytest.raises(ConfigurationError, match='Unknown camera calibration'):
        load_named_calibration('../cell_a', directory)


def test_the_calibrations_of_the_project_can_be_read():
    directory = config_directory()
    paths = sorted((directory / 'calibration').glob('*.yaml'))
    assert paths
    for path in paths:
        assert load_calibration(path).T_base_camera.shape == (4, 4)
