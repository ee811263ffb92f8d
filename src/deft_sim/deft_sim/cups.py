# SPDX-License-Identifier: Apache-2.0
"""Cups as MuJoCo bodies: drawn hollow, touched as solids."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.validation import FloatArray
from deft_sim.configuration import CupVariant

OBJECT_BODY = 'object'
"""Name of the body that is picked up; its origin is the middle of the bottom."""

OBJECT_CONTACT = {
    'contype': 1,
    'conaffinity': 7,
    'condim': 4,
    'friction': [0.6, 0.003, 0.0001],
    'solref': [0.006, 1.0],
}
"""Objects touch everything; the skin of the hand overrides these values by its priority."""

_SEGMENTS = 32
_WALL = 0.003  # [m]
_HANDLE_RADIUS = 0.006  # [m]
_HANDLE_REACH = 0.026  # [m] from the wall to the grip
_HANDLE_MASS_SHARE = 0.08


def add_cup(spec: mujoco.MjSpec, variant: CupVariant) -> None:
    """Add a free body `object` at the origin of the world, standing upright.

    Args:
        spec: World that gets the body; it must not have an object yet.
        variant: Shape, mass and looks.
    """
    body = spec.worldbody.add_body(name=OBJECT_BODY)
    body.add_freejoint(name=OBJECT_BODY)
    handle_mass = _HANDLE_MASS_SHARE * variant.mass if variant.handle else 0.0
    _add_solid(spec, body, variant, variant.mass - handle_mass)
    _add_looks(spec, body, variant)
    if variant.handle:
        _add_handle(body, variant, handle_mass)


def _add_solid(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, variant: CupVariant, mass: float
) -> None:
    half_height = variant.height / 2.0
    if variant.radius == variant.base_radius:
        body.add_geom(
            name='object_solid',
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[variant.radius, half_height, 0.0],
            pos=[0.0, 0.0, half_height],
            mass=mass,
            group=3,
            **OBJECT_CONTACT,
        )
        return
    rings = [_ring(variant.base_radius, 0.0), _ring(variant.radius, variant.height)]
    spec.add_mesh(name='object_solid', uservert=np.concatenate(rings).ravel().tolist())
    body.add_geom(
        name='object_solid',
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname='object_solid',
        mass=mass,
        group=3,
        **OBJECT_CONTACT,
    )


def _add_looks(spec: mujoco.MjSpec, body: mujoco.MjsBody, variant: CupVariant) -> None:
    top, bottom, height = variant.radius, variant.base_radius, variant.height
    wall = [(0.0, 0.0005), (bottom, 0.0005), (top, height - 0.001), (top - _WALL, height - 0.001)]
    wall += [(bottom - _WALL, _WALL), (0.0, _WALL)]
    band = 0.006
    outer, inner = top + 0.0006, top - _WALL - 0.0006
    rim = [(outer, height - band), (outer, height), (inner, height), (inner, height - band)]
    parts = (('wall', wall, variant.color), ('rim', rim, variant.rim_color))
    for name, profile, color in parts:
        vertices, faces = _lathe(profile)
        spec.add_mesh(
            name=f'object_{name}',
            uservert=vertices.ravel().tolist(),
            userface=faces.ravel().tolist(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        )
        body.add_geom(
            name=f'object_{name}',
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f'object_{name}',
            rgba=[*color, 1.0],
            mass=0.0,
            group=2,
            contype=0,
            conaffinity=0,
        )


def _add_handle(body: mujoco.MjsBody, variant: CupVariant, mass: float) -> None:
    low, high = 0.25 * variant.height, 0.80 * variant.height

    def wall_at(z: float) -> float:
        share = z / variant.height
        return variant.base_radius + share * (variant.radius - variant.base_radius)

    grip = wall_at(high) + _HANDLE_REACH
    ends = [
        (wall_at(high) - 0.002, high, grip, high),
        (grip, high, grip, low),
        (grip, low, wall_at(low) - 0.002, low),
    ]
    for index, (x_start, z_start, x_end, z_end) in enumerate(ends):
        body.add_geom(
            name=f'object_handle_{index}',
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[x_start, 0.0, z_start, x_end, 0.0, z_end],
            size=[_HANDLE_RADIUS, 0.0, 0.0],
            rgba=[*variant.color, 1.0],
            mass=mass / len(ends),
            group=2,
            **OBJECT_CONTACT,
        )


def _ring(radius: float, height: float) -> FloatArray:
    angles = 2.0 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    return np.stack(
        [radius * np.cos(angles), radius * np.sin(angles), np.full(_SEGMENTS, height)], axis=1
    )


def _lathe(profile: list[tuple[float, float]]) -> tuple[FloatArray, np.ndarray]:
    """Surface of revolution: vertices (n, 3) [m] and triangles (m, 3) facing outwards.

    Args:
        profile: Radius and height of every ring, ordered so that the outside lies to the right.
    """
    vertices = np.concatenate([_ring(radius, height) for radius, height in profile])
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
