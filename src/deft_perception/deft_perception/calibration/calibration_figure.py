# SPDX-License-Identifier: Apache-2.0
"""The residuals of a calibration, drawn for a person to judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft_core.camera import CameraIntrinsics, ColorImage
from deft_core.errors import RecordingError
from deft_perception.calibration.board import BoardDetection, BoardPose, reprojection_residuals
from deft_perception.calibration.solve import CalibrationResult, CalibrationView

_FITTED: Final = '#3b6ea5'
_HELD_OUT: Final = '#d1802b'
_ARROW: Final = 100.0  # residuals are drawn this much longer


def draw_calibration(
    result: CalibrationResult,
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    path: Path,
) -> None:
    """Write a picture: where in the image the corners lay, and what each view leaves.

    Args:
        result: The calibration.
        views: All views that were offered.
        camera: Intrinsics.
        path: PNG to write.

    Raises:
        RecordingError: The file cannot be written.
    """
    figure = Figure(figsize=(10.0, 6.4), layout='constrained')
    FigureCanvasAgg(figure)
    image, pixels, shift, turn = figure.subplots(2, 2).ravel()
    _draw_image(image, result, views, camera)
    _draw_bars(pixels, result, 'reprojection', 1.0, 'reprojection [pixel]')
    _draw_bars(shift, result, 'translation', 1000.0, 'board: arm to image [mm]')
    _draw_bars(turn, result, 'rotation', float(np.degrees(1.0)), 'board: arm to image [deg]')
    judged = result.judged
    figure.suptitle(
        f'{len(result.views)} views, {len(result.rejected)} rejected; held out: '
        f'{judged.reprojection:.2f} pixel, {1000.0 * judged.translation:.2f} mm, '
        f'{np.degrees(judged.rotation):.3f} deg',
        fontsize=11,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format='png', dpi=100)
    except OSError as error:
        raise RecordingError(f'Cannot write the picture {path}: {error}') from error


def draw_detection(
    color: ColorImage, detection: BoardDetection, pose: BoardPose, camera: CameraIntrinsics
) -> ColorImage:
    """Copy of an image with the corners that were found and the axes of the board.

    Args:
        color: RGB. Shape (height, width, 3).
        detection: Corners.
        pose: Of the board.
        camera: Intrinsics.
    """
    image = color.copy()
    for column, row in detection.corners:
        cv2.circle(image, (round(column), round(row)), 4, (60, 220, 60), 1, cv2.LINE_AA)
    rotation, _ = cv2.Rodrigues(pose.T_camera_board[:3, :3])
    translation = np.ascontiguousarray(pose.T_camera_board[:3, 3])
    length = float(np.ptp(detection.points[:, 1])) or float(np.ptp(detection.points[:, 0]))
    swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # so that x comes out red
    cv2.drawFrameAxes(swapped, camera.matrix, None, rotation, translation, 0.5 * length, 2)
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


def _draw_bars(axes: Any, result: CalibrationResult, name: str, scale: float, label: str) -> None:
    values = [scale * getattr(view, name) for view in result.views]
    colors = [_HELD_OUT if view.held_out else _FITTED for view in result.views]
    axes.bar(range(len(values)), values, color=colors)
    axes.set_title(label, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel('view (orange: held out)', fontsize=8)
    axes.tick_params(labelsize=7)
