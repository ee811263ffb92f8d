# SPDX-License-Identifier: Apache-2.0
"""Outputs of hand trackers as pose tracks.

Every tracker here gives 21 keypoints of the hand in the order of OpenPose and MediaPipe: wrist,
then thumb, index, middle, ring and little finger with four each. Hand axes are taken from them and
not from the tracker's own rotation, so that no convention of MANO (mean pose, mirrored left
hands, wrist axes) matters.

The trackers write pickles, which can run code and are not read here. docs/arm.md shows how to dump
what is needed as JSON: a list of frames, each a mapping, empty where no hand was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from deft_arm.demonstration.pose_track import PoseTrack
from deft_core.camera import CameraIntrinsics
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.validation import FloatArray, finite_array

KEYPOINTS: Final = 21
_WRIST, _INDEX, _MIDDLE, _LITTLE = 0, 5, 9, 17  # wrist and knuckles
_CROP: Final = 112.0  # [pixel] half of FrankMocap's crop, in which its camera is given


def palm_axes(keypoints: FloatArray, *, right: bool) -> FloatArray:
    """Hand axes from keypoints. Shape (3, 3).

    Args:
        keypoints: Shape (21, 3), any unit, axes of the camera.
        right: Whether it is a right hand.

    Raises:
        InvalidInputError: Wrist and knuckles lie on one line.
    """
    fingers = keypoints[_MIDDLE] - keypoints[_WRIST]
    across = keypoints[_INDEX] - keypoints[_LITTLE]
    palm = np.cross(across, fingers) if right else np.cross(fingers, across)
    length, width = np.linalg.norm(fingers), np.linalg.norm(palm)
    if length < 1e-9 or width < 1e-9:
        raise InvalidInputError('Wrist and knuckles of a hand lie on one line.')
    z, x = fingers / length, palm / width
    return np.stack([x, np.cross(z, x), z], axis=1)


def track_from_frames(
    frames: Any,
    tracker: str,
    rate: float,
    intrinsics: CameraIntrinsics,
    frame_id: str,
    *,
    right: bool,
) -> PoseTrack:
    """A pose track from what a tracker found in the images of a video.

    Args:
        frames: One mapping per image; empty or null where no hand was found.
        tracker: A key of `TRACKERS`.
        rate: Images per second. [Hz].
        intrinsics: Of the camera that took them.
        frame_id: Frame of that camera.
        right: Whether the hand is a right one.

    Raises:
        ConfigurationError: An unknown tracker, or frames that are not as it writes them.
    """
    if tracker not in TRACKERS:
        raise ConfigurationError(f'Unknown tracker {tracker!r}; known: {", ".join(TRACKERS)}.')
    if not isinstance(frames, list):
        raise ConfigurationError(f'Output of {tracker} must be a list of frames.')
    times, positions, rotations = [], [], []
    for index, frame in enumerate(frames):
        if not frame:
            continue
        try:
            keypoints = TRACKERS[tracker](frame, intrinsics)
            axes = palm_axes(keypoints, right=right)
        except KeyError as error:
            raise ConfigurationError(
                f'Frame {index} of the {tracker} output lacks the entry {error}.'
            ) from error
        except (InvalidInputError, TypeError, ValueError) as error:
            raise ConfigurationError(f'Frame {index} of the {tracker} output: {error}') from error
        times.append(index / rate)
        positions.append(keypoints[_WRIST])
        rotations.append(axes)
    if len(times) < 2:
        raise ConfigurationError(
            f'The {tracker} output has a hand in {len(times)} of {len(frames)} frames; at least '
            '2 are needed.'
        )
    return PoseTrack(np.array(times), np.array(positions), np.array(rotations), frame_id, tracker)


def _keypoints(frame: Mapping[str, Any], name: str) -> FloatArray:
    return finite_array(name, np.squeeze(np.asarray(frame[name], float)), (KEYPOINTS, 3))


def _metric(frame: Mapping[str, Any], _: CameraIntrinsics) -> FloatArray:
    """Keypoints that are metric and in the camera frame already."""
    return _keypoints(frame, 'keypoints_3d')


def _hamer(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """HaMeR and WiLoR: a hand of metric size, and where it stands for a made-up focal length.

    Depth is proportional to the focal length, so that it is corrected by their ratio.
    """
    place = finite_array(
        'cam_t_full', np.squeeze(np.asarray(frame['cam_t_full'], float)), (3,)
    ).copy()
    place[2] *= intrinsics.fx / float(np.squeeze(frame['scaled_focal_length']))
    return np.asarray(_keypoints(frame, 'keypoints_3d') + place)


def _frankmocap(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """FrankMocap: a hand of metric size under a weak-perspective camera of its crop.

    The scale says how many pixels a metre is at the hand, and so how far away it is; that is as
    good as the size of the mean hand fits this one.
    """
    joints = _keypoints(frame, 'pred_joints_smpl')
    scale, shift_x, shift_y = np.squeeze(np.asarray(frame['pred_camera'], float))
    ratio = float(np.squeeze(frame['bbox_scale_ratio']))
    corner = finite_array('bbox_top_left', np.squeeze(frame['bbox_top_left']), (2,))
    if scale <= 0.0 or ratio <= 0.0:
        raise InvalidInputError('pred_camera and bbox_scale_ratio must have positive scales.')
    per_metre = _CROP * scale / ratio  # [pixel/m] in the whole image
    depth = intrinsics.fx / per_metre
    middle = corner + _CROP / ratio
    column, row = per_metre * (joints[_WRIST, :2] + [shift_x, shift_y]) + middle
    wrist = np.array(
        [
            (column - intrinsics.cx) * depth / intrinsics.fx,
            (row - intrinsics.cy) * depth / intrinsics.fy,
            depth,
        ]
    )
    return np.asarray(joints - joints[_WRIST] + wrist)


def _mediapipe(frame: Mapping[str, Any], intrinsics: CameraIntrinsics) -> FloatArray:
    """MediaPipe on an RGB-D recording: shape from its world landmarks, place from the depth image.

    `wrist_depth_m` is the depth at the wrist's pixel, taken from the aligned depth image.
    """
    shape = _keypoints(frame, 'world_landmarks')
    image = _keypoints(frame, 'landmarks')
    depth = float(frame['wrist_depth_m'])
    if not 0.05 <= depth <= 10.0:
        raise InvalidInputError(f'wrist_depth_m must be 0.05 to 10 m, got {depth}.')
    wrist = np.array(
        [
            (image[_WRIST, 0] * intrinsics.width - intrinsics.cx) * depth / intrinsics.fx,
            (image[_WRIST, 1] * intrinsics.height - intrinsics.cy) * depth / intrinsics.fy,
            depth,
        ]
    )
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
