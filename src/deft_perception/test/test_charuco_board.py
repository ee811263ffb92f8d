# SPDX-License-Identifier: Apache-2.0
"""The calibration board: its picture, its corners in an image, its pose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deft_core.camera import CameraIntrinsics
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError
from deft_core.rotations import matrix_from_euler, transform
from deft_perception.charuco_board import (
    BoardConfiguration,
    BoardDetector,
    NoBoardError,
    draw_board,
    drawn_size,
    load_board,
    locate_board,
    reprojection_residuals,
)
from deft_perception.hand_eye_refinement import pose_difference

BOARD = BoardConfiguration('board', 7, 5, 0.025, 0.0185, 'DICT_4X4_50')
CAMERA = CameraIntrinsics(640, 480, 615.0, 615.0, 322.0, 238.0)
SCALE = 4000.0  # [pixel/m] of the drawn board


def photograph(pose, board=BOARD, sigma=0.0, oversampling=3):
    """The drawn board seen from a pose, with a grey background."""
    drawn = draw_board(board, SCALE)
    width, height = drawn_size(board)
    per_pixel = width / drawn.shape[1]
    margin = ((width - board.size[0]) / 2.0, (height - board.size[1]) / 2.0)
    # Drawn pixel (u, v) lies at ((u + 0.5) * per_pixel - margin) on the board.
    to_board = np.array(
        [
            [per_pixel, 0.0, 0.5 * per_pixel - margin[0]],
            [0.0, per_pixel, 0.5 * per_pixel - margin[1]],
            [0.0, 0.0, 1.0],
        ]
    )
    fine = np.diag([oversampling, oversampling, 1.0])
    fine[:2, 2] = (oversampling - 1) / 2.0
    to_image = fine @ CAMERA.matrix @ pose[:3, [0, 1, 3]] @ to_board
    size = (CAMERA.width * oversampling, CAMERA.height * oversampling)
    image = cv2.warpPerspective(drawn, to_image, size, borderValue=120)
    image = cv2.resize(image, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)
    noisy = image + np.random.default_rng(0).normal(0.0, sigma, image.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope='module')
def detector():
    return BoardDetector(BOARD)


@pytest.mark.parametrize('angles', [(0.0, 0.0, 0.0), (0.5, -0.2, 0.4), (-0.3, 0.6, 2.5)])
def test_corners_and_pose_are_found_below_a_pixel(detector, angles):
    rotation = matrix_from_euler(angles)
    middle = np.array([*BOARD.size, 0.0]) / 2.0
    pose = transform(rotation, np.array([0.02, -0.01, 0.55]) - rotation @ middle)
    seen = detector.detect(photograph(pose, sigma=1.5))
    assert len(seen.corners) == BOARD.corner_count
    residuals = reprojection_residuals(pose, seen, CAMERA)
    assert np.abs(residuals).max() < 0.3
    found = locate_board(seen, CAMERA)
    shift, turn = pose_difference(pose, found.T_camera_board)
    assert shift < 0.002
    assert turn < 0.02
    assert found.reprojection_error < 0.2
    cosine = pose[2, 2] if angles == (0.0, 0.0, 0.0) else np.cos(found.obliqueness)
    assert np.cos(found.obliqueness) == pytest.approx(cosine, abs=0.02)


def test_a_small_far_board_says_that_its_tilt_is_ambiguous(detector):
    near = transform(matrix_from_euler((0.5, 0.0, 0.0)), [-0.08, -0.06, 0.4])
    far = transform(matrix_from_euler((0.15, 0.0, 0.0)), [-0.08, -0.06, 1.1])
    sharp, blurred = (
        locate_board(detector.detect(photograph(pose, sigma=2.0)), CAMERA) for pose in (near, far)
    )
    assert sharp.ambiguity < 0.2 < blurred.ambiguity


def test_without_a_board_there_is_no_detection(detector):
    with pytest.raises(NoBoardError, match='0 corners'):
        detector.detect(np.full((480, 640, 3), 128, dtype=np.uint8))


def test_a_row_of_corners_is_no_board(detector):
    pose = transform(np.eye(3), [-0.0875, -0.0625, 0.35])
    image = photograph(pose)
    top = round(238.0 + 615.0 * (2.0 * 0.025 - 0.0625) / 0.35)
    image[top - 8 :] = 120  # one row of squares with half of the next is left
    with pytest.raises(NoBoardError):
        detector.detect(image)


def test_another_board_is_not_taken_for_this_one(detector):
    other = BoardConfiguration('other', 7, 5, 0.025, 0.0185, 'DICT_6X6_250')
    pose = transform(np.eye(3), [-0.0875, -0.0625, 0.5])
    with pytest.raises(NoBoardError):
        detector.detect(photograph(pose, other))


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
