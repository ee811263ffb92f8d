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
    """One segmented object on the table, in the base frame."""

    stamp: float  # time of the image [s], ROS clock
    mask: npt.NDArray[np.bool_]  # pixels of the object, shape (height, width)
    # square crop (x0, y0, x1, y1) inside the image, x1 and y1 exclusive [pixel]
    crop_box: tuple[int, int, int, int]
    points: FloatArray  # seen surface points in the base frame, shape (n, 3) [m]
    # (n_x, n_y, n_z, d) with n.p + d = 0 in the base frame, shape (4,) [-, m]
    table_plane: FloatArray
    centre: FloatArray  # centre of the object's oriented box in the base frame, shape (3,) [m]
    # columns are the principal axes in the base frame, longest first, shape (3, 3)
    axes: FloatArray
    extents: FloatArray  # full lengths along `axes`, shape (3,) [m]
    height: float  # highest point above the table [m]
    touches_border: bool  # the object is cut by the image border
    # named figures (points, depth_coverage, plane_residual_m, ...)
    quality: Mapping[str, float] = field(default_factory=dict)
    calibration_id: str = ''  # which camera calibration placed the points
    # column and row in which each point is seen, shape (n, 2) [pixel], None where unknown
    pixels: npt.NDArray[np.int64] | None = None
    # unit normals of the surface at the points, towards the camera, base frame, shape (n, 3), NaN
    # rows where no plane fits. None where unknown
    normals: FloatArray | None = None
    # depth of the object, NaN elsewhere and where missing, shape (height, width) [m], only in the
    # process that saw it; None elsewhere
    depth: DepthImage | None = None
    # pose of the camera that saw it, shape (4, 4) [m], likewise
    T_base_camera: FloatArray | None = None
