# SPDX-License-Identifier: Apache-2.0
"""The calibration board: its picture, its corners in an image, its pose."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.rotations import matrix_from_euler, transform
from deft_perception.calibration.board import (
    BoardConfiguration,
    BoardDetector,
    NoBoardError,
    load_board,
    locate_board,
    reprojection_residuals,
    save_board_page,
)
from deft_perception.calibration.hand_eye import pose_difference


@pytest.fixture(scope='module')
def detector(board):
    return BoardDetector(board)


@pytest.mark.parametrize('angles', [(0.0, 0.0, 0.0), (0.5, -0.2, 0.4), (-0.3, 0.6, 2.5)])
def test_corners_and_pose_are_found_below_a_pixel(
    detector, photograph, board, board_camera, angles
):
    rotation = matrix_from_euler(angles)
    middle = np.array([*board.size, 0.0]) / 2.0
    pose = transform(rotation, np.array([0.02, -0.01, 0.55]) - rotation @ middle)
    seen = detector.detect(photograph(pose, sigma=1.5))
    assert len(seen.corners) == board.corner_count
    residuals = reprojection_residuals(pose, seen, board_camera)
    assert np.abs(residuals).max() < 0.3
    found = locate_board(seen, board_camera)
    shift, turn = pose_difference(pose, found.T_camera_board)
    assert shift < 0.002
    assert turn < 0.02
    assert found.reprojection_error < 0.2
    cosine = pose[2, 2] if angles == (0.0, 0.0, 0.0) else np.cos(found.obliqueness)
    assert np.cos(found.obliqueness) == pytest.approx(cosine, abs=0.02)


def test_a_small_far_board_says_that_its_tilt_is_ambiguous(
    detector, photograph, board, board_camera
):
    near = transform(matrix_from_euler((0.5, 0.0, 0.0)), [-0.08, -0.06, 0.4])
    far = transform(matrix_from_euler((0.15, 0.0, 0.0)), [-0.08, -0.06, 1.1])
    sharp, blurred = (
        locate_board(detector.detect(photograph(pose, sigma=2.0)), board_camera)
        for pose in (near, far)
    )
    assert sharp.ambiguity < 0.2 < blurred.ambiguity


def test_without_a_board_there_is_no_detection(detector):
    with pytest.raises(NoBoardError, match='0 corners'):
        detector.detect(np.full((480, 640, 3), 128, dtype=np.uint8))


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('size', [(6, 8), (5, 6), (7, 5)])
def test_boards_as_opencv_drew_them_before_4_6_are_found_too(size, legacy):
    configuration = BoardConfiguration('b', *size, 0.022, 0.016, 'DICT_4X4_50')
    drawn = configuration.board()
    drawn.setLegacyPattern(legacy)
    picture = drawn.generateImage((100 * size[0], 100 * size[1]))
    picture = np.repeat(np.pad(picture, 60, constant_values=255)[..., None], 3, axis=2)
    found = BoardDetector(configuration).detect(picture)
    assert len(found.corners) == configuration.corner_count
    # 100 pixels a square: every corner lies where its number says, up to one place of the whole.
    places = found.corners - found.points[:, :2] / 0.022 * 100.0
    assert np.ptp(places, axis=0) == pytest.approx(0.0, abs=0.5)


def test_markers_of_another_board_are_named(board, photograph):
    pose = transform(np.eye(3), [-0.08, -0.06, 0.4])
    other = BoardConfiguration('other', 9, 9, 0.025, 0.0185, board.dictionary)
    with pytest.raises(NoBoardError, match=r'17 markers of DICT_4X4_50.*9 x 9'):
        BoardDetector(other).detect(photograph(pose))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'dictionary': 'DICT_4X4_5O'}, "did you mean 'DICT_4X4_50'"),
        ({'marker_length': 0.03}, 'smaller than'),
        ({'squares_x': 20, 'squares_y': 10}, 'needs 100 markers'),
    ],
)
def test_boards_that_cannot_be_printed_are_refused(changes, words):
    values = {
        'name': 'b',
        'squares_x': 7,
        'squares_y': 5,
        'square_length': 0.025,
        'marker_length': 0.0185,
        'dictionary': 'DICT_4X4_50',
        **changes,
    }
    with pytest.raises(ConfigurationError, match=words):
        BoardConfiguration(**values)


def test_the_shipped_board_loads_and_unknown_ones_are_refused():
    assert load_board('charuco_7x5', config_directory()).corner_count == 24
    with pytest.raises(ConfigurationError, match='charuco_7x5'):
        load_board('charuco_7x6', config_directory())


def test_the_page_for_the_printer_knows_its_size(board, tmp_path):
    width, height = save_board_page(board, tmp_path / 'new' / 'board.png')
    assert (width, height) == pytest.approx((0.2, 0.15))
    page = Image.open(tmp_path / 'new' / 'board.png')
    across, down = page.info['dpi']
    assert page.width / across * 0.0254 == pytest.approx(width, rel=1e-3)
    assert page.height / down * 0.0254 == pytest.approx(height, rel=1e-3)
