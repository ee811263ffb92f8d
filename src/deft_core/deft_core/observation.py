# SPDX-License-Identifier: Apache-2.0
"""What perception tells about one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deft_core.camera import DepthImage
from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class ObjectObservation:
    """One segmented object on the table, in the base frame.

    Attributes:
        stamp: Time of the image. [s], ROS clock.
        mask: Pixels of the object. Shape (height, width).
        crop_box: Square crop (x0, y0, x1, y1) inside the image, x1 and y1 exclusive. [pixel].
        points: Seen surface points in the base frame. Shape (n, 3). [m].
        table_plane: (n_x, n_y, n_z, d) with n.p + d = 0 in the base frame. Shape (4,). [-, m].
        centre: Centre of the object's oriented box in the base frame. Shape (3,). [m].
        axes: Columns are the principal axes in the base frame, longest first. Shape (3, 3).
        extents: Full lengths along `axes`. Shape (3,). [m].
        height: Highest point above the table. [m].
        touches_border: The object is cut by the image border.
        quality: Named figures (points, depth_coverage, plane_residual_m, ...).
        calibration_id: Which camera calibration placed the points.
        pixels: Column and row in which each point is seen. Shape (n, 2). [pixel]. None where
            unknown.
        normals: Unit normals of the surface at the points, towards the camera, base frame.
            Shape (n, 3). NaN rows where no plane fits. None where unknown.
        depth: Depth of the object, NaN elsewhere and where missing. Shape (height, width). [m].
            Only in the process that saw it; None elsewhere.
        T_base_camera: Pose of the camera that saw it. Shape (4, 4). [m]. Likewise.
    """

    stamp: float
    mask: npt.NDArray[np.bool_]
    crop_box: tuple[int, int, int, int]
    points: FloatArray
    table_plane: FloatArray
    centre: FloatArray
    axes: FloatArray
    extents: FloatArray
    height: float
    touches_border: bool
    quality: Mapping[str, float] = field(default_factory=dict)
    calibration_id: str = ''
    pixels: npt.NDArray[np.int64] | None = None
    normals: FloatArray | None = None
    depth: DepthImage | None = None
    T_base_camera: FloatArray | None = None
