# SPDX-License-Identifier: Apache-2.0
"""The table in a picture of a camera whose pose nobody calibrated.

Planes are found one after the other (RANSAC, then least squares). Of those that may be a table
one is taken: one that lies rather than a wall that stands on it, and of parallel ones the higher,
because a floor is seen beyond the end of a table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.errors import NoObjectError
from deft_core.rotations import transform
from deft_core.validation import FloatArray

_SAMPLES: Final = 4000
_FARTHEST: Final = 3.0  # [m] stereo depth beyond is too rough
_HYPOTHESES: Final = 1000
_PLANES: Final = 5
_TOLERANCE: Final = 0.006  # [m] at 1 m; grows with the square of the distance
_LEAST_SUPPORT: Final = 0.06  # of the samples
_LEAST_SHARE: Final = 0.25  # of the best supported plane
_LEAST_STEP: Final = 0.15  # [m] from a floor to a table; what is lower above a table stands on it
_MOST_SIDEWAYS: Final = 0.6  # of a table's normal, along the rows of the image
_LEAST_UPRIGHT: Final = -0.1  # of a table's normal, against the columns of the image
_PARALLEL: Final = 0.95
_ACROSS: Final = 0.35


class _Plane(NamedTuple):
    """Plane n.p + d = 0, normal towards the camera, and its share of the samples."""

    normal: FloatArray
    offset: float  # [m] of the camera above it
    support: float


def pose_over_table(frame: RgbdFrame, rng: np.random.Generator) -> FloatArray:
    """`T_base_camera`, shape (4, 4) [m], of a base frame on the table that the frame shows.

    z is up from the table, the origin below the camera, x the way in which it looks.

    Raises:
        NoObjectError: No plane that may be a table is seen.
    """
    depth = frame.depth
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0.0) & (depth < _FARTHEST))
    if len(rows) < 200:
        raise NoObjectError(
            'The depth picture holds (nearly) nothing within 3 m; is its unit right?'
        )
    chosen = rng.choice(len(rows), min(_SAMPLES, len(rows)), replace=False)
    rows, columns = rows[chosen], columns[chosen]
    z = depth[rows, columns].astype(np.float64)
    rays = frame.intrinsics.rays(np.stack([columns, rows], axis=1))
    points = np.column_stack([rays * z[:, None], z])
    planes = [
        plane
        for plane in _planes(points, rng)
        if abs(plane.normal[0]) < _MOST_SIDEWAYS and -plane.normal[1] > _LEAST_UPRIGHT
    ]
    if not planes:
        raise NoObjectError('No plane that may be a table is seen; show more of the table.')
    return _pose(_table_of(planes))


def _planes(points: FloatArray, rng: np.random.Generator) -> list[_Plane]:
    """Planes with support among points (n, 3), best first."""
    found: list[_Plane] = []
    rest, tolerance = points, _TOLERANCE * np.maximum(points[:, 2], 1.0) ** 2
    while len(found) < _PLANES and len(rest) >= _LEAST_SUPPORT * len(points):
        normal, offset = _best(rest, tolerance, rng)
        near = np.abs(rest @ normal + offset) < tolerance
        for _ in range(3):
            if np.count_nonzero(near) < 3:
                return found
            middle = rest[near].mean(axis=0)
            centred = rest[near] - middle
            normal = np.linalg.eigh(centred.T @ centred)[1][:, 0]
            normal *= -np.sign(normal @ middle)
            offset = -float(normal @ middle)
            near = np.abs(rest @ normal + offset) < tolerance
        support = float(np.count_nonzero(near)) / len(points)
        if support < _LEAST_SUPPORT:
            return found
        found.append(_Plane(normal, offset, support))
        rest, tolerance = rest[~near], tolerance[~near]
    return found


def _best(
    points: FloatArray, tolerance: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Of planes through triples of neighbours the one with most support."""
    triples = points[rng.integers(0, len(points), size=(_HYPOTHESES, 3))]
    a, b = triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0]
    normals = np.cross(a, b)
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-6
    normals = normals[usable] / lengths[usable, None]
    anchors = triples[usable, 0]
    normals *= -np.sign(np.sum(normals * anchors, axis=1))[:, None]
    offsets = -np.sum(normals * anchors, axis=1)
    votes = np.abs(points @ normals.T + offsets) < tolerance[:, None]
    best = int(np.argmax(np.count_nonzero(votes, axis=0)))
    return normals[best], float(offsets[best])


def _table_of(planes: list[_Plane]) -> _Plane:
    """The table among planes that are given in the order of their support."""
    table = planes[0]
    for plane in planes[1:]:
        along = float(plane.normal @ table.normal)
        stands = along < _ACROSS and plane.normal[1] < table.normal[1]
        higher = along > _PARALLEL and plane.offset < table.offset - _LEAST_STEP
        if (stands or higher) and plane.support > _LEAST_SHARE * table.support:
            table = plane
    return table


def _pose(table: _Plane) -> npt.NDArray[np.float64]:
    up = table.normal
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    if np.linalg.norm(ahead) < 0.2:  # the camera looks straight down: ahead is up in the image
        ahead = np.array([0.0, -1.0, 0.0]) + up[1] * up
    ahead /= np.linalg.norm(ahead)
    rotation = np.stack([ahead, np.cross(up, ahead), up])
    return np.asarray(transform(rotation, (0.0, 0.0, table.offset)))
