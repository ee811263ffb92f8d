# SPDX-License-Identifier: Apache-2.0
"""Checked geometry of an observed object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft_core.errors import InvalidInputError
from deft_core.observation import ObjectObservation
from deft_core.validation import FloatArray, finite_array


@dataclass(frozen=True, eq=False)
class ObjectGeometry:
    """An object on the table, base frame."""

    foot: FloatArray  # point of the table under the centre, shape (3,) [m]
    up: FloatArray  # unit normal of the table, away from it, shape (3,)
    height: float  # top above the table [m]
    long_axis: FloatArray  # longest lying unit axis of the box, shape (3,)
    length: float  # extent along the long axis [m]
    width: float  # extent along the other lying axis [m]


def object_geometry(observation: ObjectObservation) -> ObjectGeometry:
    """Check an observation and tell its lying axes from the standing one.

    Raises:
        InvalidInputError: The table plane, the box or the height make no object.
    """
    centre = finite_array('object centre', observation.centre, (3,))
    plane = finite_array('table plane', observation.table_plane, (4,))
    axes = finite_array('object axes', observation.axes, (3, 3))
    extents = finite_array('object extents', observation.extents, (3,))
    if abs(float(np.linalg.norm(plane[:3])) - 1.0) > 1e-3:
        raise InvalidInputError(
            f'The table plane needs a unit normal, got {plane[:3].tolist()}; '
            'segment the object again.'
        )
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise InvalidInputError(
            f'The object axes must be orthonormal columns, got {axes.tolist()}; '
            'segment the object again.'
        )
    if not (np.isfinite(observation.height) and observation.height > 0.0 and extents.min() >= 0.0):
        raise InvalidInputError(
            f'An object needs a positive height and extents, got {observation.height} m and '
            f'{extents.tolist()} m; segment the object again.'
        )
    sign = 1.0 if plane[2] >= 0.0 else -1.0  # (n, d) and (-n, -d) are the same plane
    up, offset = sign * plane[:3], sign * float(plane[3])
    standing = int(np.argmax(np.abs(axes.T @ up)))
    lying = [column for column in range(3) if column != standing]
    lying.sort(key=lambda column: -float(extents[column]))
    return ObjectGeometry(
        foot=centre - (up @ centre + offset) * up,
        up=up,
        height=float(observation.height),
        long_axis=axes[:, lying[0]],
        length=float(extents[lying[0]]),
        width=float(extents[lying[1]]),
    )


def observed_points(observation: ObjectObservation) -> FloatArray:
    """The seen points, checked. Shape (n, 3), n >= 1. [m].

    Raises:
        InvalidInputError: There are none, or some are not finite.
    """
    points = finite_array('object points', observation.points, (-1, 3))
    if len(points) == 0:
        raise InvalidInputError(
            'The observation has no object points; segment again with the object in view.'
        )
    return points
