# SPDX-License-Identifier: Apache-2.0
"""Bodies that touch each other are told apart.

Two things that touch meet in a valley, and where one stands before the other the camera sees a
steep slope of mixed depth. Both are cut out; what is left are cores. Cores of one thing are joined
again: those that have the same colours, such as a mug and its handle, and a hollow wall with what
stands before it as high, the inside of a cup with its outside. Then every pixel goes to the
nearest core.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from deft_core.camera import ColorImage, Mask
from deft_core.validation import FloatArray
from deft_perception.segmentation.depth_view import DepthView

_STEEP: Final = 4.0  # depth over width; a surface at more than 76 degrees to the line of sight
_WINDOW: Final = np.ones((5, 5), dtype=np.uint8)
_VALLEY_REACH: Final = 0.010  # [m] to each side of a valley
_VALLEY_DEPTH: Final = 0.0035  # [m] behind the mean of both sides
_LEAST_CORE: Final = 4e-4  # [m^2] smaller cores are leaves of their neighbours
_GAP: Final = 0.03  # [m] between cores of one thing
_SAME_COLOURS: Final = 0.35  # share of the colours that two cores have in common
_HOLLOW: Final = -3.0  # [1/m] curvature of a wall that is seen from inside
_RIM_GAP: Final = 0.05  # [m] between both walls of a cup, as sensors lose depth along the rim
_SAME_HEIGHT: Final = 0.02  # [m] of two walls with one rim
_SAMPLES: Final = 300
_BINS: Final = (4, 12, 12)  # of lightness and both hues


def tell_apart(body: Mask, view: DepthView, color: ColorImage) -> list[Mask]:
    """The things of which a connected body consists, each a mask (h, w)."""
    left, top, width, height = cv2.boundingRect(body.view(np.uint8))
    window = (slice(top, top + height), slice(left, left + width))
    inside = body[window]
    core = inside & ~_cut(view, window, inside)
    count, labels = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
    rows, columns = np.nonzero(labels)
    flat = (rows + top) * body.shape[1] + columns + left
    areas = np.bincount(labels[rows, columns], view.pixel_areas(flat), minlength=count)
    cores = 1 + np.flatnonzero(areas[1:] >= _LEAST_CORE)
    if len(cores) < 2:
        return [body]
    groups = _same_things([labels == number for number in cores], view, color, window)
    if groups.max() == 0:
        return [body]
    thing_of = np.zeros(count, dtype=np.int32)
    thing_of[cores] = 1 + groups
    nearest = _spread(thing_of[labels], inside)
    things = []
    for number in range(1, groups.max() + 2):
        mask = np.zeros(body.shape, dtype=np.bool_)
        mask[window] = nearest == number
        things.append(mask)
    return things


def _cut(view: DepthView, window: tuple[slice, slice], inside: Mask) -> Mask:
    """Steep slopes and valleys of a window."""
    depth = np.where(inside, view.depth[window], np.float32(0.0))
    nearest = cv2.erode(np.where(inside, depth, np.float32(100.0)), _WINDOW)
    pixel = depth / np.float32(view.camera.fx)
    steep = cv2.dilate(depth, _WINDOW) - nearest > _STEEP * (len(_WINDOW) - 1) * pixel
    middle = float(np.median(depth[inside]))
    reach = max(4, round(_VALLEY_REACH * view.camera.fx / middle))
    valley = np.zeros(depth.shape, dtype=np.bool_)
    for down, right in ((0, 1), (1, 0), (0.7, 0.7), (0.7, -0.7)):
        sides = [
            _shifted(depth, sign * round(reach * down), sign * round(reach * right))
            for sign in (1, -1)
        ]
        both = (sides[0] > 0.0) & (sides[1] > 0.0)
        valley |= both & (depth - 0.5 * (sides[0] + sides[1]) > _VALLEY_DEPTH)
    return np.asarray(steep | valley)


def _shifted(depth: npt.NDArray[np.float32], down: int, right: int) -> npt.NDArray[np.float32]:
    """Depth of the pixel that lies so far away, 0 outside."""
    height, width = depth.shape
    moved = np.zeros_like(depth)
    rows = slice(max(down, 0), max(min(height + down, height), 0))
    columns = slice(max(right, 0), max(min(width + right, width), 0))
    from_rows = slice(max(-down, 0), max(min(height - down, height), 0))
    from_columns = slice(max(-right, 0), max(min(width - right, width), 0))
    moved[rows, columns] = depth[from_rows, from_columns]
    return moved


def is_fragment(small: Mask, large: Mask, color: ColorImage) -> bool:
    """Whether a body lies in the outline of a larger one and has its colours.

    Behind what is half transparent or shiny a camera sees patches of wrong depth.
    """
    hull = cv2.convexHull(cv2.findNonZero(large.view(np.uint8)))
    corners = cv2.boxPoints(cv2.minAreaRect(cv2.findNonZero(small.view(np.uint8))))
    if any(cv2.pointPolygonTest(hull, corner.tolist(), False) < 0 for corner in corners):
        return False
    left, top, width, height = cv2.boundingRect(hull)
    window = (slice(top, top + height), slice(left, left + width))
    lab = _lab(color[window])
    shares = [color_histogram(lab, mask[window]) for mask in (small, large)]
    return float(np.minimum(*shares).sum()) >= _SAME_COLOURS


def _same_things(
    cores: list[Mask], view: DepthView, color: ColorImage, window: tuple[slice, slice]
) -> npt.NDArray[np.int32]:
    """Number of the thing that each core belongs to."""
    lab = _lab(color[window])
    colours = [color_histogram(lab, core) for core in cores]
    clouds: list[cKDTree] = []
    for core in cores:
        rows, columns = np.nonzero(core)
        thin = slice(None, None, -(-len(rows) // _SAMPLES))
        points = view.points(rows[thin] + window[0].start, columns[thin] + window[1].start)
        clouds.append(cKDTree(points))
    tops = [float(np.percentile(cloud.data[:, 2], 95.0)) for cloud in clouds]
    hollow = [_curvature(np.asarray(cloud.data), view) < _HOLLOW for cloud in clouds]
    same = np.eye(len(cores), dtype=np.bool_)
    for i, first in enumerate(clouds):
        for j, second in enumerate(clouds[:i]):
            alike = float(np.minimum(colours[i], colours[j]).sum()) >= _SAME_COLOURS
            one_rim = hollow[i] != hollow[j] and abs(tops[i] - tops[j]) < _SAME_HEIGHT
            if alike or one_rim:
                limit = _RIM_GAP if one_rim else _GAP
                distance, _ = first.query(second.data, distance_upper_bound=limit)
                same[i, j] = np.isfinite(distance).any()
    return np.asarray(connected_components(same, directed=False)[1])


def _lab(color: ColorImage) -> ColorImage:
    converted = cv2.cvtColor(np.ascontiguousarray(color), cv2.COLOR_RGB2LAB)
    return np.asarray(converted, dtype=np.uint8)


def _curvature(points: FloatArray, view: DepthView) -> float:
    """How a wall of points (n, 3) bends about the vertical, negative if it is hollow. [1/m]."""
    middle = points.mean(axis=0)
    ahead = (middle - view.pose[:3, 3])[:2]
    if np.linalg.norm(ahead) < 1e-3:
        return 0.0
    ahead /= np.linalg.norm(ahead)
    offset = points[:, :2] - middle[:2]
    across = offset @ [-ahead[1], ahead[0]]
    system = np.stack([np.ones_like(across), across, across**2, points[:, 2] - middle[2]], axis=1)
    normal = system.T @ system + 1e-12 * np.eye(4)
    return float(np.linalg.solve(normal, system.T @ (offset @ ahead))[2])


def color_histogram(lab: npt.NDArray[np.uint8], mask: Mask) -> npt.NDArray[np.float32]:
    """Share of the pixels in each bin of colour, smoothed so that neighbours count as alike."""
    counts = cv2.calcHist(
        [lab], [0, 1, 2], mask.astype(np.uint8), list(_BINS), [0, 256, 68, 188, 68, 188]
    )
    smooth = counts
    for axis in range(3):
        smooth = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis))
    return np.asarray(smooth / max(float(smooth.sum()), 1.0), dtype=np.float32)


def _spread(things: npt.NDArray[np.int32], inside: Mask) -> npt.NDArray[np.int32]:
    """Every pixel inside gets the number of the nearest thing; 0 outside."""
    _, zones = cv2.distanceTransformWithLabels(
        (things == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(int(zones.max()) + 1, dtype=np.int32)
    seeds = things > 0
    number[zones[seeds]] = things[seeds]
    return np.asarray(np.where(inside, number[zones], 0))
