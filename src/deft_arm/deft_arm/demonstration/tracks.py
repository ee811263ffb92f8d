# SPDX-License-Identifier: Apache-2.0
"""Wrist poses over time: the files that hold them, and the outputs of hand trackers.

Axes of the hand, as those of the robot's flange: z along the straight fingers, x out of the palm,
y = z x x, which is the thumb's side of a right hand.

Every tracker here gives 21 keypoints of the hand in the order of OpenPose and MediaPipe: wrist,
then thumb, index, middle, ring and little finger with four each. The axes are taken from them and
not from the tracker's own rotation, so that no convention of MANO (mean pose, mirrored left
hands, wrist axes) matters. Trackers write pickles, which can run code and are not read here;
docs/arm.md shows how to dump what is needed as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.configuration import bounds, build
from deft_core.errors import ConfigurationError, InvalidInputError, shown
from deft_core.files import LARGEST_RECORDING, read_json, read_table, write_atomically
from deft_core.rotations import matrix_from_quaternion, quaternion_from_matrix
from deft_core.validation import FloatArray, finite_array

SCHEMA: Final = 'deft_pose_track/1'
_WRIST, _INDEX, _MIDDLE, _LITTLE = 0, 5, 9, 17  # wrist and knuckles
_CROP: Final = 112.0  # [pixel] half of FrankMocap's crop, in which its camera is given
_ORTHONORMAL: Final = 1e-6
_SMALLEST_SCALE: Final = 1e-9
_CSV_COLUMNS: Final = ('time_s', 'x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw')


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Wrist poses of one hand."""

    times: FloatArray  # (n,) [s] strictly increasing
    positions: FloatArray  # (n, 3) [m] wrist in `frame_id`
    rotations: FloatArray  # (n, 3, 3) hand axes in `frame_id`
    frame_id: str  # of the camera, or of the base
    source: str  # which tracker, which recording

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
        """The same motion in another frame, to which a matrix of shape (4, 4) [m] maps it."""
        matrix = finite_array('transform', T_target_source, (4, 4))
        return replace(
            self,
            positions=self.positions @ matrix[:3, :3].T + matrix[:3, 3],
            rotations=matrix[:3, :3] @ self.rotations,
            frame_id=frame_id,
        )

    def at_point(self, point: FloatArray) -> PoseTrack:
        """The motion of another point of the hand, shape (3,) in hand axes [m]."""
        shift = self.rotations @ finite_array('point of the hand', point, (3,))
        return replace(self, positions=self.positions + shift)

    def save(self, path: Path) -> None:
        """Write the track as JSON; raises RecordingError."""
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
        write_atomically(path, json.dumps(document, indent=1) + '\n')


@dataclass(frozen=True)
class _Document:
    """What the file holds; see `PoseTrack`."""

    schema: str
    frame_id: str
    source: str
    times_s: tuple[float, ...] = field(metadata=bounds(-1e11, 1e11, 's'))
    positions_m: tuple[tuple[float, float, float], ...] = field(metadata=bounds(-100, 100, 'm'))
    rotations_xyzw: tuple[tuple[float, float, float, float], ...] = field(
        metadata=bounds(-1.1, 1.1)
    )


def load_track(path: Path, frame_id: str) -> PoseTrack:
    """Read a track: JSON of schema `deft_pose_track/1`, or CSV with the columns time_s to qw.

    A CSV file cannot name its frame.

    Raises:
        ConfigurationError: The file is missing, too large or not a track.
    """
    if path.suffix == '.csv':
        return _load_csv(path, frame_id)
    values = read_json(path, LARGEST_RECORDING)
    if values.get('schema') != SCHEMA:
        raise ConfigurationError(
            f'{path} is not a pose track of schema {SCHEMA!r}; name its tracker with --format.'
        )
    return _track(path, build(_Document, values, str(path)))


def _load_csv(path: Path, frame_id: str) -> PoseTrack:
    rows = read_table(path, _CSV_COLUMNS)
    document = {
        'schema': SCHEMA,
        'frame_id': frame_id,
        'source': path.name,
        'times_s': [row[0] for row in rows],
        'positions_m': [row[1:4] for row in rows],
        'rotations_xyzw': [row[4:] for row in rows],
    }
    return _track(path, build(_Document, document, str(path)))


def _track(path: Path, document: _Document) -> PoseTrack:
    try:
        return PoseTrack(
            times=np.array(document.times_s),
            positions=np.array(document.positions_m),
            rotations=np.array([matrix_from_quaternion(q) for q in document.rotations_xyzw]),
            frame_id=document.frame_id,
            source=document.source,
        )
    except InvalidInputError as error:
        raise ConfigurationError(f'{path}: {error}') from error


def track_from_frames(
    frames: Any,
    tracker: str,
    rate: float,
    intrinsics: CameraIntrinsics,
    frame_id: str,
    *,
    right: bool,
) -> PoseTrack:
    """A pose track from what a tracker, a key of `TRACKERS`, found in the images of a video.

    One mapping per image, empty or null where no hand was found, at a rate [Hz]; the frame is
    that of the camera.
    """
    if not isinstance(frames, list):
        raise ConfigurationError(f'Output of {tracker} must be a list of frames.')
    times, positions, rotations = [], [], []
    for index, frame in enumerate(frames):
        if not frame:
            continue
        if not isinstance(frame, dict):
            raise ConfigurationError(
                f'Frame {index} of the {tracker} output must be a mapping, got {shown(frame)}.'
            )
        try:
            keypoints = TRACKERS[tracker](frame, intrinsics)
            rotations.append(palm_axes(keypoints, right=right))
        except KeyError as error:
            raise ConfigurationError(
                f'Frame {index} of the {tracker} output lacks the entry {error}.'
            ) from error
        except (InvalidInputError, TypeError, ValueError) as error:
            raise ConfigurationError(f'Frame {index} of the {tracker} output: {error}') from error
        times.append(index / rate)
        positions.append(keypoints[_WRIST])
    if len(times) < 2:
        raise ConfigurationError(
            f'The {tracker} output has a hand in {len(times)} of {len(frames)} frames; at least '
            '2 are needed.'
        )
    return PoseTrack(np.array(times), np.array(positions), np.array(rotations), frame_id, tracker)


def palm_axes(keypoints: FloatArray, *, right: bool) -> FloatArray:
    """Hand axes, shape (3, 3), from keypoints of any unit, shape (21, 3), in camera axes."""
    fingers = keypoints[_MIDDLE] - keypoints[_WRIST]
    across = keypoints[_INDEX] - keypoints[_LITTLE]
    palm = np.cross(across, fingers) if right else np.cross(fingers, across)
    length, width = np.linalg.norm(fingers), np.linalg.norm(palm)
    if length < 1e-9 or width < 1e-9:
        raise InvalidInputError('Wrist and knuckles of a hand lie on one line.')
    z, x = fingers / length, palm / width
    return np.stack([x, np.cross(z, x), z], axis=1)


def _array(frame: Mapping[str, Any], name: str, *shape: int) -> FloatArray:
    return finite_array(name, np.squeeze(np.asarray(frame[name], float)), shape)


def _positive(frame: Mapping[str, Any], name: str) -> float:
    number = float(_array(frame, name))
    if number < _SMALLEST_SCALE:
        raise InvalidInputError(f'{name} must be positive, got {number}.')
    return number


def _at_pixel(column: float, row: float, depth: float, camera: CameraIntrinsics) -> FloatArray:
    """Point in the camera frame. Shape (3,). [m]."""
    x, y = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    return np.array([x * depth, y * depth, depth])


def _metric(frame: Mapping[str, Any], _: CameraIntrinsics) -> FloatArray:
    """Keypoints that are metric and in the camera frame already."""
    return _array(frame, 'keypoints_3d', 21, 3)


def _hamer(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """HaMeR and WiLoR: a hand of metric size, and where it stands for a made-up focal length.

    Depth is proportional to the focal length, so that it is corrected by their ratio.
    """
    place = _array(frame, 'cam_t_full', 3).copy()
    place[2] *= intrinsics.fx / _positive(frame, 'scaled_focal_length')
    return np.asarray(_array(frame, 'keypoints_3d', 21, 3) + place)


def _frankmocap(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """FrankMocap: a hand of metric size under a weak-perspective camera of its crop.

    The scale says how many pixels a metre is at the hand, and so how far away it is; that is as
    good as the size of the mean hand fits this one.
    """
    joints = _array(frame, 'pred_joints_smpl', 21, 3)
    scale, shift_x, shift_y = _array(frame, 'pred_camera', 3)
    ratio = _positive(frame, 'bbox_scale_ratio')
    corner = _array(frame, 'bbox_top_left', 2)
    if scale < _SMALLEST_SCALE:
        raise InvalidInputError(f'pred_camera must have a positive scale, got {scale}.')
    per_metre = _CROP * scale / ratio  # [pixel/m] in the whole image
    middle = corner + _CROP / ratio
    column, row = per_metre * (joints[_WRIST, :2] + [shift_x, shift_y]) + middle
    wrist = _at_pixel(column, row, intrinsics.fx / per_metre, intrinsics)
    return np.asarray(joints - joints[_WRIST] + wrist)


def _mediapipe(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """MediaPipe on an RGB-D recording: shape from its world landmarks, place from the depth image.

    `wrist_depth_m` is the depth at the wrist's pixel, taken from the aligned depth image.
    """
    shape = _array(frame, 'world_landmarks', 21, 3)
    column, row, _ = _array(frame, 'landmarks', 21, 3)[_WRIST]
    depth = float(_array(frame, 'wrist_depth_m'))
    if not 0.05 <= depth <= 10.0:
        raise InvalidInputError(f'wrist_depth_m must be 0.05 to 10 m, got {depth}.')
    wrist = _at_pixel(column * intrinsics.width, row * intrinsics.height, depth, intrinsics)
    return np.asarray(shape - shape[_WRIST] + wrist)


TRACKERS: Final[Mapping[str, Callable[[Mapping[str, Any], CameraIntrinsics], FloatArray]]] = (
    MappingProxyType(
        {
            'keypoints': _metric,
            'hamer': _hamer,
            'wilor': _hamer,
            'frankmocap': _frankmocap,
            'mediapipe': _mediapipe,
        }
    )
)
"""Keypoints, shape (21, 3) [m] in the camera frame, from one frame of each tracker."""
