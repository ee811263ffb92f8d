# SPDX-License-Identifier: Apache-2.0
"""The views of a calibration on disk, so that it can be solved again without the robot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.configuration import build
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.files import read_json, write_atomically
from deft_core.validation import FloatArray, finite_array
from deft_perception.calibration.board import BoardConfiguration, BoardDetection, locate_board
from deft_perception.calibration.hand_eye import CalibrationView

VIEWS_FILE: Final = 'views.json'
_SCHEMA_VERSION: Final = 1
_MOST_BYTES: Final = 50_000_000


@dataclass(frozen=True, eq=False)
class StoredViews:
    """What a folder of views holds; `date` is their day, ISO 8601."""

    board: BoardConfiguration
    camera: CameraIntrinsics
    camera_serial: str
    camera_frame: str
    date: str
    views: tuple[CalibrationView, ...]


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
        document = read_json(path, _MOST_BYTES)
        views = document.pop('views')
        if document.pop('schema_version') != _SCHEMA_VERSION:
            raise RecordingError(f'{path} is not of version {_SCHEMA_VERSION}; calibrate again.')
        stored = build(StoredViews, {**document, 'views': []}, str(path))
        points = np.asarray(stored.board.board().getChessboardCorners(), dtype=np.float64)
        return replace(stored, views=tuple(_view(e, points, stored.camera) for e in views))
    except (
        ConfigurationError, InvalidInputError, LookupError, TypeError, ValueError, OverflowError,
    ) as error:  # fmt: skip
        raise RecordingError(
            f'Cannot read the views {path} ({type(error).__name__}: {error}); calibrate again.'
        ) from error


def _view(entry: Any, points: FloatArray, camera: CameraIntrinsics) -> CalibrationView:
    identifiers = np.array(entry['identifiers'], dtype=np.int64)
    corners = finite_array('corners', entry['corners'], (len(identifiers), 2))
    if identifiers.min() < 0:
        raise IndexError('a corner has a negative number')
    detection = BoardDetection(corners, identifiers, points[identifiers])
    return CalibrationView(
        str(entry['name']),
        finite_array('joints', entry['joints'], (-1,)),
        finite_array('T_base_flange', entry['T_base_flange'], (4, 4)),
        detection,
        locate_board(detection, camera),
    )
