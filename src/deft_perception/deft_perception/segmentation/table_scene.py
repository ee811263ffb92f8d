# SPDX-License-Identifier: Apache-2.0
"""One frame with its table: what stands above it, and what a mask on it means in space.

Every back end of the segmentation decides which pixels are the object; this turns them into an
observation.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, DepthImage, Mask, RgbdFrame
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.observation import ObjectObservation
from deft_core.task import PartRule
from deft_core.validation import FloatArray, finite_array
from deft_perception.segmentation.background import without_walls
from deft_perception.segmentation.clusters import Cluster, find_clusters
from deft_perception.segmentation.depth_view import DepthView
from deft_perception.segmentation.object_rule import part_of
from deft_perception.segmentation.object_shape import fit_object_shape
from deft_perception.segmentation.quality import depth_figures
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.surface_normals import surface_normals
from deft_perception.segmentation.table_plane import TablePlane, fit_table_plane

_PLANE_STRIDE: Final = 4  # pixels between the samples of the table
_ROUGHNESS: Final = 3.0  # residuals of the table within which a window is flat
_LEAST_ROUGHNESS: Final = 0.002  # [m] likewise, for exact depth
_MOST_WARP: Final = 0.025  # [m]
_LEAST_WARPED: Final = 300  # samples of the table
_NEIGHBOURHOOD: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


class DepthMissingError(NoObjectError):
    """The depth image holds nothing to work with."""


class TableScene:
    """A frame, its table, and the pixels that may belong to an object.

    Attributes:
        frame: Colour and aligned depth.
        view: The depth image, filtered.
        plane: The table.
        above: Height of every pixel above the table. Shape (h, w). [m].
        least: Lower pixels are the table. [m].
        candidates: Pixels above the table inside the workspace, without walls. Shape (h, w).
    """

    def __init__(
        self,
        frame: RgbdFrame,
        T_base_camera: npt.ArrayLike,
        settings: SegmentationSettings,
        rng: np.random.Generator,
    ) -> None:
        """Find the table; `rng` draws the hypotheses of all fits.

        Raises:
            DepthMissingError: No pixel has depth.
            NoObjectError: No table is seen.
            InvalidInputError: The transform is not a finite (4, 4), or the workspace is empty.
        """
        self._low, self._high = settings.workspace()
        self._settings = settings
        self._rng = rng
        self.frame = frame
        pose = finite_array('T_base_camera', T_base_camera, (4, 4))
        self.view = DepthView(frame.depth, frame.intrinsics, pose, settings.depth_jump)
        if not self.view.valid.any():
            raise DepthMissingError(
                'The depth image holds no valid pixel; is the lens covered or the scene nearer '
                'than the sensor can measure?'
            )
        self.plane = self._fit_table()
        self.above: DepthImage = self.view.component(
            self.plane.coefficients[:3], self.plane.coefficients[3]
        )
        self.least = max(settings.minimum_height, settings.noise_factor * self.plane.residual)
        self.above -= self._warp()
        standing = self._inside_workspace() & (self.above > self.least)
        self.candidates: Mask = without_walls(standing, self.view, rng)

    @property
    def table(self) -> Mask:
        """Pixels at the height of the table. Shape (h, w)."""
        return self.view.valid & (np.abs(self.above) <= self.least)

    def clusters(self) -> list[Cluster]:
        """Bodies that stand on the table inside the workspace, largest first."""
        return find_clusters(
            self.candidates, self.table, self.view, self.above, self.frame.color, self._settings
        )

    def part(self, body: Mask, rule: PartRule) -> Mask:
        """Pixels of the part of a body that a rule means; see `part_of`."""
        return part_of(body, rule, self.candidates, self.view)

    def observe(
        self,
        seen_mask: Mask,
        quality: dict[str, float],
        calibration_id: str,
        outline: Mask | None = None,
    ) -> ObjectObservation:
        """Observation of an object.

        Args:
            seen_mask: Pixels of the object with depth. Shape (h, w).
            quality: Figures of how it was chosen.
            calibration_id: Recorded in the observation.
            outline: The object as colour shows it, also where depth is missing; taken from the
                seen pixels when None. Shape (h, w).

        Raises:
            NoObjectError: Too few points for a footprint.
        """
        silhouette = _filled(seen_mask) if outline is None else outline | seen_mask
        # Gaps with depth, such as the table seen through a handle, are not the object.
        mask = seen_mask | (silhouette & ~self.view.raw_valid)
        quality = quality | depth_figures(
            mask, silhouette, self.view, self.above, self.frame.color, self.least
        )
        area = float(self.view.pixel_areas(np.flatnonzero(seen_mask)).sum())
        seen = np.nonzero(seen_mask)
        points = self.view.points(*seen)
        shape = fit_object_shape(
            points,
            self.plane,
            self.view.pose[:3, 3],
            noise=self.plane.residual,
            pixel_size=math.sqrt(area / len(points)),
            rng=self._rng,
        )
        thinned = slice(None, None, -(-len(points) // self._settings.maximum_points))
        chosen_rows, chosen_columns = seen[0][thinned], seen[1][thinned]
        normals = surface_normals(
            self.view.depth,
            seen_mask,
            self.view.camera,
            chosen_rows,
            chosen_columns,
            largest_residual=max(_LEAST_ROUGHNESS, _ROUGHNESS * self.plane.residual),
        )
        bounds = bounding_box(mask)
        last = (mask.shape[1] - 1, mask.shape[0] - 1)
        return ObjectObservation(
            stamp=self.frame.stamp,
            mask=mask,
            crop_box=square_crop(bounds, mask.shape, self._settings.crop_margin),
            points=points[thinned],
            table_plane=self.plane.coefficients,
            centre=shape.centre,
            axes=shape.axes,
            extents=shape.extents,
            height=shape.height,
            touches_border=bool(np.any(bounds[:2] == 0) or np.any(bounds[2:] == last)),
            quality={
                **quality,
                'pixels': float(np.count_nonzero(mask)),
                'area_m2': area,
                'plane_residual_m': self.plane.residual,
                'plane_inlier_fraction': self.plane.inlier_fraction,
                'plane_tilt_rad': self.plane.tilt,
                'round_fraction': shape.round_fraction,
                'centre_uncertainty_m': shape.centre_uncertainty,
            },
            calibration_id=calibration_id,
            pixels=np.stack([chosen_columns, chosen_rows], axis=1),
            normals=normals @ self.view.pose[:3, :3].T,
            depth=np.where(mask & self.view.raw_valid, self.frame.depth, np.float32(np.nan)),
            T_base_camera=self.view.pose,
        )

    def _fit_table(self) -> TablePlane:
        settings = self._settings
        points = self.view.sampled_points(_PLANE_STRIDE)
        level = np.abs(points[:, 2] - settings.table_height) < settings.table_height_tolerance
        near = np.all((points[:, :2] > self._low[:2]) & (points[:, :2] < self._high[:2]), axis=1)
        return fit_table_plane(
            points[level & near],
            self._rng,
            inlier_distance=settings.plane_inlier_distance,
            maximum_tilt=settings.maximum_table_tilt,
        )

    def _warp(self) -> DepthImage:
        """How far the seen table bends from its plane: stereo cameras see level tables curved.

        A second-order surface over the image; 0 where it stays within what is table anyway.
        Shape (h, w) or (1, 1). [m].
        """
        flat = np.zeros((1, 1), dtype=np.float32)
        above = self.above[::_PLANE_STRIDE, ::_PLANE_STRIDE]
        near = self.view.valid[::_PLANE_STRIDE, ::_PLANE_STRIDE] & (np.abs(above) < _MOST_WARP)
        rows, columns = np.nonzero(near)
        if len(rows) < _LEAST_WARPED:
            return flat
        height, width = self.view.depth.shape
        heights = above[near].astype(np.float64)
        system = _second_order(
            columns * (_PLANE_STRIDE / width) - 0.5, rows * (_PLANE_STRIDE / height) - 0.5
        )
        kept = np.abs(heights) < self.least
        bend: FloatArray = np.zeros(system.shape[1])
        for _ in range(3):
            if np.count_nonzero(kept) < _LEAST_WARPED:
                return flat
            used = system[kept]
            bend = np.asarray(
                np.linalg.lstsq(used.T @ used, used.T @ heights[kept], rcond=None)[0]
            )
            kept = np.abs(heights - system @ bend) < self.least
        if np.percentile(np.abs(system[kept] @ bend), 98.0) < 0.5 * self.least:
            return flat
        x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :]
        y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
        b = bend.astype(np.float32)
        surface = (b[0] + b[1] * x + b[3] * x * x) + (b[2] * y + b[5] * y * y) + (b[4] * y) * x
        return np.asarray(np.clip(surface, -_MOST_WARP, _MOST_WARP), dtype=np.float32)

    def _inside_workspace(self) -> Mask:
        inside = self.view.valid.copy()
        for axis, direction in enumerate(np.eye(3)):
            coordinate = self.view.component(direction)
            within = cv2.inRange(coordinate, float(self._low[axis]), float(self._high[axis]))
            inside &= within.view(np.bool_)  # 255 and True is True
        return inside


def check_click(click: tuple[int, int] | None, camera: CameraIntrinsics) -> None:
    """Refuse a click outside the image; raises InvalidInputError."""
    if click is not None and not (0 <= click[0] < camera.width and 0 <= click[1] < camera.height):
        raise InvalidInputError(
            f'Click {click} lies outside the image of {camera.width} x {camera.height} pixels.'
        )


def bounding_box(mask: Mask) -> npt.NDArray[np.int64]:
    """First and last column and row (x0, y0, x1, y1) of a mask that is not empty. [pixel]."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([left, top, left + width - 1, top + height - 1], dtype=np.int64)


def square_crop(
    bounds: npt.ArrayLike, size: tuple[int, ...], margin: float
) -> tuple[int, int, int, int]:
    """Square around a box of pixels, moved and, where it must, shrunk to lie inside the image.

    Args:
        bounds: First and last column and row (x0, y0, x1, y1), all inclusive. [pixel].
        size: Image (rows, columns). [pixel].
        margin: Added on each side, as a share of the box's longer side.

    Returns:
        (x0, y0, x1, y1) with x1 and y1 exclusive. [pixel].
    """
    x0, y0, x1, y1 = np.asarray(bounds).tolist()
    longer = max(x1 - x0, y1 - y0) + 1
    side = min(round(longer * (1.0 + 2.0 * margin)), size[0], size[1])
    left = min(max((x0 + x1 + 1 - side) // 2, 0), size[1] - side)
    top = min(max((y0 + y1 + 1 - side) // 2, 0), size[0] - side)
    return left, top, left + side, top + side


def _filled(mask: Mask) -> Mask:
    """The silhouette: small gaps at the outline closed, and everything that it surrounds."""
    closed = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, _NEIGHBOURHOOD, iterations=2)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    return np.asarray(closed.view(bool))


def _second_order(x: FloatArray, y: FloatArray) -> FloatArray:
    """Terms of a second-order polynomial. Shape (n, 6)."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
