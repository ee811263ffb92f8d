# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera with or without lens distortion, and one RGB-D frame."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError
from deft_core.frames import CAMERA_OPTICAL_FRAME
from deft_core.validation import FloatArray

ColorImage = npt.NDArray[np.uint8]
DepthImage = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# Names of ROS for lens models, and how many coefficients OpenCV takes for each.
_LENS_MODELS: Final = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14)}
_UNDISTORTION: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)
_LARGEST_ERROR: Final = 0.1  # [pixel] of a distortion that is undone and done again


@dataclass(frozen=True)
class CameraIntrinsics:
    """Camera of an image, optical frame: x right, y down, z forward."""

    width: int  # columns [pixel]
    height: int  # rows [pixel]
    fx: float  # focal length along x [pixel]
    fy: float  # focal length along y [pixel]
    cx: float  # column of the principal point; pixel centres are whole numbers [pixel]
    cy: float  # row of the principal point [pixel]
    # of the lens, in the order of OpenCV and of camera_info: k1, k2, p1, p2, k3 and so on; empty
    # for a rectified image
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be a camera."""
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if self.width <= 0 or self.height <= 0 or not np.all(np.isfinite(numbers)):
            raise InvalidInputError(f'Camera intrinsics must be finite and positive, got {self}.')
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise InvalidInputError(
                f'Focal lengths must be positive, got fx={self.fx}, fy={self.fy}; '
                'is camera_info filled in?'
            )
        if self.distortion:
            self._check_distortion()

    def _check_distortion(self) -> None:
        """Refuse a lens whose distortion cannot be undone somewhere in the image."""
        lengths = [length for some in _LENS_MODELS.values() for length in some]
        if len(self.distortion) not in lengths:
            raise InvalidInputError(
                f'A lens has {lengths} distortion coefficients, got {len(self.distortion)}.'
            )
        columns = np.linspace(0.0, self.width - 1.0, 9)
        rows = np.linspace(0.0, self.height - 1.0, 9)
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        again = self.project(np.hstack([self.rays(pixels), np.ones((len(pixels), 1))]))
        error = float(np.abs(again - pixels).max())
        if not error < _LARGEST_ERROR:
            raise InvalidInputError(
                f'The distortion coefficients {list(self.distortion)} cannot be undone within the '
                f'image (error {error:.1f} pixel); calibrate the lens again.'
            )

    @property
    def matrix(self) -> FloatArray:
        """Camera matrix K. Shape (3, 3). [pixel]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def coefficients(self) -> FloatArray:
        """Distortion as OpenCV takes it; zeros for a rectified image. Shape (4 to 14,)."""
        return np.array(self.distortion or (0.0,) * 5)

    def undistort(self, pixels: npt.ArrayLike) -> FloatArray:
        """Where a camera without distortion would see pixels (column, row). (n, 2) [pixel]."""
        seen = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if not self.distortion or len(seen) == 0:
            return seen
        matrix = self.matrix
        ideal = cv2.undistortPoints(
            seen[:, None], matrix, self.coefficients, R=None, P=matrix, criteria=_UNDISTORTION
        )
        return np.asarray(ideal[:, 0], dtype=np.float64)

    def undistorted_grid(self) -> tuple[FloatArray, FloatArray]:
        """Column and row where a camera without distortion would see each pixel. [pixel].

        Both broadcast to (height, width): (1, width) and (height, 1) where there is none.
        """
        if not self.distortion:
            columns, rows = np.arange(float(self.width)), np.arange(float(self.height))
            return columns[None, :], rows[:, None]
        return _undistorted_grid(self)

    def rays(self, pixels: npt.ArrayLike) -> FloatArray:
        """Slopes x / z and y / z of what pixels (column, row) show. Shape (n, 2)."""
        return (self.undistort(pixels) - (self.cx, self.cy)) / (self.fx, self.fy)

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
        columns, rows = self.undistorted_grid()
        return np.stack(
            [(columns - self.cx) / self.fx * z, (rows - self.cy) / self.fy * z, z], axis=-1
        )

    def project(self, points: npt.ArrayLike) -> FloatArray:
        """Pixel (column, row) of points in the optical frame.

        Args:
            points: Shape (n, 3). [m]. Points behind the camera give NaN.

        Returns:
            Shape (n, 2). [pixel].
        """
        xyz = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        depth = np.where(xyz[:, 2] > 0.0, xyz[:, 2], np.nan)
        if self.distortion and len(xyz):
            still = np.zeros(3)
            pixels, _ = cv2.projectPoints(xyz, still, still, self.matrix, self.coefficients)
            return np.where(np.isfinite(depth)[:, None], pixels[:, 0], np.nan)
        return np.stack(
            [self.fx * xyz[:, 0] / depth + self.cx, self.fy * xyz[:, 1] / depth + self.cy], axis=-1
        )


@functools.lru_cache(maxsize=2)
def _undistorted_grid(camera: CameraIntrinsics) -> tuple[FloatArray, FloatArray]:
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    ideal = camera.undistort(np.stack([columns, rows], axis=-1))
    ideal.setflags(write=False)
    shape = (camera.height, camera.width)
    return ideal[:, 0].reshape(shape), ideal[:, 1].reshape(shape)


def lens_distortion(model: str, coefficients: Sequence[float]) -> tuple[float, ...]:
    """Coefficients of a lens as ROS describes it; empty where there is no distortion.

    Raises:
        InvalidInputError: The model is not one of `plumb_bob` and `rational_polynomial`, or has
            another number of coefficients.
    """
    numbers = tuple(float(number) for number in coefficients)
    if not numbers or (not model and not any(numbers)):
        return ()
    if len(numbers) not in _LENS_MODELS.get(model, ()):
        raise InvalidInputError(
            f'The lens model {model!r} with {len(numbers)} coefficients is not known; use '
            'plumb_bob with 4 or 5 or rational_polynomial with 8, or publish rectified images.'
        )
    return numbers if any(numbers) else ()


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

    def thinned(self, step: int) -> RgbdFrame:
        """The frame with every `step`-th pixel of every `step`-th row."""
        color, depth = self.color[::step, ::step], self.depth[::step, ::step]
        camera = self.intrinsics
        smaller = CameraIntrinsics(
            color.shape[1],
            color.shape[0],
            camera.fx / step,
            camera.fy / step,
            camera.cx / step,
            camera.cy / step,
            camera.distortion,
        )
        return RgbdFrame(
            self.stamp,
            np.ascontiguousarray(color),
            np.ascontiguousarray(depth),
            smaller,
            self.frame_id,
        )
