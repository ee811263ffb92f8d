# SPDX-License-Identifier: Apache-2.0
"""Normals of the seen surface, from plane fits in small windows of a depth image.

The inverse depth of a plane is linear in the pixel, 1/z = a u + b v + c, and its normal is
(a fx, b fy, c + a cx + b cy) in the optical frame. The sums of the least-squares fits of all
windows are box filters, so the whole object costs less than a millisecond or two.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, DepthImage, Mask
from deft_core.validation import FloatArray
from deft_perception.segmentation.depth_view import Indices

_RADIUS: Final = 3  # [pixel] of the window
_LEAST_SAMPLES: Final = 8
_LEAST_VARIANCE: Final = 0.3  # [pixel^2] of the samples, in their narrowest direction


def surface_normals(
    depth: DepthImage,
    mask: Mask,
    camera: CameraIntrinsics,
    rows: Indices,
    columns: Indices,
    largest_residual: float,
) -> FloatArray:
    """Unit normals at some pixels of an object, towards the camera, in the optical frame.

    Args:
        depth: Filtered depth, 0 where missing. Shape (h, w). [m].
        mask: Pixels of the object; only they count. Shape (h, w).
        camera: Intrinsics.
        rows: Of the wanted pixels. Shape (n,).
        columns: Likewise.
        largest_residual: Windows that deviate more from a plane hold an edge. [m].

    Returns:
        Shape (n, 3). NaN where there is no normal.
    """
    if len(rows) == 0:
        return np.zeros((0, 3))
    top, left = max(int(rows.min()) - _RADIUS, 0), max(int(columns.min()) - _RADIUS, 0)
    window = (
        slice(top, int(rows.max()) + _RADIUS + 1),
        slice(left, int(columns.max()) + _RADIUS + 1),
    )
    z = depth[window].astype(np.float64)
    weight = (mask[window] & (z > 0.0)).astype(np.float64)
    inverse = np.where(weight > 0.0, 1.0 / np.where(z > 0.0, z, 1.0), 0.0)
    # The plane is linear in the pixel of a camera without distortion.
    ideal_u, ideal_v = (np.broadcast_to(g, depth.shape) for g in camera.undistorted_grid())
    u, v = (ideal_u[window] - left) * weight, (ideal_v[window] - top) * weight
    at = (rows - top, columns - left)

    def sums(values: FloatArray) -> FloatArray:
        size = (2 * _RADIUS + 1, 2 * _RADIUS + 1)
        filtered = cv2.boxFilter(values, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(filtered[at])

    count = np.maximum(sums(weight), 1.0)
    mean_u, mean_v, mean_q = sums(u) / count, sums(v) / count, sums(inverse) / count
    cov_uu = sums(u * u) / count - mean_u**2
    cov_vv = sums(v * v) / count - mean_v**2
    cov_uv = sums(u * v) / count - mean_u * mean_v
    cov_uq = sums(u * inverse) / count - mean_u * mean_q
    cov_vq = sums(v * inverse) / count - mean_v * mean_q
    cov_qq = sums(inverse * inverse) / count - mean_q**2
    determinant = cov_uu * cov_vv - cov_uv**2
    narrowest = determinant / np.maximum(cov_uu + cov_vv, 1e-9)
    safe = np.maximum(determinant, 1e-9)
    a = (cov_uq * cov_vv - cov_vq * cov_uv) / safe
    b = (cov_vq * cov_uu - cov_uq * cov_uv) / safe
    # Left over of the inverse depth; times z^2 it is that of depth.
    left_over = np.sqrt(np.maximum(cov_qq - a * cov_uq - b * cov_vq, 0.0)) / mean_q.clip(1e-3) ** 2
    c = mean_q - a * (mean_u + left) - b * (mean_v + top)
    normals = np.stack([a * camera.fx, b * camera.fy, c + a * camera.cx + b * camera.cy], axis=1)
    normals /= -np.linalg.norm(normals, axis=1).clip(1e-9)[:, None]
    bad: npt.NDArray[np.bool_] = (
        (count < _LEAST_SAMPLES) | (narrowest < _LEAST_VARIANCE) | (left_over > largest_residual)
    )
    normals[bad] = np.nan
    return np.asarray(normals)
