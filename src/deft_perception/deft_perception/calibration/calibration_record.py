# SPDX-License-Identifier: Apache-2.0
"""From the result of a calibration to its file, and one look that checks a file."""

from __future__ import annotations

import datetime

import numpy as np

from deft_core.errors import ConfigurationError
from deft_core.rotations import quaternion_from_matrix
from deft_core.validation import FloatArray
from deft_perception.calibration.calibration_file import CameraCalibration
from deft_perception.calibration.hand_eye_refinement import pose_difference
from deft_perception.calibration.solve import CalibrationResult


def calibration_of(
    result: CalibrationResult,
    *,
    identifier: str,
    date: datetime.date,
    camera_serial: str,
    base_frame: str,
    camera_frame: str,
    board: str,
) -> CameraCalibration:
    """The file's content for a result.

    Args:
        result: A calibration that was not refused.
        identifier: Name of the calibration.
        date: Day on which the views were taken.
        camera_serial: Serial number of the camera.
        base_frame: Frame of the arm's poses.
        camera_frame: Optical frame of the images.
        board: Name of the board.

    Raises:
        ConfigurationError: A name is not allowed.
    """
    solution, judged = result.solution, result.judged
    held_out = sum(view.held_out for view in result.views)
    return CameraCalibration(
        identifier=identifier,
        date=date.isoformat(),
        camera_serial=camera_serial.removeprefix('_'),
        base_frame=base_frame,
        camera_frame=camera_frame,
        translation=_three(solution.T_base_camera),
        rotation_xyzw=_four(solution.T_base_camera),
        source=(
            f'{len(result.views)} views of board {board}, {len(result.rejected)} rejected; '
            f'residuals on {held_out} held-out views'
        ),
        views=len(result.views),
        reprojection_error=round(judged.reprojection, 4),
        translation_residual=round(judged.translation, 6),
        rotation_residual=round(judged.rotation, 6),
        board=board,
        board_translation=_three(solution.T_flange_board),
        board_rotation_xyzw=_four(solution.T_flange_board),
    )


def disagreement(
    calibration: CameraCalibration, T_base_flange: FloatArray, T_camera_board: FloatArray
) -> tuple[float, float]:
    """How far a calibration puts the board from where the arm has it.

    Args:
        calibration: With the mount of the board.
        T_base_flange: Pose of the flange from the arm. Shape (4, 4). [m].
        T_camera_board: Where the image puts the board. Shape (4, 4). [m].

    Returns:
        Distance of the board's origin [m] and angle [rad] between the two.

    Raises:
        ConfigurationError: The calibration was not made with a board.
    """
    mount = require_mount(calibration)
    return pose_difference(T_base_flange @ mount, calibration.T_base_camera @ T_camera_board)


def require_mount(calibration: CameraCalibration) -> FloatArray:
    """`T_flange_board` of a calibration that was made with a board. Shape (4, 4). [m].

    Raises:
        ConfigurationError: It was not.
    """
    mount = calibration.T_flange_board
    if mount is None:
        raise ConfigurationError(
            f'Calibration {calibration.identifier} does not say where a board was on the flange, '
            'so one look cannot check it; calibrate with `deft calibrate camera`.'
        )
    return mount


def _three(pose: FloatArray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 6) for value in pose[:3, 3])
    return x, y, z


def _four(pose: FloatArray) -> tuple[float, float, float, float]:
    x, y, z, w = (round(float(v), 9) for v in quaternion_from_matrix(np.asarray(pose[:3, :3])))
    return x, y, z, w
