# SPDX-License-Identifier: Apache-2.0
"""Messages to plain objects.

Nothing here imports ROS: messages of rclpy and messages that `rosbags` reads from a file serve
alike. Every function checks shape, names, finiteness and frame; hand joints are reordered by
name. Raises InvalidInputError where a message is not what it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, ColorImage, DepthImage, lens_distortion
from deft_core.episode import Episode, Outcome, Phase, VideoFrame
from deft_core.errors import InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspPrior, GraspResidual
from deft_core.observation import ObjectObservation
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray

_COLOR_ORDER: Final = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0)}
_DEPTH_SCALE: Final = {'16UC1': 1e-3, '32FC1': 1.0}  # [m] per unit
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    'rgb8': np.dtype(np.uint8),
    'bgr8': np.dtype(np.uint8),
    'mono8': np.dtype(np.uint8),
    '16UC1': np.dtype(np.uint16),
    '32FC1': np.dtype(np.float32),
}
_MAXIMUM_SIDE: Final = 8192  # [pixel]
_POINT_FIELD_FLOAT32: Final = 7  # sensor_msgs/PointField.FLOAT32
# deft_msgs/EpisodeRecord.SUCCESS_*
SUCCESS_FROM_MSG: Final = {0: None, 1: False, 2: True}
# Channels of the cloud of an observation, besides x, y and z.
NORMAL_CHANNELS: Final = ('normal_x', 'normal_y', 'normal_z')
PIXEL_CHANNELS: Final = ('column', 'row')
# Fields that a message and its object name and hold alike; `same` copies them either way.
PRIOR_FIELDS: Final = (
    'contact_point', 'contact_uncertainty', 'source', 'task', 'instruction', 'calibration_id',
)  # fmt: skip
OBSERVATION_FIELDS: Final = (
    'table_plane', 'centre', 'extents', 'height', 'touches_border', 'calibration_id',
)  # fmt: skip
EPISODE_FIELDS: Final = (
    'episode_id', 'index', 'task', 'object_name', 'scene_seed', 'sample_seed', 'reward_source',
    'calibration_id',
)  # fmt: skip


def same(source: Any, names: Sequence[str]) -> dict[str, Any]:
    """Fields of a message or an object by name."""
    return {name: getattr(source, name) for name in names}


def time_from_msg(stamp: Any) -> float:
    """Seconds of a ROS time. [s]."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def order_joints(
    names: Sequence[str], values: Sequence[float], expected: Sequence[str]
) -> FloatArray:
    """Values in the order of `expected`, shape (len(expected),)."""
    if len(names) != len(values) or sorted(names) != sorted(expected):
        wrong = sorted(set(names) ^ set(expected)) or 'double names'
        raise InvalidInputError(
            f'Expected the joints {", ".join(expected)} once each with one value, got '
            f'{len(names)} names and {len(values)} values; differing: {wrong}.'
        )
    by_name = dict(zip(names, values, strict=True))
    return np.array([by_name[name] for name in expected], dtype=np.float64)


def grasp_from_msg(message: Any) -> GraspParameters:
    """Grasp parameters of a message."""
    if not message.header.frame_id:
        raise InvalidInputError('Grasp parameters need a frame in header.frame_id, got none.')
    return GraspParameters(
        position=message.position,
        wrist_rotation=message.wrist_rotation,
        joint_positions=order_joints(
            message.joint_names, message.joint_positions, HAND_JOINT_NAMES
        ),
        frame_id=message.header.frame_id,
    )


def residual_from_msg(message: Any) -> GraspResidual:
    """Residual of a message."""
    return GraspResidual(
        position=message.position,
        wrist_rotation=message.wrist_rotation,
        joint_positions=order_joints(
            message.joint_names, message.joint_positions, HAND_JOINT_NAMES
        ),
    )


def distribution_from_msg(message: Any) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, shape (22,) each. [m, rad]."""
    return (
        residual_from_msg(message.mean).to_vector(),
        residual_from_msg(message.standard_deviation).to_vector(),
    )


def prior_from_msg(message: Any) -> GraspPrior:
    """Prior of a message."""
    return GraspPrior(
        grasp=grasp_from_msg(message.grasp),
        **same(message, PRIOR_FIELDS),
    )


def trajectory_from_msg(message: Any) -> WristTrajectory:
    """Trajectory of a message."""
    return WristTrajectory(
        translations=np.array([_vector_from_msg(v) for v in message.translations]).reshape(-1, 3),
        rotation_vectors=np.array([_vector_from_msg(v) for v in message.rotation_vectors]).reshape(
            -1, 3
        ),
        rate=message.rate,
        source=message.source,
        frame_id=message.header.frame_id,
    )


def transform_from_msg(message: Any) -> FloatArray:
    """Rigid transform of a message, shape (4, 4). [m]."""
    q = message.rotation
    return transform(
        matrix_from_quaternion([q.x, q.y, q.z, q.w]), _vector_from_msg(message.translation)
    )


def _vector_from_msg(message: Any) -> FloatArray:
    return np.array([message.x, message.y, message.z])


def color_from_msg(message: Any) -> ColorImage:
    """RGB image, shape (height, width, 3), of an rgb8 or bgr8 message."""
    order = _COLOR_ORDER.get(message.encoding)
    if order is None:
        raise InvalidInputError(
            f'Colour image must be rgb8 or bgr8, got {message.encoding!r}; '
            'set rgb_camera.color_format of the camera.'
        )
    image = _rows(message, channels=3)
    return np.ascontiguousarray(image if order == (0, 1, 2) else image[..., ::-1])


def depth_from_msg(message: Any) -> DepthImage:
    """Depth in metres, shape (height, width), NaN where missing, of 16UC1 mm or 32FC1 m."""
    scale = _DEPTH_SCALE.get(message.encoding)
    if scale is None:
        raise InvalidInputError(
            f'Depth image must be 16UC1 (mm) or 32FC1 (m), got {message.encoding!r}.'
        )
    depth = _rows(message, channels=1).astype(np.float32) * np.float32(scale)
    depth[~(depth > 0.0) | ~np.isfinite(depth)] = np.nan
    return depth


def mask_from_msg(message: Any) -> npt.NDArray[np.bool_]:
    """Mask, shape (height, width), of a mono8 message; 0 is background."""
    if message.encoding != 'mono8':
        raise InvalidInputError(f'A mask must be mono8, got {message.encoding!r}.')
    return np.asarray(_rows(message, channels=1) > 0)


def intrinsics_from_msg(message: Any) -> CameraIntrinsics:
    """Camera of a camera_info whose image is whole.

    Raises:
        InvalidInputError: The lens model is unknown, or the image is binned or a part.
    """
    if max(message.binning_x, message.binning_y) > 1:
        raise InvalidInputError(
            f'camera_info says binning {message.binning_x} x {message.binning_y}; publish images '
            'in full resolution (binning_x and binning_y 0 or 1).'
        )
    roi = message.roi
    part = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    if any(part) and part != (0, 0, message.width, message.height):
        raise InvalidInputError(
            f'camera_info says that the image is a region of interest (x, y, width, height = '
            f'{part}); publish whole images.'
        )
    return CameraIntrinsics(
        width=message.width,
        height=message.height,
        fx=float(message.k[0]),
        fy=float(message.k[4]),
        cx=float(message.k[2]),
        cy=float(message.k[5]),
        distortion=lens_distortion(message.distortion_model, message.d),
    )


def points_from_msg(message: Any) -> FloatArray:
    """Points, shape (n, 3), of a cloud that begins with float32 x, y, z. [m]."""
    layout = [(f.name, f.offset, f.datatype) for f in message.fields[:3]]
    if layout != [(n, 4 * i, _POINT_FIELD_FLOAT32) for i, n in enumerate('xyz')]:
        raise InvalidInputError(f'Point cloud must begin with float32 x, y, z, got {layout}.')
    return _cloud_columns(message, [0, 4, 8])


def channels_from_msg(message: Any, names: Sequence[str]) -> FloatArray | None:
    """Further float32 channels of a cloud, shape (n, len(names)); None where one is missing."""
    offsets = {f.name: f.offset for f in message.fields if f.datatype == _POINT_FIELD_FLOAT32}
    if not set(names) <= offsets.keys():
        return None
    return _cloud_columns(message, [offsets[name] for name in names])


def _cloud_columns(message: Any, offsets: Sequence[int]) -> FloatArray:
    """float32 values at some offsets of every point. Shape (n, len(offsets))."""
    count = message.width * message.height
    needed = max(offsets) + 4
    if message.point_step < needed or len(message.data) != count * message.point_step:
        raise InvalidInputError(
            f'Point cloud of {count} points with step {message.point_step} must hold '
            f'{count * message.point_step} bytes, got {len(message.data)}.'
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(count, message.point_step)
    kind = np.dtype('>f4' if message.is_bigendian else '<f4')
    columns = [np.ascontiguousarray(rows[:, at : at + 4]).view(kind)[:, 0] for at in offsets]
    return np.stack(columns, axis=1).astype(np.float64)


def _rows(message: Any, channels: int) -> npt.NDArray[Any]:
    dtype = _DTYPES[message.encoding].newbyteorder('>' if message.is_bigendian else '<')
    used = message.width * channels * dtype.itemsize
    sides = (message.height, message.width)
    if not all(0 < side <= _MAXIMUM_SIDE for side in sides):
        raise InvalidInputError(f'Image sides must be 1 to {_MAXIMUM_SIDE} pixels, got {sides}.')
    if message.step < used or len(message.data) != message.step * message.height:
        raise InvalidInputError(
            f'{message.encoding} image of {message.width}x{message.height} with step '
            f'{message.step} must hold {message.step * message.height} bytes, at least {used} '
            f'a row; got {len(message.data)}.'
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.step)
    pixels = np.ascontiguousarray(rows[:, :used]).view(dtype)
    shape = (message.height, message.width)
    image: npt.NDArray[Any] = pixels.reshape(shape if channels == 1 else (*shape, channels))
    return image


def observation_from_msg(message: Any) -> ObjectObservation:
    """Observation of a message."""
    if message.header.frame_id != BASE_FRAME:
        raise InvalidInputError(
            f'An observation must be in {BASE_FRAME!r}, got {message.header.frame_id!r}.'
        )
    if len(message.quality_names) != len(message.quality_values):
        raise InvalidInputError(
            f'Every quality figure needs a name and a value, got {len(message.quality_names)} '
            f'names and {len(message.quality_values)} values.'
        )
    crop = message.crop
    pixels = channels_from_msg(message.points, PIXEL_CHANNELS)
    return ObjectObservation(
        stamp=time_from_msg(message.header.stamp),
        mask=mask_from_msg(message.mask),
        crop_box=(
            crop.x_offset,
            crop.y_offset,
            crop.x_offset + crop.width,
            crop.y_offset + crop.height,
        ),
        points=points_from_msg(message.points),
        axes=np.asarray(message.axes, dtype=np.float64).reshape(3, 3),
        quality=dict(zip(message.quality_names, message.quality_values, strict=True)),
        pixels=None if pixels is None else np.rint(pixels).astype(np.int64),
        normals=channels_from_msg(message.points, NORMAL_CHANNELS),
        **same(message, OBSERVATION_FIELDS),
    )


def episode_from_msg(message: Any) -> Episode:
    """Episode of a record; also takes the equal message types of `rosbags`."""
    mean, std = distribution_from_msg(message.distribution)
    reward = float(message.reward)
    return Episode(
        phase=Phase(int(message.phase)),
        prior=prior_from_msg(message.prior),
        residual=residual_from_msg(message.residual),
        executed=grasp_from_msg(message.executed),
        outcome=Outcome(int(message.outcome)),
        reward=None if np.isnan(reward) else reward,
        success=SUCCESS_FROM_MSG[int(message.success)],
        first_image=color_from_msg(message.first_image),
        last_image=color_from_msg(message.last_image),
        rollout_video=tuple(
            VideoFrame(time_from_msg(f.header.stamp), bytes(f.data)) for f in message.rollout_video
        ),
        distribution_mean=mean,
        distribution_std=std,
        started=time_from_msg(message.started),
        ended=time_from_msg(message.ended),
        **same(message, EPISODE_FIELDS),
    )
