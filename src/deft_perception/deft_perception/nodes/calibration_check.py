# SPDX-License-Identifier: Apache-2.0
"""Checks a calibration with one look at the board where it was while the calibration was made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sensor_msgs.msg import Image

from deft_core.configuration import config_directory
from deft_core.decode import time_from_msg
from deft_core.errors import DeftError, StaleDataError
from deft_core.validation import FloatArray
from deft_msgs.srv import CheckCalibration
from deft_perception.calibration.board import NoBoardError
from deft_perception.calibration.calibration_file import load_named_calibration
from deft_perception.calibration.calibration_record import disagreement
from deft_perception.calibration.collection import RestWatch
from deft_perception.nodes.board_look import BoardLook
from deft_perception.nodes.calibration_parameters import CalibrationParameters


@dataclass(frozen=True)
class CheckOutcome:
    """What a check says.

    Attributes:
        code: Error constant of `CheckCalibration`.
        message: What it found.
        translation: Disagreement, NaN where unknown. [m].
        rotation: Likewise. [rad].
    """

    code: int
    message: str
    translation: float = math.nan
    rotation: float = math.nan


def check_calibration(
    parameters: CalibrationParameters, look: BoardLook, image: Image | None, rest: RestWatch
) -> CheckOutcome:
    """Compare the board through the arm with the board through the camera.

    Args:
        parameters: Calibration and limits.
        look: Finds the board.
        image: Newest image, if any.
        rest: Of the arm.
    """
    codes = CheckCalibration.Request
    try:
        calibration = load_named_calibration(parameters.calibration, config_directory())
        shift, turn = disagreement(calibration, *_one_look(look, image, rest))
    except NoBoardError as error:
        return CheckOutcome(codes.NO_BOARD, str(error))
    except DeftError as error:
        return CheckOutcome(codes.UNKNOWN, str(error))
    words = f'{1000.0 * shift:.1f} mm and {math.degrees(turn):.2f} deg'
    fits = (
        shift <= parameters.maximum_translation_error and turn <= parameters.maximum_rotation_error
    )
    if fits:
        message = f'{calibration.identifier}: arm and camera agree within {words}.'
        return CheckOutcome(codes.NONE, message, shift, turn)
    message = (
        f'Arm and camera disagree about the board by {words}; has the camera or the board moved '
        f'since {calibration.date}? Calibrate again with `deft calibrate camera`.'
    )
    return CheckOutcome(codes.OUT_OF_TOLERANCE, message, shift, turn)


def _one_look(
    look: BoardLook, image: Image | None, rest: RestWatch
) -> tuple[FloatArray, FloatArray]:
    """`T_base_flange` and `T_camera_board` of the newest image.

    Raises:
        StaleDataError: No image was taken while the arm rested.
        NoBoardError: The image does not show the board.
    """
    arm = rest.newest
    if image is None or arm is None or not rest.covers(time_from_msg(image.header.stamp)):
        raise StaleDataError(
            'There is no image from a rest of the arm; hold it still, and check that arm and '
            'camera run and stamp with one clock.'
        )
    _, pose, _ = look.find(image)
    return arm.T_base_flange, pose.T_camera_board
