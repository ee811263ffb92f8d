# SPDX-License-Identifier: Apache-2.0
"""Wrist poses over time, as a hand tracker saw them; the file formats that hold them.

Axes of the hand, as those of the robot's flange: z along the straight fingers, x out of the palm,
y = z x x, which is the thumb's side of a right hand.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.rotations import matrix_from_quaternion, quaternion_from_matrix
from deft_core.validation import FloatArray, finite_array

SCHEMA: Final = 'deft_pose_track/1'
_MAXIMUM_FILE_BYTES: Final = 50_000_000
_ORTHONORMAL: Final = 1e-6
_CSV_COLUMNS: Final = ('time_s', 'x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw')


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Wrist poses of one hand.

    Attributes:
        times: Strictly increasing. Shape (n,). [s].
        positions: Wrist in `frame_id`. Shape (n, 3). [m].
        rotations: Hand axes in `frame_id`. Shape (n, 3, 3).
        frame_id: Frame of the camera, or of the base.
        source: Which tracker, which recording.
    """

    times: FloatArray
    positions: FloatArray
    rotations: FloatArray
    frame_id: str
    source: str

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        times = finite_array('track times', self.times, (-1,))
        positions = finite_array('track positions', self.positions, (len(times), 3))
        rotations = finite_array('track rotations', self.rotations, (len(times), 3, 3))
        if len(times) < 2 or np.any(np.diff(times) <= 0.0):
            raise InvalidInputError(
                f'A pose track needs at least two poses at increasing times, got {len(times)}.'
            )
        errors = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        if errors.max() > _ORTHONORMAL or np.any(np.linalg.det(rotations) < 0.0):
            raise InvalidInputError(
                f'Pose {int(np.argmax(errors))} of the track has no rotation matrix '
                f'(off by {errors.max():.1e}); give unit quaternions x, y, z, w.'
            )
        for name, value in (('times', times), ('positions', positions), ('rotations', rotations)):
            object.__setattr__(self, name, value)

    @property
    def duration(self) -> float:
        """From the first to the last pose. [s]."""
        return float(self.times[-1] - self.times[0])

    def moved(self, T_target_source: FloatArray, frame_id: str) -> PoseTrack:
        """The same motion in another frame.

        Args:
            T_target_source: Maps coordinates of this track to the other frame. Shape (4, 4). [m].
            frame_id: Name of the other frame.
        """
        matrix = finite_array('transform', T_target_source, (4, 4))
        return PoseTrack(
            self.times,
            self.positions @ matrix[:3, :3].T + matrix[:3, 3],
            matrix[:3, :3] @ self.rotations,
            frame_id,
            self.source,
        )

    def at_point(self, point: FloatArray) -> PoseTrack:
        """The motion of another point of the hand, shape (3,) in hand axes [m]."""
        shift = self.rotations @ finite_array('point of the hand', point, (3,))
        return PoseTrack(
            self.times, self.positions + shift, self.rotations, self.frame_id, self.source
        )

    def save(self, path: Path) -> None:
        """Write the track as JSON."""
        document = {
            'schema': SCHEMA,
            'frame_id': self.frame_id,
            'source': self.source,
            'times_s': self.times.round(6).tolist(),
            'positions_m': self.positions.round(6).tolist(),
            'rotations_xyzw': [
                quaternion_from_matrix(rotation).round(9).tolist() for rotation in self.rotations
            ],
        }
        path.write_text(json.dumps(document, indent=1) + '\n', encoding='utf-8')


def load_track(path: Path, frame_id: str) -> PoseTrack:
    """Read a track: JSON of schema `deft_pose_track/1`, or CSV with the columns time_s to qw.

    Args:
        path: File ending in .json or .csv.
        frame_id: Frame of a CSV file, which cannot name its own.

    Raises:
        ConfigurationError: The file is missing, too large or not a track.
    """
    if path.suffix == '.csv':
        return _load_csv(path, frame_id)
    return track_from_document(read_document(path), str(path))


def read_document(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        ConfigurationError: The file is missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > _MAXIMUM_FILE_BYTES:
            raise ConfigurationError(f'{path} is larger than a pose track can be (50 MB).')
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'Cannot read the pose track {path}: {error}.') from error


def track_from_document(document: Any, where: str) -> PoseTrack:
    """A track from the content of its JSON file.

    Args:
        document: Of schema `deft_pose_track/1`.
        where: Name of the file, for messages.

    Raises:
        ConfigurationError: Another schema, or an entry is missing or wrong.
    """
    if not isinstance(document, dict) or document.get('schema') != SCHEMA:
        raise ConfigurationError(
            f'{where} is not a pose track of schema {SCHEMA!r}; name its tracker with --format.'
        )
    try:
        rotations = [matrix_from_quaternion(q) for q in document['rotations_xyzw']]
        return PoseTrack(
            times=document['times_s'],
            positions=document['positions_m'],
            rotations=np.array(rotations).reshape(-1, 3, 3),
            frame_id=str(document['frame_id']),
            source=str(document['source']),
        )
    except KeyError as error:
        raise ConfigurationError(f'{where} lacks the entry {error}.') from error
    except (InvalidInputError, TypeError, ValueError) as error:
        raise ConfigurationError(f'{where}: {error}') from error


def _load_csv(path: Path, frame_id: str) -> PoseTrack:
    try:
        if path.stat().st_size > _MAXIMUM_FILE_BYTES:
            raise ConfigurationError(f'{path} is larger than a pose track can be (50 MB).')
        with path.open(newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            missing = set(_CSV_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ConfigurationError(
                    f'{path} lacks the columns {", ".join(sorted(missing))}; it needs '
                    f'{", ".join(_CSV_COLUMNS)}.'
                )
            rows = [[float(row[name]) for name in _CSV_COLUMNS] for row in reader]
        values = np.array(rows).reshape(-1, len(_CSV_COLUMNS))
        rotations = np.array([matrix_from_quaternion(q) for q in values[:, 4:]])
        return PoseTrack(
            values[:, 0], values[:, 1:4], rotations.reshape(-1, 3, 3), frame_id, path.name
        )
    except (OSError, TypeError, ValueError, InvalidInputError) as error:
        raise ConfigurationError(f'Cannot read the pose track {path}: {error}') from error
