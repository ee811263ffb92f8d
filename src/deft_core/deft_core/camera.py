# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera and one RGB-D frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError
from deft_core.frames import CAMERA_OPTICAL_FRAME
from deft_core.validation import FloatArray

ColorImage = npt.NDArray[np.uint8]
DepthImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CameraIntrinsics:
    """Pinhole model of a rectified image, optical frame: x right, y down, z forward."""

    width: int  # columns [pixel]
    height: int  # rows [pixel]
    fx: float  # focal length along x [pixel]
    fy: float  # focal length along y [pixel]
    cx: float  # column of the principal point; pixel centres are whole numbers [pixel]
    cy: float  # row of the principal point [pixel]

    def __post_init__(self) -> None:
        """Refuse what cannot be a camera."""
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if self.width <= 0 or self.height <= 0 or not np.all(np.isfinite(numbers)):
            raise InvalidInputError(f'Camera intrinsics must be finite and positive, got {self}.')
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise InvalidInputError(
                f'Focal lengths must be positive, got fx={self.fx}, fy={self.fy}; '
                'is camera_info filled in?'
            )

    @property
    def matrix(self) -> FloatArray:
        """Camera matrix K. Shape (3, 3). [pixel]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def deproject(self, depth: npt.NDArray[np.floating]) -> FloatArray:
        """Point of every pixel in the optical frame. Shape (height, width, 3). [m].

        Args:
            depth: Distance along z, shape (height, width). [m], NaN where missing.

        Raises:
            InvalidInputError: The image has another size than the camera.
        """
        if depth.shape != (self.height, self.width):
            raise InvalidInputError(
                f'Depth image must be {(self.height, self.width)} (rows, columns), '
                f'got {depth.shape}.'
            )
        z = depth.astype(np.float64)
        columns = (np.arange(self.width) - self.cx) / self.fx
        rows = (np.arange(self.height) - self.cy) / self.fy
        return np.stack([columns[None, :] * z, rows[:, None] * z, z], axis=-1)

    def project(self, points: npt.ArrayLike) -> FloatArray:
        """Pixel (column, row) of points in the optical frame.

        Args:
            points: Shape (n, 3). [m]. Points behind the camera give NaN.

        Returns:
            Shape (n, 2). [pixel].
        """
        xyz = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        depth = np.where(xyz[:, 2] > 0.0, xyz[:, 2], np.nan)
        return np.stack(
            [self.fx * xyz[:, 0] / depth + self.cx, self.fy * xyz[:, 1] / depth + self.cy], axis=-1
        )


@dataclass(frozen=True, eq=False)
class RgbdFrame:
    """Colour and aligned depth of one instant, as realsense2_camera delivers them."""

    stamp: float  # acquisition time on the ROS clock [s]
    color: ColorImage  # RGB, shape (height, width, 3)
    # distance along the optical axis, shape (height, width) [m], NaN where missing
    depth: DepthImage
    intrinsics: CameraIntrinsics  # of the colour camera, to which depth is aligned
    frame_id: str = CAMERA_OPTICAL_FRAME  # optical frame of both images

    def __post_init__(self) -> None:
        """Refuse images whose sizes differ."""
        size = (self.intrinsics.height, self.intrinsics.width)
        if self.color.shape != (*size, 3) or self.depth.shape != size:
            raise InvalidInputError(
                f'Colour {self.color.shape} and depth {self.depth.shape} must both be '
                f'{size} as camera_info says; is depth aligned to colour?'
            )
