# SPDX-License-Identifier: Apache-2.0
"""The cups of Pick Cup and Pour Cup: how they are made, laid out, and best held."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deft_affordance.wrist_poses import wrist
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Vessel, add_hollow, add_vessel_looks
from deft_sim.tasks import CONTACT, OBJECT_BODY


@dataclass(frozen=True)
class Cup(Vessel):
    """A vessel that may have a handle, whose mass is part of its own."""

    handle: bool = False


CUPS = {
    # Train set.
    'red_mug': Cup(0.038, 0.095, 0.150, (0.80, 0.12, 0.10), (0.95, 0.93, 0.90), handle=True),
    'blue_tumbler': Cup(0.037, 0.110, 0.120, (0.10, 0.28, 0.72), (0.10, 0.28, 0.72)),
    'green_beaker': Cup(0.039, 0.098, 0.180, (0.10, 0.50, 0.24), (0.85, 0.90, 0.85)),
    'yellow_mug': Cup(0.039, 0.092, 0.200, (0.92, 0.72, 0.12), (0.35, 0.22, 0.10), handle=True),
    # Held out: other radii, heights, masses, colours, and a shape that tapers.
    'white_mug': Cup(0.041, 0.100, 0.230, (0.90, 0.90, 0.88), (0.15, 0.25, 0.55), handle=True),
    'purple_tall_cup': Cup(0.037, 0.120, 0.110, (0.45, 0.18, 0.60), (0.90, 0.80, 0.20)),
    'orange_paper_cup': Cup(
        0.041, 0.105, 0.060, (0.92, 0.42, 0.08), (0.97, 0.95, 0.90), base_radius=0.031
    ),
}

# Where a reset puts the cup.
LAYOUT_CENTRE = (0.55, 0.0)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.05, 0.05)  # [m]
_HANDLE_YAW = 2.2  # [rad] nominal direction of a handle about the vertical, from the base's x axis
_YAW_HALF_RANGE = 0.5  # [rad] about the nominal direction

_HANDLE_RADIUS = 0.006  # [m]
_HANDLE_REACH = 0.026  # [m] from the wall to the grip
_HANDLE_MASS_SHARE = 0.08

# The expert: share of the cup's height at which the grasp centre goes, its offset along the palm
# normal, and how far beyond the axis of the cup it reaches; by a random search over all cups at
# a friction of 0.6.
_HEIGHT_SHARE = 0.48
_PALM_OFFSET = 0.010  # [m]
_REACH = 0.010  # [m]
_FINGER = (0.0, 0.85, 1.30, 1.06)  # [rad] side, forward, PIP, DIP
_THUMB = (-0.08, 1.40, 0.785, 1.20)  # [rad]
_FINGERS_ALONG = (1.0, -0.277, -0.396)  # fingers forward and down
_PALM_TOWARDS = (-0.55, 1.0, 0.13)  # palm to the left, hand on the right of the cup


def add_cup(spec: mujoco.MjSpec, name: str, cup: Cup) -> None:
    """Add a free body of this name whose origin is the middle of the bottom."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    handle_mass = _HANDLE_MASS_SHARE * cup.mass if cup.handle else 0.0
    add_hollow(body, cup, name, mass=cup.mass - handle_mass)
    add_vessel_looks(spec, body, cup, name)
    if cup.handle:
        _add_handle(body, cup, name, handle_mass)


def drawn_pose(cup: Cup, generator: np.random.Generator) -> list[float]:
    """Upright, anywhere in the area, its handle on the far left; position and quaternion."""
    offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
    x, y = np.asarray(LAYOUT_CENTRE) + offset
    nominal = _HANDLE_YAW if cup.handle else 0.0
    yaw = nominal + _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
    return [x, y, 0.0, np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)]


def side_grasp(data: mujoco.MjData, cup: Cup) -> GraspParameters:
    """A good grasp of the cup `OBJECT_BODY` where it is now, base frame; for experts alone."""
    rotation = wrist(_FINGERS_ALONG, _PALM_TOWARDS)
    bottom = data.joint(OBJECT_BODY).qpos[:3]
    centre = bottom + np.array([_REACH, 0.0, _HEIGHT_SHARE * cup.height])
    return GraspParameters(
        position=centre + _PALM_OFFSET * rotation[:, 0],
        wrist_rotation=euler_from_matrix(rotation),
        joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
    )


def fingers_along() -> FloatArray:
    """Unit direction of the fingers in the side grasp, base frame. Shape (3,)."""
    return np.asarray(np.array(_FINGERS_ALONG) / np.linalg.norm(_FINGERS_ALONG))


def _add_handle(body: mujoco.MjsBody, cup: Cup, name: str, mass: float) -> None:
    low, high = 0.25 * cup.height, 0.80 * cup.height
    grip = cup.outer_radius(high) + _HANDLE_REACH
    ends = [
        (cup.outer_radius(high) - 0.002, high, grip, high),
        (grip, high, grip, low),
        (grip, low, cup.outer_radius(low) - 0.002, low),
    ]
    for index, (x_start, z_start, x_end, z_end) in enumerate(ends):
        body.add_geom(
            name=f'{name}_handle_{index}',
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[x_start, 0.0, z_start, x_end, 0.0, z_end],
            size=[_HANDLE_RADIUS, 0.0, 0.0],
            rgba=[*cup.color, 1.0],
            mass=mass / len(ends),
            group=2,
            **CONTACT,
        )
