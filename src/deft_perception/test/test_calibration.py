# SPDX-License-Identifier: Apache-2.0
"""Calibration files: what they give, and what is refused."""

from __future__ import annotations

import datetime
from contextlib import nullcontext

import numpy as np
import pytest
import yaml

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.rotations import transform_points
from deft_perception.calibration.calibration_file import (
    CameraCalibration,
    UnfitCalibrationError,
    check_fit,
    load_named_calibration,
    save_calibration,
)

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
        path = tmp_path / 'calibration' / f'{name}.yaml'
        path.parent.mkdir(exist_ok=True)
        entries = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(entries), encoding='utf-8')
        return tmp_path

    return write


def test_camera_coordinates_are_mapped_to_the_base(write):
    calibration = load_named_calibration('cell_a', write())
    # One metre before a camera that looks straight down from 1 m is the table below it; what is
    # lower in the image (y) is nearer to the robot's right hand (-y).
    mapped = transform_points(calibration.T_base_camera, [[0.0, 0.0, 1.0], [0.0, 0.1, 1.0]])
    assert mapped == pytest.approx(np.array([[0.5, 0.0, 0.0], [0.5, -0.1, 0.0]]))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'rotation_xyzw': [1.0, 1.0, 0.0, 0.0]}, 'unit quaternion'),
        ({'rotation_xyzw': [float('nan'), 0.0, 0.0, 0.0]}, 'finite number'),
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
        load_named_calibration('cell_a', write(**changes))
    assert words in str(refusal.value)


def test_an_unquoted_date_is_refused(write):
    path = write() / 'calibration' / 'cell_a.yaml'
    path.write_text(path.read_text(encoding='utf-8').replace("'", ''), encoding='utf-8')
    with pytest.raises(ConfigurationError, match='put it in quotes'):
        load_named_calibration('cell_a', path.parents[1])


def test_an_unknown_name_gets_the_nearest_one(write):
    directory = write()
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
        assert load_named_calibration(path.stem, directory).T_base_camera.shape == (4, 4)


def calibration(**changes):
    values = {**GOOD, 'translation': (0.5, 0.0, 1.0), 'rotation_xyzw': (1.0, 0.0, 0.0, 0.0)}
    return CameraCalibration(**{**values, **changes})


def test_a_calibration_survives_its_file(tmp_path):
    measured = calibration(
        views=20,
        reprojection_error=0.21,
        translation_residual=0.0008,
        rotation_residual=0.001,
        board='charuco_7x5',
        board_translation=(0.01, 0.02, 0.03),
        board_rotation_xyzw=(0.0, 0.0, 0.0, 1.0),
    )
    for wanted in (measured, calibration(identifier='cell_b')):
        file = save_calibration(wanted, tmp_path)
        assert file == tmp_path / 'calibration' / f'{wanted.identifier}.yaml'
        assert load_named_calibration(wanted.identifier, tmp_path) == wanted
    assert measured.T_flange_board[:3, 3] == pytest.approx([0.01, 0.02, 0.03])
    with pytest.raises(ConfigurationError, match='one look cannot check'):
        _ = calibration().T_flange_board


def test_a_calibration_is_never_overwritten(tmp_path):
    save_calibration(calibration(), tmp_path)
    with pytest.raises(ConfigurationError, match='already'):
        save_calibration(calibration(date='2026-11-22'), tmp_path)


def test_beside_links_the_file_goes_to_their_source(tmp_path):
    """As in a workspace that was built with --symlink-install."""
    source, installed = tmp_path / 'source', tmp_path / 'installed'
    save_calibration(calibration(identifier='old'), source)
    (installed / 'calibration').mkdir(parents=True)
    (installed / 'calibration' / 'old.yaml').symlink_to(source / 'calibration' / 'old.yaml')
    file = save_calibration(calibration(), installed)
    assert file == source / 'calibration' / 'cell_a.yaml'
    assert load_named_calibration('cell_a', installed) == calibration()


TODAY = datetime.date(2026, 12, 21)  # thirty days after the calibration


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({}, ''),
        ({'maximum_age_days': 0, 'camera_serial': ''}, ''),
        ({'maximum_age_days': 29}, '30 days old, at most 29'),
        ({'camera_serial': '7'}, "camera '819312', but camera '7' is in use"),
        ({'today': datetime.date(2026, 11, 1)}, 'in the future'),
    ],
)
def test_old_and_foreign_calibrations_are_refused(changes, words):
    session = {'today': TODAY, 'maximum_age_days': 30, 'camera_serial': '_819312', **changes}
    with pytest.raises(UnfitCalibrationError, match=words) if words else nullcontext():
        check_fit(calibration(), **session, simulated=False)
