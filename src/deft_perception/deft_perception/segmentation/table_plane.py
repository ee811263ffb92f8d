# SPDX-License-Identifier: Apache-2.0
"""The table top as a plane, fitted robustly to depth points in the base frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.errors import NoObjectError
from deft_core.validation import FloatArray

_HYPOTHESES: Final = 64  # point triples tried
_REFINEMENTS: Final = 3
_CLIP: Final = 3.0  # standard deviations kept by each refinement
_MINIMUM_POINTS: Final = 50
_VOTERS: Final = 2000  # enough to rank hypotheses; the refinement uses every point


@dataclass(frozen=True, eq=False)
class TablePlane:
    """A plane n.p + d = 0 whose normal points up."""

    coefficients: FloatArray  # (n_x, n_y, n_z, d), unit normal, base frame, shape (4,) [-, m]
    residual: float  # root mean square distance of its points [m]
    inlier_fraction: float  # share of the offered points that lie on it
    tilt: float  # angle between its normal and the base's z axis [rad]

    def distance(self, points: FloatArray) -> FloatArray:
        """Signed distance above the plane, shape (n,), of points (n, 3). [m]."""
        return np.asarray(points @ self.coefficients[:3] + self.coefficients[3])


def fit_table_plane(
    points: FloatArray,
    rng: np.random.Generator,
    *,
    inlier_distance: float,
    maximum_tilt: float,
) -> TablePlane:
    """Fit the dominant near-horizontal plane: RANSAC, then least squares on its inliers.

    Args:
        points: Candidate points in the base frame, shape (n, 3), finite. [m].
        rng: Draws the hypotheses.
        inlier_distance: Points nearer than this support a hypothesis. [m].
        maximum_tilt: Steeper planes are not tables. [rad].

    Raises:
        NoObjectError: There are too few points, or no plane near the horizontal has support.
    """
    if len(points) < _MINIMUM_POINTS:
        raise NoObjectError(
            f'Only {len(points)} depth points lie near the table height, at least '
            f'{_MINIMUM_POINTS} are needed; is the table in view and the calibration right?'
        )
    voters = points[:: -(-len(points) // _VOTERS)]
    coefficients = _best_hypothesis(voters, rng, inlier_distance, maximum_tilt)
    distance = points @ coefficients[:3] + coefficients[3]
    inliers = np.abs(distance) < inlier_distance
    for _ in range(_REFINEMENTS):
        coefficients = _least_squares(points[inliers])
        distance = points @ coefficients[:3] + coefficients[3]
        spread = 1.4826 * float(np.median(np.abs(distance[inliers])))
        # Never below half a millimetre, the rounding of the sensor, or exact data lose all points.
        limit = min(inlier_distance, max(_CLIP * spread, 5e-4))
        inliers = np.abs(distance) < limit
    tilt = math.acos(float(np.clip(coefficients[2], -1.0, 1.0)))
    if tilt > maximum_tilt:
        raise NoObjectError(
            f'The plane found is tilted by {tilt:.3f} rad, at most {maximum_tilt:.3f} rad is '
            'allowed for a table; check the camera calibration.'
        )
    coefficients.setflags(write=False)
    return TablePlane(
        coefficients=coefficients,
        residual=float(np.sqrt(np.mean(distance[inliers] ** 2))),
        inlier_fraction=float(np.mean(inliers)),
        tilt=tilt,
    )


def _best_hypothesis(
    points: FloatArray,
    rng: np.random.Generator,
    inlier_distance: float,
    maximum_tilt: float,
) -> FloatArray:
    triples = points[rng.integers(0, len(points), size=(_HYPOTHESES, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-6  # [m^2] twice the area of the triangle; drops (nearly) equal points
    normals = normals[usable] / lengths[usable, None]
    normals *= np.where(normals[:, 2:] < 0.0, -1.0, 1.0)
    level = normals[:, 2] >= math.cos(maximum_tilt)
    normals, anchors = normals[level], triples[usable][level, 0]
    if len(normals) == 0:
        raise NoObjectError(
            f'No plane within {maximum_tilt:.3f} rad of the horizontal was found at the height of '
            'the table; is the table in view and the calibration right?'
        )
    offsets = -np.einsum('ij,ij->i', normals, anchors)
    support = np.count_nonzero(np.abs(points @ normals.T + offsets) < inlier_distance, axis=0)
    best = int(np.argmax(support))
    return np.append(normals[best], offsets[best])


def _least_squares(points: FloatArray) -> FloatArray:
    """Plane of least squared distances through points (n, 3), normal up. Shape (4,)."""
    mean = points.mean(axis=0)
    centred = points - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    normal = vectors[:, 0] if vectors[2, 0] >= 0.0 else -vectors[:, 0]
    return np.append(normal, -float(normal @ mean))
