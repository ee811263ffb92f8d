# SPDX-License-Identifier: Apache-2.0
"""A hand-written grasp from the true pose of the cup.

For the simulated demonstration and for tests alone: a session never sees it.
"""

from __future__ import annotations

import numpy as np

from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_sim.environment import TableTopEnvironment

# Share of the cup's height at which the grasp centre goes, its offset along the palm normal, and
# how far beyond the axis of the cup it reaches; found by a random search over all cups.
_HEIGHT_SHARE = 0.60
_PALM_OFFSET = 0.007  # [m]
_REACH = 0.005  # [m]
_FINGER = (0.0, 0.25, 1.05, 0.98)  # [rad] side, forward, PIP, DIP
_THUMB = (0.0, 1.0, 0.90, 0.81)  # [rad]
_FINGERS_ALONG = (1.0, 0.05, -0.45)  # fingers forward and down
_PALM_TOWARDS = (0.0, 1.0, 0.0)  # palm to the left, hand on the right of the cup


def side_grasp(environment: TableTopEnvironment) -> GraspParameters:
    """A side grasp of the cup that stands on the table now, in the base frame."""
    cell = environment.cell
    z_axis = np.array(_FINGERS_ALONG) / np.linalg.norm(_FINGERS_ALONG)
    x_axis = np.array(_PALM_TOWARDS) - z_axis * (z_axis @ _PALM_TOWARDS)
    x_axis /= np.linalg.norm(x_axis)
    rotation = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)
    bottom = cell.object_position()
    height = environment.settings.objects.cups[cell.object_name].height
    centre = bottom + np.array([_REACH, 0.0, _HEIGHT_SHARE * height])
    return GraspParameters(
        position=centre + _PALM_OFFSET * x_axis,
        wrist_rotation=euler_from_matrix(rotation),
        joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
    )
