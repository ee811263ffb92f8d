# SPDX-License-Identifier: Apache-2.0
"""Spoons: a flat handle that does not roll between the fingers, and a bowl.

A bowl is drawn hollow and touched as filled.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

import mujoco
import numpy as np

from deft_core.rotations import quaternion_from_matrix
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Color, lathe, quaternion_about
from deft_sim.tasks import CONTACT

_SEGMENTS: Final = 4  # straight pieces of an arched handle
_BOWL_SHARE: Final = 0.4  # of the mass
_WALL: Final = 0.002  # [m] of a bowl, as it is drawn
_RINGS: Final = 5


@dataclass(frozen=True)
class Spoon:
    """A spoon as it lies on a table; its x axis runs from the bowl to the end of the handle.

    The origin is on the table below the middle of the handle.
    """

    length: float  # of the handle [m]
    width: float  # of the handle [m]
    thickness: float  # of the handle [m]
    arch: float  # the middle of the handle stands this much above the line of its ends [m]
    bowl: tuple[float, float, float]  # half length, half width, depth [m]
    mass: float  # [kg]
    color: Color  # of the bowl
    handle_color: Color
    friction: float = 0.8  # sliding; rubber and raw wood have more, polished steel has less

    @property
    def contact(self) -> dict[str, Any]:
        """Properties of its geoms that are felt."""
        _, torsional, rolling = CONTACT['friction']
        return {**CONTACT, 'friction': [self.friction, torsional, rolling]}

    def spine(self) -> FloatArray:
        """Corners (x, z) of the middle line of the handle, bowl first. Shape (n, 2). [m]."""
        share = np.linspace(0.0, 1.0, _SEGMENTS + 1)
        start, end = self.bowl[2] - self.thickness / 2.0, self.thickness / 2.0
        height = start + share * (end - start) + 4.0 * self.arch * share * (1.0 - share)
        return np.stack([(share - 0.5) * self.length, height], axis=1)

    def handle_height(self, x: float) -> float:
        """Height of the middle line of the handle above the table at a place along it [m]. [m]."""
        spine = self.spine()
        return float(np.interp(x, spine[:, 0], spine[:, 1]))

    @property
    def bowl_middle(self) -> float:
        """Place of the middle of the bowl along the spoon; the handle ends over its rim. [m]."""
        return -self.length / 2.0 - 0.9 * self.bowl[0]

    def bowl_points(self) -> FloatArray:
        """Points of the bowl's surface. Shape (n, 3). [m]."""
        return _bowl(self.bowl)[0] + [self.bowl_middle, 0.0, 0.0]


def add_spoon(spec: mujoco.MjSpec, body: mujoco.MjsBody, spoon: Spoon, name: str) -> None:
    """Add a spoon to a body."""
    add_handle(
        body,
        spoon.spine(),
        (spoon.width, spoon.thickness),
        name=name,
        mass=(1.0 - _BOWL_SHARE) * spoon.mass,
        rgba=[*spoon.handle_color, 1.0],
        **spoon.contact,
    )
    vertices, faces = _bowl(spoon.bowl)
    spec.add_mesh(
        name=f'{name}_bowl',
        uservert=vertices.ravel().tolist(),
        userface=faces.ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        maxhullvert=48,
    )
    body.add_geom(
        name=f'{name}_bowl',
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=f'{name}_bowl',
        pos=[spoon.bowl_middle, 0.0, 0.0],
        mass=_BOWL_SHARE * spoon.mass,
        rgba=[*spoon.color, 1.0],
        group=2,
        **spoon.contact,
    )


def add_handle(
    body: mujoco.MjsBody,
    spine: FloatArray,
    section: tuple[float, float],
    *,
    name: str,
    mass: float,
    **properties: Any,
) -> None:
    """Add a flat handle of boxes along a line in the body's x-z plane.

    Args:
        body: To which the handle belongs.
        spine: Corners (x, z) of its middle line. Shape (n, 2), n >= 2. [m].
        section: Its width along y, and its thickness. [m].
        name: Of the first part of its geoms' names.
        mass: Of the whole handle. [kg].
        properties: Of the geoms: color, contact.
    """
    pieces = list(itertools.pairwise(spine))
    for index, (start, end) in enumerate(pieces):
        run, rise = end - start
        half_length = np.hypot(run, rise) / 2.0
        middle = (start + end) / 2.0
        body.add_geom(
            name=f'{name}_handle_{index}',
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[half_length, section[0] / 2.0, section[1] / 2.0],
            pos=[middle[0], 0.0, middle[1]],
            quat=quaternion_about((0.0, 1.0, 0.0), -np.arctan2(rise, run)),
            mass=mass / len(pieces),
            group=2,
            **properties,
        )


def pinch_across(along: FloatArray, tilt: float = np.pi / 4.0) -> FloatArray:
    """Wrist of a pinch from above that closes across a handle. Shape (3, 3).

    Args:
        along: Direction of the handle, base frame; its sign does not matter. Shape (3,).
        tilt: Of the fingers below the horizontal, where the handle is level. [rad].
    """
    y_axis = np.copysign(1.0, along[1]) * along / np.linalg.norm(along)
    across = np.cross(y_axis, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    down = np.cross(y_axis, across)
    z_axis = np.cos(tilt) * across + np.sin(tilt) * down
    x_axis = -np.sin(tilt) * across + np.cos(tilt) * down
    return np.stack([x_axis, y_axis, z_axis], axis=1)


def free_pose(position: FloatArray, rotation: FloatArray) -> list[float]:
    """Configuration of a free joint from a position [m] and a rotation matrix."""
    x, y, z, w = quaternion_from_matrix(rotation)
    return [*position, w, x, y, z]


def _bowl(bowl: tuple[float, float, float]) -> tuple[FloatArray, np.ndarray]:
    """Half an ellipsoid with a wall, lowest point at the origin: vertices [m] and triangles."""
    half_length, half_width, depth = bowl
    angles = np.linspace(0.0, np.pi / 2.0, _RINGS)
    outer = [(half_width * np.sin(a), depth * (1.0 - np.cos(a))) for a in angles]
    inner = [
        ((half_width - _WALL) * np.sin(a), depth - (depth - _WALL) * np.cos(a))
        for a in angles[::-1]
    ]
    vertices, faces = lathe(outer + inner)
    return vertices * [half_length / half_width, 1.0, 1.0], faces
