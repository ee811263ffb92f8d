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
from deft_perception.segmentation.depth_view import DepthView, Indices

_STEEP: Final = 4.0  # depth over width; a surface at more than 76 degrees to the line of sight
_WINDOW: Final = np.ones((5, 5), dtype=np.uint8)
_VALLEY_REACH: Final = 0.010  # [m] to each side of a valley
_VALLEY_DEPTH: Final = 0.0035  # [m] behind the mean of both sides
LEAST_CORE: Final = 4e-4  # [m^2] smaller cores are leaves of their neighbours
_GAP: Final = 0.03  # [m] between cores of one thing
_INSIDE: Final = 0.9  # of a fragment, in the hull of its body
_SAME_COLOURS: Final = 0.35  # share of the colours that two cores have in common
_HOLLOW: Final = -3.0  # [1/m] curvature of a wall that is seen from inside
_RIM_GAP: Final = 0.05  # [m] between both walls of a cup, as sensors lose depth along the rim
_SAME_HEIGHT: Final = 0.02  # [m] of two walls with one rim
_SAMPLES: Final = 300
_COLOURED: Final = 3000  # pixels of which a histogram is made
_BINS: Final = (4, 12, 12)  # of lightness and both hues
_LEAST_HUE, _HUE_STEP = 68, 10  # of the bins, in CIELAB with 8 bit, where 128 is grey


def tell_apart(body: Mask, view: DepthView, color: ColorImage) -> list[Mask]:
    """The things of which a connected body consists, each a mask (h, w)."""
    left, top, width, height = cv2.boundingRect(body.view(np.uint8))
    window = (slice(top, top + height), slice(left, left + width))
    inside = body[window]
    core = inside & ~_cut(view, window, inside)
    count, labels = cv2.connectedComponents(core.view(np.uint8), connectivity=4)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    pixels = (rows + top) * body.shape[1] + columns + left
    areas = np.bincount(numbers, view.pixel_areas(pixels), minlength=count)
    cores = 1 + np.flatnonzero(areas[1:] >= LEAST_CORE)
    if len(cores) < 2:
        return [body]
    ends = np.cumsum(np.bincount(numbers))
    by_core = np.split(pixels[np.argsort(numbers, kind='stable')], ends)
    groups = _same_things([by_core[core] for core in cores], view, color)
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
    left, top, width, height = cv2.boundingRect(large.view(np.uint8))
    window = (slice(top, top + height), slice(left, left + width))
    contours, _ = cv2.findContours(
        large[window].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    outline = np.zeros((height, width), dtype=np.uint8)
    cv2.fillConvexPoly(outline, cv2.convexHull(np.concatenate(contours)), 1)
    if np.count_nonzero(small[window] & outline.view(bool)) < _INSIDE * np.count_nonzero(small):
        return False
    shares = [color_histogram(color[mask]) for mask in (small, large)]
    return float(np.minimum(*shares).sum()) >= _SAME_COLOURS


def _same_things(
    cores: list[Indices], view: DepthView, color: ColorImage
) -> npt.NDArray[np.int32]:
    """Number of the thing that each core, given by flat index, belongs to."""
    flat = color.reshape(-1, 3)
    colours = [color_histogram(flat[core]) for core in cores]
    clouds = [cKDTree(view.flat_points(core, _SAMPLES)) for core in cores]
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


def color_histogram(pixels: ColorImage) -> npt.NDArray[np.float32]:
    """Share of RGB pixels (n, 3) in each bin of colour, smoothed so that neighbours are alike."""
    thin = pixels[:: -(-len(pixels) // _COLOURED)]
    counts = np.bincount(color_bins(thin[None]).ravel(), minlength=int(np.prod(_BINS)))
    smooth = counts.reshape(_BINS)
    for axis in range(3):
        smooth = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis))
    return np.asarray(smooth / max(float(smooth.sum()), 1.0), dtype=np.float32)


def color_bins(color: ColorImage) -> npt.NDArray[np.int32]:
    """Number of the bin of each pixel of a picture (h, w, 3) in a flat `color_histogram`."""
    lab = cv2.cvtColor(np.ascontiguousarray(color), cv2.COLOR_RGB2LAB).astype(np.int32)
    hues = np.clip((lab[..., 1:] - _LEAST_HUE) // _HUE_STEP, 0, _BINS[1] - 1)
    lightness = lab[..., 0] * _BINS[0] >> 8
    return np.asarray((lightness * _BINS[1] + hues[..., 0]) * _BINS[2] + hues[..., 1])


def _spread(things: npt.NDArray[np.int32], inside: Mask) -> npt.NDArray[np.int32]:
    """Every pixel inside gets the number of the nearest thing; 0 outside."""
    _, zones = cv2.distanceTransformWithLabels(
        (things == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(int(zones.max()) + 1, dtype=np.int32)
    seeds = things > 0
    number[zones[seeds]] = things[seeds]
    return np.asarray(np.where(inside, number[zones], 0))
