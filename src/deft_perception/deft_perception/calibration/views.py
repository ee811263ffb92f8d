# SPDX-License-Identifier: Apache-2.0
"""The views of a calibration on disk, so that it can be solved again without the robot."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.configuration import bounds, build
from deft_core.errors import DeftError, InvalidInputError, RecordingError, shown
from deft_core.files import LARGEST_RECORDING, read_json, write_atomically
from deft_core.rotations import rigid_transform
from deft_core.validation import finite_array
from deft_perception.calibration.board import BoardConfiguration, locate_board, make_detection
from deft_perception.calibration.hand_eye import CalibrationView

VIEWS_FILE: Final = 'views.json'
_SCHEMA_VERSION: Final = 1
_Row: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class StoredViews:
    """What a folder of views holds; `date` is their day, ISO 8601."""

    board: BoardConfiguration
    camera: CameraIntrinsics
    camera_serial: str
    camera_frame: str
    date: str
    views: tuple[CalibrationView, ...]


@dataclass(frozen=True)
class _View:
    """A `CalibrationView` in the file."""

    name: str
    T_base_flange: tuple[_Row, _Row, _Row, _Row] = field(metadata=bounds(-100.0, 100.0))
    joints: tuple[float, ...] = field(metadata=bounds(-100.0, 100.0, 'rad'))
    corners: tuple[tuple[float, float], ...] = field(metadata=bounds(-1e5, 1e5, 'pixel'))
    identifiers: tuple[int, ...] = field(metadata=bounds(0, 10_000))


@dataclass(frozen=True)
class _Document:
    """What the file holds; see `StoredViews`."""

    schema_version: int = field(metadata=bounds(_SCHEMA_VERSION, _SCHEMA_VERSION))
    board: BoardConfiguration
    camera: CameraIntrinsics
    camera_serial: str
    camera_frame: str
    date: str
    views: tuple[_View, ...]

    def __post_init__(self) -> None:
        """Refuse a day that is none: the calibration would bear it."""
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise InvalidInputError(
                f'date must be an ISO 8601 day such as 2026-11-21, got {shown(self.date)}.'
            ) from error


def save_views(folder: Path, stored: StoredViews) -> Path:
    """Write views; returns the file."""
    views = [
        {
            'name': view.name,
            'T_base_flange': view.T_base_flange.tolist(),
            'joints': view.joints.tolist(),
            'corners': view.detection.corners.tolist(),
            'identifiers': view.detection.identifiers.tolist(),
        }
        for view in stored.views
    ]
    plain = asdict(replace(stored, views=()))
    document = {'schema_version': _SCHEMA_VERSION, **plain, 'views': views}
    path = folder / VIEWS_FILE
    write_atomically(path, json.dumps(document, allow_nan=False) + '\n')
    return path


def load_views(folder: Path) -> StoredViews:
    """Read the views of a folder.

    Raises:
        RecordingError: There are none, or the file is damaged.
    """
    path = folder / VIEWS_FILE
    try:
        document = build(_Document, read_json(path, LARGEST_RECORDING), str(path))
        return StoredViews(
            board=document.board,
            camera=document.camera,
            camera_serial=document.camera_serial,
            camera_frame=document.camera_frame,
            date=document.date,
            views=tuple(_view(view, document) for view in document.views),
        )
    except DeftError as error:
        raise RecordingError(f'Cannot read the views, calibrate again: {error}') from error


def _view(view: _View, document: _Document) -> CalibrationView:
    try:
        detection = make_detection(
            document.board,
            finite_array('corners', view.corners, (len(view.identifiers), 2)),
            np.array(view.identifiers, dtype=np.int64),
        )
        return CalibrationView(
            view.name,
            finite_array('joints', view.joints, (-1,)),
            rigid_transform(view.T_base_flange),
            detection,
            locate_board(detection, document.camera),
        )
    except DeftError as error:
        raise RecordingError(f'view {shown(view.name)}: {error}') from error
