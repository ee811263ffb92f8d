# SPDX-License-Identifier: Apache-2.0
"""From stored views to a calibration file, with the pictures and the words for a person."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from deft_core.frames import BASE_FRAME
from deft_perception.calibration.calibration_figure import draw_calibration
from deft_perception.calibration.calibration_file import CameraCalibration, save_calibration
from deft_perception.calibration.calibration_record import calibration_of
from deft_perception.calibration.solve import CalibrationResult, CalibrationSettings, calibrate
from deft_perception.calibration.views import StoredViews

FIGURE = 'calibration.png'


def solve_stored(
    stored: StoredViews,
    settings: CalibrationSettings,
    *,
    name: str,
    folder: Path,
    configuration: Path,
) -> tuple[CameraCalibration, CalibrationResult, Path]:
    """Calibrate from views, draw the residuals, write the calibration file.

    Args:
        stored: The views.
        settings: What must be satisfied.
        name: Of the calibration, and of its file.
        folder: Gets the picture.
        configuration: Configuration folder that gets the file.

    Returns:
        The calibration, what speaks for it, and its file.

    Raises:
        TooFewViewsError: Too few usable views.
        InvalidInputError: The views turn the flange about one axis only.
        LargeResidualError: The views contradict each other.
        ConfigurationError: The name is not allowed or taken.
        RecordingError: A file cannot be written.
    """
    result = calibrate(stored.views, stored.camera, settings)
    draw_calibration(result, stored.views, stored.camera, folder / FIGURE)
    calibration = calibration_of(
        result,
        identifier=name,
        date=datetime.date.fromisoformat(stored.date),
        camera_serial=stored.camera_serial,
        base_frame=BASE_FRAME,
        camera_frame=stored.camera_frame,
        board=stored.board.name,
    )
    return calibration, result, save_calibration(calibration, configuration)


def summary_lines(calibration: CameraCalibration, result: CalibrationResult) -> list[str]:
    """What a person wants to know, one thing in a line."""
    x, y, z = calibration.translation
    return [
        f'camera {calibration.camera_serial} in {calibration.base_frame}: '
        f'x {x:.4f} m, y {y:.4f} m, z {z:.4f} m',
        f'views: {len(result.views)} used, {len(result.rejected)} rejected',
        *(f'  {name}: {reason}' for name, reason in result.rejected),
        'residuals on held-out views:',
        *(
            f'  {method.method:10}  {method.reprojection:6.3f} pixel  '
            f'{1000.0 * method.translation:6.3f} mm  {np.degrees(method.rotation):7.4f} deg'
            for method in result.methods
        ),
        f'one standard deviation of the camera: '
        f'{1000.0 * result.refinement.translation_deviation:.2f} mm, '
        f'{np.degrees(result.refinement.rotation_deviation):.3f} deg',
    ]
