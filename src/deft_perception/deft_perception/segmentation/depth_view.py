# SPDX-License-Identifier: Apache-2.0
"""One filtered depth image seen from a known pose, with cheap access to base coordinates.

Whole-image coordinates are computed in single precision, and without lens distortion the ray of a
pixel is separable: x depends on its column and y on its row only.
"""

from __future__ import annotations

import functools
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, DepthImage, Mask
from deft_core.validation import FloatArray

Indices = npt.NDArray[np.intp]

_FAR: Final = np.float32(100.0)  # [m] stands for "missing" where the nearest neighbour is sought


class DepthView:
    """Depth, its camera and the camera's pose.

    Attributes:
        depth: Filtered distance along the optical axis, 0 where missing. Shape (h, w). [m].
        valid: Pixels with filtered depth. Shape (h, w).
        raw_valid: Pixels with depth before filtering. Shape (h, w).
        camera: Intrinsics.
        pose: `T_base_camera`. Shape (4, 4). [m].
    """

    def __init__(
        self, depth: DepthImage, camera: CameraIntrinsics, pose: FloatArray, jump: float
    ) -> None:
        """Filter a depth image (h, w), NaN where missing. [m].

        Pixels farther than `jump` [m] from the median around them are dropped.
        """
        self.camera = camera
        self.pose = pose
        self.raw_valid: Mask = np.isfinite(depth) & (depth > 0.0)
        self.depth = _median_filtered(depth, self.raw_valid, jump)
        self.valid: Mask = self.depth > 0.0
        columns, rows = camera.undistorted_grid()
        self._ray_x = ((columns - camera.cx) / camera.fx).astype(np.float32)
        self._ray_y = ((rows - camera.cy) / camera.fy).astype(np.float32)

    def component(self, direction: FloatArray, offset: float = 0.0) -> DepthImage:
        """n.p + offset for every pixel's point p and a direction n (3,), both in the base frame.

        Shape (h, w). [m]. Pixels without depth give the value of the camera's own position.
        """
        x, y, z = (direction @ self.pose[:3, :3]).astype(np.float32)
        constant = np.float32(direction @ self.pose[:3, 3] + offset)
        rays = (x * self._ray_x + z) + y * self._ray_y
        return np.asarray(self.depth * rays + constant, dtype=np.float32)

    def points(self, rows: Indices, columns: Indices) -> FloatArray:
        """Points of some pixels in the base frame. Shape (n, 3). [m]."""
        z = self.depth[rows, columns].astype(np.float64)
        x = np.broadcast_to(self._ray_x, self.depth.shape)[rows, columns]
        y = np.broadcast_to(self._ray_y, self.depth.shape)[rows, columns]
        camera = np.stack([x * z, y * z, z], axis=1)
        return np.asarray(camera @ self.pose[:3, :3].T + self.pose[:3, 3])

    def flat_points(self, pixels: Indices, most: int) -> FloatArray:
        """Points of at most so many of the pixels given by flat index, base frame. (n, 3) [m]."""
        thinned = pixels[:: -(-len(pixels) // most)]
        return self.points(*np.divmod(thinned, self.camera.width))

    def sampled_points(self, stride: int) -> FloatArray:
        """Points of the pixels of a grid, base frame. Shape (n, 3). [m]."""
        rows, columns = np.nonzero(self.valid[::stride, ::stride])
        return self.points(rows * stride, columns * stride)

    def pixel_areas(self, pixels: Indices) -> FloatArray:
        """Area that pixels, given by flat index, cover across the line of sight. (n,) [m^2]."""
        depth = self.depth.ravel()[pixels].astype(np.float64)
        return np.asarray(depth**2 / (self.camera.fx * self.camera.fy))

    def behind_an_edge(self, limit: float) -> Mask:
        """Pixels much farther than a neighbour: mixtures at an edge, and what it partly hides.

        Only the far side is marked, so the near body keeps its full outline and loses contact
        with what is behind it.
        """
        nearest = cv2.erode(np.where(self.valid, self.depth, _FAR), np.ones((3, 3), np.uint8))
        return np.asarray(self.valid & (self.depth - nearest > np.float32(limit)))


def _median_filtered(depth: DepthImage, valid: Mask, jump: float) -> DepthImage:
    """Median of the valid of 5 x 5 pixels, which rounds off noise and keeps edges; 0 is missing.

    A pixel far from its median lies on nothing: it is a mixture of two surfaces, and dropped.
    """
    filled = _chessboard(depth.shape).copy()
    np.copyto(filled, depth, where=valid)
    median = np.asarray(cv2.medianBlur(filled, 5), dtype=np.float32)
    plausible = cv2.absdiff(median, filled) < np.float32(jump)
    median[~(valid & plausible)] = 0.0
    return median


@functools.lru_cache(maxsize=4)
def _chessboard(shape: tuple[int, int]) -> DepthImage:
    """What stands for missing depth: half of it nearest and half farthest, in turns.

    So it does not move the median of the others.
    """
    fields = np.zeros(shape, dtype=np.float32)
    fields[::2, ::2] = fields[1::2, 1::2] = _FAR
    fields.setflags(write=False)
    return fields
