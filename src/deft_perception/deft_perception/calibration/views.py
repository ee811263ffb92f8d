# SPDX-License-Identifier: Apache-2.0
"""The views of a calibration on disk, so that it can be solved again without the robot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.configuration import build
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.files import read_json, write_atomically
from deft_core.validation import FloatArray, finite_array
from deft_perception.calibration.board import BoardConfiguration, BoardDetection, locate_board
from deft_perception.calibration.collection import Look
from deft_perception.calibration.solve import CalibrationView

VIEWS_FILE: Final = 'views.json'
_SCHEMA_VERSION: Final = 1
_MOST_BYTES: Final = 50_000_000


@dataclass(frozen=True, eq=False)
class StoredViews:
    """What a folder of views holds.

    Attributes:
        board: That was looked at.
        camera: Intrinsics of the images.
        camera_serial: Serial number of the camera.
        camera_frame: Optical frame of the images.
        date: Day of the views, ISO 8601.
        views: Views that show the board.
        postures: Arm joints of each view. Shape (n, joints). [rad].
    """

    board: BoardConfiguration
    camera: CameraIntrinsics
    camera_serial: str
    camera_frame: str
    date: str
    views: tuple[CalibrationView, ...]
    postures: FloatArray


def save_views(
    folder: Path,
    looks: Sequence[Look],
    *,
    board: BoardConfiguration,
    camera: CameraIntrinsics,
    camera_serial: str,
    camera_frame: str,
    date: str,
) -> Path:
    """Write the looks that show the board.

    Raises:
        RecordingError: The file cannot be written.
    """
    views = [
        {
            'name': look.view.name,
            'T_base_flange': look.view.T_base_flange.tolist(),
            'joints': look.arm.joints.tolist(),
            'corners': look.view.detection.corners.tolist(),
            'identifiers': look.view.detection.identifiers.tolist(),
        }
        for look in looks
        if look.view is not None
    ]
    document = {
        'schema_version': _SCHEMA_VERSION,
        'board': asdict(board),
        'camera': asdict(camera),
        'camera_serial': camera_serial,
        'camera_frame': camera_frame,
        'date': date,
        'views': views,
    }
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
        if document['schema_version'] != _SCHEMA_VERSION:
            raise RecordingError(
                f'{path} has version {document["schema_version"]!r}, expected {_SCHEMA_VERSION}.'
            )
        board = build(BoardConfiguration, document['board'], str(path))
        camera = build(CameraIntrinsics, document['camera'], str(path))
        points = np.asarray(board.board().getChessboardCorners(), dtype=np.float64)
        views, postures = [], []
        for entry in document['views']:
            identifiers = np.array(entry['identifiers'], dtype=np.int64)
            corners = finite_array('corners', entry['corners'], (len(identifiers), 2))
            if identifiers.min() < 0:
                raise IndexError('a corner has a negative number')
            detection = BoardDetection(corners, identifiers, points[identifiers])
            pose = finite_array('T_base_flange', entry['T_base_flange'], (4, 4))
            views.append(
                CalibrationView(
                    str(entry['name']), pose, detection, locate_board(detection, camera)
                )
            )
            postures.append(finite_array('joints', entry['joints'], (-1,)))
        return StoredViews(
            board=board,
            camera=camera,
            camera_serial=str(document['camera_serial']),
            camera_frame=str(document['camera_frame']),
            date=str(document['date']),
            views=tuple(views),
            postures=np.array(postures),
        )
    except (
        ConfigurationError, InvalidInputError, LookupError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise RecordingError(
            f'Cannot read the views {path} ({type(error).__name__}: {error}); calibrate again.'
        ) from error
