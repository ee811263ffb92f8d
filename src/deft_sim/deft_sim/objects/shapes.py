# SPDX-License-Identifier: Apache-2.0
"""Bodies that several tasks are made of: surfaces of revolution, hollow vessels, tool handles.

A vessel is drawn as one smooth surface and touched as a floor and a ring of boxes, because MuJoCo
takes every mesh for its convex hull, in which nothing could lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import mujoco
import numpy as np

from deft_core.validation import FloatArray
from deft_sim.tasks import CONTACT

Color = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

LOOKS: Final[dict[str, Any]] = {'contype': 0, 'conaffinity': 0, 'group': 2, 'mass': 0.0}
"""Properties of a geom that is seen and not felt."""

_SEGMENTS: Final = 32
_RIM: Final = 0.006  # [m] height of a rim in another colour
_PROUD: Final = 0.0006  # [m] by which it stands off, so that it is seen


@dataclass(frozen=True)
class Vessel:
    """A round thing with a wall and a floor, open at the top; its origin is below its middle."""

    radius: float  # outer radius at the rim [m]
    height: float  # height of the rim [m]
    mass: float  # [kg]
    color: Color
    rim_color: Color
    base_radius: float | None = None  # outer radius at the bottom; as at the rim when None [m]
    wall: float = 0.003  # [m]
    floor: float = 0.003  # [m]

    @property
    def bottom_radius(self) -> float:
        """Outer radius at the bottom. [m]."""
        return self.radius if self.base_radius is None else self.base_radius

    def outer_radius(self, height: float) -> float:
        """Outer radius at a height above the bottom [m]. [m]."""
        share = height / self.height
        return self.bottom_radius + share * (self.radius - self.bottom_radius)


def add_vessel_looks(spec: mujoco.MjSpec, body: mujoco.MjsBody, vessel: Vessel, name: str) -> None:
    """Draw a vessel: nothing of it is felt."""
    top, bottom, height = vessel.radius, vessel.bottom_radius, vessel.height
    wall, edge = vessel.wall, vessel.height - 0.001
    profile = [(0.0, 0.0005), (bottom, 0.0005), (top, edge), (top - wall, edge)]
    profile += [(bottom - wall, vessel.floor), (0.0, vessel.floor)]
    outer, inner = top + _PROUD, top - wall - _PROUD
    rim = [(outer, height - _RIM), (outer, height), (inner, height), (inner, height - _RIM)]
    add_surface(spec, body, f'{name}_wall', profile, vessel.color)
    add_surface(spec, body, f'{name}_rim', rim, vessel.rim_color)


def add_hollow(
    body: mujoco.MjsBody,
    vessel: Vessel,
    name: str,
    *,
    mass: float | None = None,
    sides: int = 14,
) -> None:
    """What of a vessel is felt: a floor and a ring of boxes that lean as its wall does.

    Args:
        body: To which they belong.
        vessel: Its shape.
        name: First part of the names of the geoms.
        mass: Of floor and wall; that of the vessel when None. [kg].
        sides: Number of boxes.
    """
    mass = vessel.mass if mass is None else mass
    share = mass / (sides + 4.0)  # the floor weighs as much as four sides
    middle = vessel.outer_radius((vessel.height + vessel.floor / 2.0) / 2.0) - vessel.wall / 2.0
    lean = np.arctan2(vessel.radius - vessel.bottom_radius, vessel.height)
    half_width = (vessel.outer_radius(vessel.height / 2.0) + 0.001) * np.tan(np.pi / sides)
    # The sides end above the bottom: else each of them would touch the table at four points.
    half_height = (vessel.height - vessel.floor / 2.0) / 2.0
    body.add_geom(
        name=f'{name}_floor',
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[vessel.bottom_radius, vessel.floor / 2.0, 0.0],
        pos=[0.0, 0.0, vessel.floor / 2.0],
        mass=4.0 * share,
        group=3,
        **CONTACT,
    )
    for side in range(sides):
        angle = 2.0 * np.pi * side / sides
        quaternion = np.zeros(4)
        mujoco.mju_mulQuat(
            quaternion,
            quaternion_about((0.0, 0.0, 1.0), angle),
            quaternion_about((0.0, 1.0, 0.0), lean),
        )
        body.add_geom(
            name=f'{name}_side_{side}',
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[vessel.wall / 2.0, half_width, half_height / np.cos(lean)],
            pos=[middle * np.cos(angle), middle * np.sin(angle), vessel.height - half_height],
            quat=quaternion.tolist(),
            mass=share,
            group=3,
            **CONTACT,
        )


def add_surface(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    profile: list[tuple[float, float]],
    color: Color,
) -> None:
    """Draw a surface of revolution about the body's z axis.

    Args:
        spec: To which the mesh is added.
        body: On which it is seen.
        name: Of mesh and geom.
        profile: (radius, height) from the axis outwards and upwards, faces to the left. [m].
        color: Of all of it.
    """
    vertices, faces = lathe(profile)
    spec.add_mesh(
        name=name,
        uservert=vertices.ravel().tolist(),
        userface=faces.ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    body.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, rgba=[*color, 1.0], **LOOKS
    )


def ring(radius: float, height: float) -> FloatArray:
    """Points on a circle about the z axis. Shape (32, 3). [m]."""
    angles = 2.0 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    return np.stack(
        [radius * np.cos(angles), radius * np.sin(angles), np.full(_SEGMENTS, height)], axis=1
    )


def lathe(profile: list[tuple[float, float]]) -> tuple[FloatArray, np.ndarray]:
    """Surface of revolution: vertices (n, 3) [m] and triangles (m, 3) facing outwards."""
    vertices = np.concatenate([ring(radius, height) for radius, height in profile])
    faces = []
    for lower in range(len(profile) - 1):
        for segment in range(_SEGMENTS):
            following = (segment + 1) % _SEGMENTS
            a, b = lower * _SEGMENTS + segment, lower * _SEGMENTS + following
            c, d = a + _SEGMENTS, b + _SEGMENTS
            if profile[lower][0] > 0.0:
                faces.append((a, b, d))
            if profile[lower + 1][0] > 0.0:
                faces.append((a, d, c))
    return vertices, np.array(faces)


def quaternion_about(axis: tuple[float, float, float], angle: float) -> list[float]:
    """MuJoCo's (w, x, y, z) of a turn about a unit axis by an angle [rad]."""
    half = np.sin(angle / 2.0) * np.asarray(axis)
    return [float(np.cos(angle / 2.0)), *half.tolist()]
