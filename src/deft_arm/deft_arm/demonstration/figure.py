# SPDX-License-Identifier: Apache-2.0
"""A picture of a post-grasp trajectory: where it leads, how it turns, and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from deft_core.rotations import rotation_vector_from_matrix
from deft_core.validation import FloatArray

if TYPE_CHECKING:
    from deft_arm.configuration import ArmConfiguration
    from deft_arm.demonstration.extraction import Extraction
    from deft_core.trajectory import WristTrajectory

_AXES: Final = 'xyz'
_COLORS: Final = ('#4477aa', '#228833', '#ee6677')
_RAW: Final = '#bbbbbb'


def draw(
    trajectory: WristTrajectory,
    rotation: FloatArray,
    position: FloatArray,
    configuration: ArmConfiguration,
    verdict: str,
    path: Path,
    extraction: Extraction | None = None,
) -> None:
    """Write a PNG with the trajectory as it runs from one grasp, with a verdict as its title.

    The grasp is a rotation of the flange, shape (3, 3), and a position of the grasp centre, shape
    (3,) [m]. What the trajectory was extracted from is drawn beside it.
    """
    # Imported here, because a node that plans does not draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11.0, 6.0), layout='constrained')
    FigureCanvasAgg(figure)
    top, side, shift, turn = figure.subplots(2, 2).ravel()
    poses = trajectory.poses(rotation, position)
    points = np.array([position, *(moved for _, moved in poses)])
    turned = [rotation, *(matrix for matrix, _ in poses)]
    _view(top, points, (0, 1), configuration, 'from above')
    _view(side, points, (0, 2), configuration, 'from the side')
    times = np.arange(len(points)) / trajectory.rate
    for axis in range(3):
        shift.plot(times, points[:, axis] - position[axis], color=_COLORS[axis], label=_AXES[axis])
    if extraction is not None:
        _raw(shift, extraction)
    shift.set(xlabel='time after the grasp [s]', ylabel='grasp centre [m]')
    shift.legend(loc='upper left', ncols=4, fontsize='small')
    vectors = np.array([rotation_vector_from_matrix(matrix @ rotation.T) for matrix in turned])
    for axis in range(3):
        turn.plot(times, vectors[:, axis], color=_COLORS[axis], label=_AXES[axis])
    turn.set(xlabel='time after the grasp [s]', ylabel='turn, axis times angle [rad]')
    figure.suptitle(f'{trajectory.source}\n{verdict}', fontsize='medium', wrap=True)
    figure.savefig(path, dpi=100)


def _view(
    axes: Any, points: FloatArray, plane: tuple[int, int], limits: ArmConfiguration, title: str
) -> None:
    """Path and workspace in one plane of the base frame."""
    across, up = plane
    lower = np.asarray(limits.workspace_lower)
    upper = np.asarray(limits.workspace_upper)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    box = np.where(corners, upper[list(plane)], lower[list(plane)])
    axes.plot(box[:, 0], box[:, 1], color=_RAW, label='workspace')
    if up == 2:
        axes.axhline(limits.table_height, color='#aa7744', label='table')
    axes.plot(points[:, across], points[:, up], '.-', color=_COLORS[0], markersize=3)
    axes.plot(points[0, across], points[0, up], 'o', color=_COLORS[2], label='grasp')
    axes.set(title=title, xlabel=f'{_AXES[across]} [m]', ylabel=f'{_AXES[up]} [m]')
    axes.set_aspect('equal', adjustable='datalim')
    axes.legend(fontsize='small')


def _raw(axes: Any, extraction: Extraction) -> None:
    """What the tracker saw of the same stretch."""
    raw, smooth = extraction.raw, extraction.smooth
    rate, count = extraction.trajectory.rate, len(extraction.trajectory)
    end = smooth.times[-1]
    begin = max(float(smooth.times[0]), float(end) - count / rate)
    inside = (raw.times >= begin) & (raw.times <= end)
    start = raw.positions[inside][0]
    for axis in range(3):
        axes.plot(
            raw.times[inside] - begin,
            raw.positions[inside][:, axis] - start[axis],
            '.',
            color=_RAW,
            markersize=2,
            zorder=0,
            label='tracked' if axis == 0 else None,
        )
