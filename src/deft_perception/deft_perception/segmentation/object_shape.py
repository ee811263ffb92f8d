# SPDX-License-Identifier: Apache-2.0
"""Box, axes and centre of an object of which a camera sees only one side.

The hidden back is completed by two plain assumptions:

1. The object stands on the table, so its box reaches down to the table plane.
2. A round thing is round all the way: if most of the outline seen from above lies on one circle,
   the vertical axis through that circle's centre is the object's axis, and what sticks out of the
   circle (the handle of a cup) does not move the centre.

Everything else gets the smallest rectangle around the footprint of the seen points. From an
oblique camera that footprint is complete for bodies that do not bulge below their top (boxes,
tools, dishes); for a bulging body (a lying lemon) the rectangle lacks part of the far side and
its centre is off by up to 0.15 of the half width towards the camera at 45 degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np

from deft_core.errors import NoObjectError
from deft_core.validation import FloatArray
from deft_perception.segmentation.table_plane import TablePlane

_SMALLEST_CELL: Final = 0.003  # [m] of the footprint grid
_CELL_PER_PIXEL: Final = 2.2  # so that a cell of a level face holds about three points
_TOP_PERCENTILE: Final = 98.0
_SIDE_PERCENTILES: Final = (2.0, 98.0)  # the short end of a tool is 4 % of its outline
_HYPOTHESES: Final = 400
_SECTORS: Final = 36  # ten degrees each
_LEAST_ON_CIRCLE: Final = 8  # cells of the outline
_LEAST_FRACTION: Final = 0.75  # of the outline on or outside the circle; a square reaches 0.6
_LEAST_COVERAGE: Final = 0.45  # of the whole circle
_LEAST_FRONT: Final = 0.7  # of the half towards the camera
_LOBE: Final = 1.2  # [rad] widest handle, as seen from the axis
_LOBE_SHARE: Final = 0.3  # of the outline on or outside the circle, at most, is a handle
_SMALLEST_RADIUS, _LARGEST_RADIUS = 0.006, 0.20  # [m]


@dataclass(frozen=True, eq=False)
class ObjectShape:
    """Oriented box on the table."""

    centre: FloatArray  # centre of the box, base frame, shape (3,) [m]
    axes: FloatArray  # columns are unit axes, longest extent first, right-handed, shape (3, 3)
    extents: FloatArray  # full lengths along `axes`, shape (3,) [m]
    height: float  # top above the table [m]
    round_fraction: float  # how well a circle explains the outline, 0 to 1; 0 where none is fitted
    centre_uncertainty: float  # one standard deviation of the horizontal centre, estimated [m]


class _Circle(NamedTuple):
    centre: FloatArray
    radius: float
    residual: float
    inlier_fraction: float


def fit_object_shape(
    points: FloatArray,
    plane: TablePlane,
    camera: FloatArray,
    *,
    noise: float,
    pixel_size: float,
    rng: np.random.Generator,
) -> ObjectShape:
    """Complete the seen points of one object to a box standing on the table.

    Args:
        points: Seen surface points, shape (n, 3), base frame. [m].
        plane: The table.
        camera: Where the camera stands, base frame. Shape (3,). [m].
        noise: Standard deviation of depth after filtering. [m].
        pixel_size: Side of what a pixel covers at the object, across the line of sight. [m].
        rng: Draws the hypotheses of the circle fit.

    Raises:
        NoObjectError: The points have no footprint (too few of them).
    """
    height = _top(plane.distance(points), noise)
    frame = _table_frame(plane)
    cell = max(_SMALLEST_CELL, _CELL_PER_PIXEL * pixel_size)
    outline = _outline(points @ frame[:, :2], cell)
    tolerance = max(0.5 * cell, 1.5 * noise)
    circle = _fit_circle(outline, camera @ frame[:, :2], tolerance, rng)
    if circle is not None:
        planar_centre = circle.centre
        angle = 0.0  # every direction is a principal one; the base's x is as good as any
        lengths = np.array([2.0 * circle.radius, 2.0 * circle.radius])
        uncertainty = math.hypot(noise, circle.residual)
    else:
        planar_centre, lengths, angle = _rectangle(outline)
        uncertainty = math.hypot(noise, 0.075 * float(lengths.min()))
    middle = 0.5 * height - plane.coefficients[3]
    centre = frame[:, :2] @ planar_centre + frame[:, 2] * middle
    along = math.cos(angle) * frame[:, 0] + math.sin(angle) * frame[:, 1]
    across = np.cross(frame[:, 2], along)
    axes, extents = _sorted_axes(
        np.stack([along, across, frame[:, 2]], axis=1), np.append(lengths, height)
    )
    return ObjectShape(
        centre=centre,
        axes=axes,
        extents=extents,
        height=height,
        round_fraction=0.0 if circle is None else circle.inlier_fraction,
        centre_uncertainty=uncertainty,
    )


def _top(above: FloatArray, noise: float) -> float:
    """Height of the top from heights (n,): the median of a thin layer, not the maximum. [m].

    Noise raises a maximum, and the more points there are the more it does.
    """
    high = float(np.percentile(above, _TOP_PERCENTILE))
    return float(np.median(above[above > high - 3.0 * max(noise, 5e-4)]))


def _table_frame(plane: TablePlane) -> FloatArray:
    """Columns: two directions in the table (the first nearest to the base's x), and up."""
    up = np.array(plane.coefficients[:3])
    first = np.array([1.0, 0.0, 0.0]) - up[0] * up
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first), up], axis=1)


def _outline(footprint: FloatArray, cell: float) -> FloatArray:
    """Outer border of the cells, of this side, that points (n, 2) fall into. Shape (m, 2). [m]."""
    corner = footprint.min(axis=0) - 4 * cell
    cells = ((footprint - corner) / cell).astype(np.intp)
    size = cells.max(axis=0) + 5
    counts = np.bincount(cells[:, 1] * size[0] + cells[:, 0], minlength=size[0] * size[1])
    # A cell of a face turned to the camera holds several points; stray points are alone.
    occupied = (counts >= 2).astype(np.uint8).reshape(size[1], size[0])
    closed = cv2.morphologyEx(
        occupied, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    )
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        raise NoObjectError('The object has too few depth points for a footprint.')
    border = np.concatenate([contour[:, 0] for contour in contours]).astype(np.float64)
    return np.asarray(corner + (border + 0.5) * cell)


def _fit_circle(
    outline: FloatArray, camera: FloatArray, tolerance: float, rng: np.random.Generator
) -> _Circle | None:
    """Circle through most of the outline (m, 2), or None where it is not round.

    Outline inside the circle is no evidence against it, because there the body may hide its own
    back. Outline outside is, except in one narrow lobe: a handle. The circle must be followed on
    half of its length, or on most of the front, which looks to the camera (2,). Outline
    nearer than the tolerance [m], or a twentieth of the radius, is on it.
    """
    centres, radii = _circle_hypotheses(outline, rng)
    if len(radii) == 0:
        return None
    tolerance = max(tolerance, 0.05 * float(np.median(radii)))
    across = outline[None, :, 0] - centres[:, None, 0]
    along = outline[None, :, 1] - centres[:, None, 1]
    gap = np.sqrt(across**2 + along**2) - radii[:, None]
    on, outside = np.abs(gap) < tolerance, gap >= tolerance
    best = int(np.argmax(np.count_nonzero(on, axis=1) - np.count_nonzero(outside, axis=1)))
    centre, radius = centres[best], float(radii[best])
    for _ in range(3):
        near = np.abs(np.linalg.norm(outline - centre, axis=1) - radius) < tolerance
        if np.count_nonzero(near) < _LEAST_ON_CIRCLE:
            return None
        centre, radius = _circle_least_squares(outline[near])
    offset = outline - centre
    gap = np.linalg.norm(offset, axis=1) - radius
    near, outside = np.abs(gap) < tolerance, gap >= tolerance
    to_camera = camera - centre
    bearing = np.arctan2(offset[:, 1], offset[:, 0]) - math.atan2(to_camera[1], to_camera[0])
    bearing %= 2.0 * math.pi
    counted = int(np.count_nonzero(near | outside))
    lobe = min(_largest_lobe(bearing[outside]), int(_LOBE_SHARE * counted))
    fraction = float(np.count_nonzero(near)) / max(1, counted - lobe)
    sectors = np.unique(np.floor(bearing[near] / (2.0 * math.pi) * _SECTORS))
    front = np.count_nonzero((sectors < _SECTORS / 4) | (sectors >= 3 * _SECTORS / 4))
    followed = len(sectors) >= _LEAST_COVERAGE * _SECTORS or front >= _LEAST_FRONT * _SECTORS / 2
    if fraction < _LEAST_FRACTION or not followed:
        return None
    residual = float(np.sqrt(np.mean(gap[near] ** 2)))
    return _Circle(centre, radius, residual, fraction)


def _largest_lobe(bearings: FloatArray) -> int:
    """Most of the bearings, shape (n,), that fit into one sector as wide as a handle. [rad]."""
    if len(bearings) == 0:
        return 0
    ahead = (bearings[None] - bearings[:, None]) % (2.0 * math.pi)
    return int(np.count_nonzero(ahead < _LOBE, axis=1).max())


def _circle_hypotheses(
    outline: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Centres (k, 2) and radii (k,) of circles through triples of points (m, 2). [m]."""
    triples = outline[rng.integers(0, len(outline), size=(_HYPOTHESES, 3))]
    first, second, third = triples.swapaxes(0, 1)
    a, b = second - first, third - first
    double = 2.0 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    usable = np.abs(double) > 1e-7  # [m^2] collinear or equal points make no circle
    a, b, double, first = a[usable], b[usable], double[usable], first[usable]
    aa, bb = np.sum(a * a, axis=1), np.sum(b * b, axis=1)
    to_centre = np.stack([b[:, 1] * aa - a[:, 1] * bb, a[:, 0] * bb - b[:, 0] * aa], axis=1)
    to_centre /= double[:, None]
    radii = np.linalg.norm(to_centre, axis=1)
    sized = (radii > _SMALLEST_RADIUS) & (radii < _LARGEST_RADIUS)
    return (first + to_centre)[sized], radii[sized]


def _circle_least_squares(points: FloatArray) -> tuple[FloatArray, float]:
    """Centre (2,) and radius of the algebraic (Kasa) fit to points (n, 2). [m]."""
    mean = points.mean(axis=0)
    xy = points - mean
    system = np.column_stack([2.0 * xy, np.ones(len(xy))])
    solution, *_ = np.linalg.lstsq(system, np.sum(xy * xy, axis=1), rcond=None)
    radius = math.sqrt(max(float(solution[2] + solution[:2] @ solution[:2]), 0.0))
    return solution[:2] + mean, radius


def _rectangle(outline: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Smallest rectangle around the outline: centre (2,), lengths (2,), angle of the first.

    The rectangle gives the direction; the sides are percentiles, which stray points do not move.
    """
    millimetres = 1000.0  # OpenCV works in single precision: keep the numbers near one
    middle = outline.mean(axis=0)
    _, _, degrees = cv2.minAreaRect(((outline - middle) * millimetres).astype(np.float32))
    angle = math.radians(degrees)
    axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    low, high = np.percentile((outline - middle) @ axes.T, _SIDE_PERCENTILES, axis=0)
    return middle + 0.5 * (low + high) @ axes, high - low, angle


def _sorted_axes(axes: FloatArray, extents: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Longest first, right-handed; each axis points up or, lying, towards the base's +x or +y."""
    order = np.argsort(-extents, kind='stable')
    axes, extents = axes[:, order], extents[order]
    for column in range(3):
        axis = axes[:, column]
        leading = axis[2] if abs(axis[2]) > 0.7 else axis[0] if abs(axis[0]) > 1e-6 else axis[1]
        if leading < 0.0:
            axes[:, column] = -axis
    if np.linalg.det(axes) < 0.0:
        lying = int(np.flatnonzero(np.abs(axes[2]) <= 0.7)[-1])
        axes[:, lying] = -axes[:, lying]
    return axes, extents
