# SPDX-License-Identifier: Apache-2.0
"""From stored views to a calibration file, with the picture and the words for a person."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft_core.camera import CameraIntrinsics, ColorImage
from deft_core.files import write_atomically
from deft_core.frames import BASE_FRAME
from deft_core.rotations import quaternion_from_matrix
from deft_core.validation import FloatArray
from deft_perception.calibration.board import BoardDetection, BoardPose, reprojection_residuals
from deft_perception.calibration.calibration_file import CameraCalibration, save_calibration
from deft_perception.calibration.hand_eye import CalibrationView
from deft_perception.calibration.settings import CalibrationSettings
from deft_perception.calibration.solve import CalibrationResult, calibrate
from deft_perception.calibration.views import StoredViews

FIGURE: Final = 'calibration.png'
_FITTED: Final = '#3b6ea5'
_HELD_OUT: Final = '#d1802b'
_ARROW: Final = 100.0  # residuals are drawn this much longer


def calibrate_stored(
    stored: StoredViews,
    settings: CalibrationSettings,
    *,
    name: str,
    folder: Path,
    configuration: Path,
) -> tuple[Path, list[str]]:
    """Calibrate from views, draw the residuals into `folder`, write the calibration file.

    Returns:
        The file, and what a person wants to know, one thing in a line.

    Raises:
        DeftError: As `calibrate` and `save_calibration`.
    """
    result = calibrate(stored.views, stored.camera, settings)
    draw_calibration(result, stored.views, stored.camera, folder / FIGURE)
    calibration = calibration_of(result, name, stored)
    return save_calibration(calibration, configuration), _summary(calibration, result)


def calibration_of(
    result: CalibrationResult, identifier: str, stored: StoredViews
) -> CameraCalibration:
    """The content of the file for a result; raises ConfigurationError for a wrong name."""
    solution, judged = result.solution, result.judged
    held_out = sum(view.held_out for view in result.views)
    return CameraCalibration(
        identifier=identifier,
        date=stored.date,
        camera_serial=stored.camera_serial.removeprefix('_'),
        base_frame=BASE_FRAME,
        camera_frame=stored.camera_frame,
        translation=_three(solution.T_base_camera),
        rotation_xyzw=_four(solution.T_base_camera),
        source=(
            f'{len(result.views)} views of board {stored.board.name}, {len(result.rejected)} '
            f'rejected; residuals on {held_out} held-out views'
        ),
        views=len(result.views),
        reprojection_error=round(judged.reprojection, 4),
        translation_residual=round(judged.translation, 6),
        rotation_residual=round(judged.rotation, 6),
        board=stored.board.name,
        board_translation=_three(solution.T_flange_board),
        board_rotation_xyzw=_four(solution.T_flange_board),
    )


def _three(pose: FloatArray) -> tuple[float, float, float]:
    x, y, z = pose[:3, 3].round(6).tolist()
    return x, y, z


def _four(pose: FloatArray) -> tuple[float, float, float, float]:
    x, y, z, w = quaternion_from_matrix(pose[:3, :3]).round(9).tolist()
    return x, y, z, w


def _summary(calibration: CameraCalibration, result: CalibrationResult) -> list[str]:
    x, y, z = calibration.translation
    judged, fit = result.judged, result.refinement
    return [
        f'camera {calibration.camera_serial} in {calibration.base_frame}: '
        f'x {x:.4f} m, y {y:.4f} m, z {z:.4f} m',
        f'views: {len(result.views)} used, {len(result.rejected)} rejected',
        *(f'  {name}: {reason}' for name, reason in result.rejected),
        f'residuals on held-out views: {judged.reprojection:.3f} pixel, '
        f'{1000.0 * judged.translation:.3f} mm, {np.degrees(judged.rotation):.4f} deg',
        f'one standard deviation of the camera: {1000.0 * fit.translation_deviation:.2f} mm, '
        f'{np.degrees(fit.rotation_deviation):.3f} deg',
    ]


def draw_calibration(
    result: CalibrationResult,
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    path: Path,
) -> None:
    """Write a picture: where in the image the corners lay, and what each view leaves."""
    figure = Figure(figsize=(10.0, 6.4), layout='constrained')
    FigureCanvasAgg(figure)
    image, *bars = figure.subplots(2, 2).ravel()
    _draw_image(image, result, views, camera)
    for axes, name, scale, label in (
        (bars[0], 'reprojection', 1.0, 'reprojection [pixel]'),
        (bars[1], 'translation', 1000.0, 'board: arm to image [mm]'),
        (bars[2], 'rotation', float(np.degrees(1.0)), 'board: arm to image [deg]'),
    ):
        values = [scale * getattr(view, name) for view in result.views]
        colors = [_HELD_OUT if view.held_out else _FITTED for view in result.views]
        axes.bar(range(len(values)), values, color=colors)
        axes.set_title(label, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel('view (orange: held out)', fontsize=8)
        axes.tick_params(labelsize=7)
    judged = result.judged
    figure.suptitle(
        f'{len(result.views)} views, {len(result.rejected)} rejected; held out: '
        f'{judged.reprojection:.2f} pixel, {1000.0 * judged.translation:.2f} mm, '
        f'{np.degrees(judged.rotation):.3f} deg',
        fontsize=11,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format='png', dpi=100)
    write_atomically(path, picture.getvalue())


def draw_detection(
    color: ColorImage, detection: BoardDetection, pose: BoardPose, camera: CameraIntrinsics
) -> ColorImage:
    """Copy of an RGB image with the corners that were found and the axes of the board."""
    image = color.copy()
    for column, row in detection.corners:
        cv2.circle(image, (round(column), round(row)), 4, (60, 220, 60), 1, cv2.LINE_AA)
    rotation, _ = cv2.Rodrigues(pose.T_camera_board[:3, :3])
    translation = np.ascontiguousarray(pose.T_camera_board[:3, 3])
    length = float(np.ptp(detection.points[:, 1])) or float(np.ptp(detection.points[:, 0]))
    swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # so that x comes out red
    cv2.drawFrameAxes(
        swapped, camera.matrix, camera.coefficients, rotation, translation, 0.5 * length, 2
    )
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _draw_image(
    axes: Any,
    result: CalibrationResult,
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
) -> None:
    held_out = {view.name: view.held_out for view in result.views}
    for view in views:
        corners = view.detection.corners
        if view.name not in held_out:
            axes.plot(corners[:, 0], corners[:, 1], 'x', color='0.7', markersize=3)
            continue
        predicted = result.solution.board_in_camera(view.T_base_flange)
        arrows = _ARROW * reprojection_residuals(predicted, view.detection, camera)
        color = _HELD_OUT if held_out[view.name] else _FITTED
        axes.plot(*corners.T, '.', color=color, markersize=2)
        axes.quiver(
            *corners.T, *arrows.T, color=color, angles='xy', scale_units='xy', scale=1, width=0.003
        )
    axes.set(xlim=(0, camera.width), ylim=(camera.height, 0), aspect='equal')
    axes.set_title(f'corners, residuals x {_ARROW:.0f}', fontsize=9)
    axes.tick_params(labelsize=7)
