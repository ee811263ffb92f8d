# SPDX-License-Identifier: Apache-2.0
"""Image messages to arrays and back, with the checks that a camera driver deserves.

Bytes travel as `array.array`, which rclpy takes without touching every element.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from deft_core.camera import CameraIntrinsics
from deft_core.nodes.encode import header

_COLOR_ORDER: Final = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0)}
_DEPTH_SCALE: Final = {'16UC1': 1e-3, '32FC1': 1.0}  # [m] per unit
_DTYPES: Final = {
    'rgb8': np.dtype(np.uint8),
    'bgr8': np.dtype(np.uint8),
    'mono8': np.dtype(np.uint8),
    '16UC1': np.dtype(np.uint16),
    '32FC1': np.dtype(np.float32),
}
_MAXIMUM_SIDE: Final = 8192  # [pixel]


def image_to_msg(
    image: npt.NDArray[np.generic], encoding: str, stamp: float, frame_id: str
) -> Image:
    """Image message; the array must already have the type of the encoding."""
    contiguous = np.ascontiguousarray(image)
    rows, columns = contiguous.shape[:2]
    data = array.array('B')
    data.frombytes(contiguous.tobytes())
    return Image(
        header=header(stamp, frame_id),
        height=rows,
        width=columns,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=contiguous.strides[0],
        data=data,
    )


def intrinsics_to_msg(intrinsics: CameraIntrinsics, stamp: float, frame_id: str) -> CameraInfo:
    """camera_info of an undistorted pinhole camera, as realsense2_camera fills it in."""
    k = intrinsics.matrix
    return CameraInfo(
        header=header(stamp, frame_id),
        height=intrinsics.height,
        width=intrinsics.width,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def points_to_msg(
    points: npt.NDArray[np.floating],
    stamp: float,
    frame_id: str,
    channels: Mapping[str, npt.NDArray[Any]] | None = None,
) -> PointCloud2:
    """Unordered point cloud of x, y, z and further channels as float32.

    Args:
        points: Shape (n, 3). [m].
        stamp: [s].
        frame_id: Frame of the points.
        channels: One value per point and name. Shapes (n,).
    """
    further = {} if channels is None else channels
    packed = np.ascontiguousarray(np.column_stack([points, *further.values()]), dtype=np.float32)
    names = ('x', 'y', 'z', *further)
    step = 4 * len(names)
    data = array.array('B')
    data.frombytes(packed.tobytes())
    return PointCloud2(
        header=header(stamp, frame_id),
        height=1,
        width=len(packed),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(names)
        ],
        is_bigendian=sys.byteorder == 'big',
        point_step=step,
        row_step=step * len(packed),
        data=data,
        is_dense=bool(np.all(np.isfinite(packed[:, :3]))),
    )
