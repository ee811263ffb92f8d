# SPDX-License-Identifier: Apache-2.0
"""The constants of fine-tuning in the paper (appendix E, Table 4)."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_cem.optimisers.ask_tell import FloatArray

DEFAULT_ELITES: Final = 10  # E
DEFAULT_WARM_UP: Final = 10  # M
DEFAULT_EPISODES: Final = 30  # N
SIGMA_POSITION: Final = 0.02  # m
SIGMA_ROTATION: Final = 0.2  # rad, Euler angles
SIGMA_JOINT: Final = 0.05  # rad


def initial_standard_deviation(
    sigma_position: float = SIGMA_POSITION,
    sigma_rotation: float = SIGMA_ROTATION,
    sigma_joint: float = SIGMA_JOINT,
) -> FloatArray:
    """Standard deviation of the first distribution over the 22 grasp parameters.

    Args:
        sigma_position: Spread of each grasp-centre coordinate. [m]
        sigma_rotation: Spread of each wrist Euler angle. [rad]
        sigma_joint: Spread of each of the 16 hand joints. [rad]

    Returns:
        Shape (22,). In the order of `GraspParameters.to_vector`. [m x3, rad x3, rad x16]
    """
    return np.concatenate(
        [np.full(3, sigma_position), np.full(3, sigma_rotation), np.full(16, sigma_joint)]
    )
