# SPDX-License-Identifier: Apache-2.0
"""Messages to plain objects: images and point clouds.

Nothing here imports ROS: messages of rclpy and messages that `rosbags` reads from a file serve
alike. A camera driver is trusted with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, ColorImage, DepthImage
from deft_core.errors import InvalidInputError
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


def color_from_msg(message: Any) -> ColorImage:
    """RGB image, shape (height, width, 3), of an rgb8 or bgr8 message.

    Raises:
        InvalidInputError: Another encoding, or size and data do not agree.
    """
    order = _COLOR_ORDER.get(message.encoding)
    if order is None:
        raise InvalidInputError(
            f'Colour image must be rgb8 or bgr8, got {message.encoding!r}; '
            'set rgb_camera.color_format of the camera.'
        )
    image = _rows(message, channels=3)
    return np.ascontiguousarray(image if order == (0, 1, 2) else image[..., ::-1])


def depth_from_msg(message: Any) -> DepthImage:
    """Depth in metres, shape (height, width), NaN where missing, of 16UC1 mm or 32FC1 m.

    Raises:
        InvalidInputError: Another encoding, or size and data do not agree.
    """
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
    """Pinhole model of a camera_info; raises InvalidInputError when it is not filled in."""
    return CameraIntrinsics(
        width=message.width,
        height=message.height,
        fx=float(message.k[0]),
        fy=float(message.k[4]),
        cx=float(message.k[2]),
        cy=float(message.k[5]),
    )


def points_from_msg(message: Any) -> FloatArray:
    """Points, shape (n, 3), of a cloud that begins with float32 x, y, z. [m].

    Raises:
        InvalidInputError: Other fields, or size and data do not agree.
    """
    layout = [(f.name, f.offset, f.datatype) for f in message.fields[:3]]
    if layout != [(n, 4 * i, _POINT_FIELD_FLOAT32) for i, n in enumerate('xyz')]:
        raise InvalidInputError(f'Point cloud must begin with float32 x, y, z, got {layout}.')
    return _cloud_columns(message, [0, 4, 8])


def channels_from_msg(message: Any, names: Sequence[str]) -> FloatArray | None:
    """Further float32 channels of a cloud, shape (n, len(names)); None where one is missing.

    Raises:
        InvalidInputError: Size and data do not agree.
    """
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
