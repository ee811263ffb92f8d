# SPDX-License-Identifier: Apache-2.0
"""The grasps that are tried stay away from gimbal lock, whatever residual is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from deft_affordance.wrist_poses import (
    SIDE_GRASP,
    SIDE_GRASP_EULER,
    TOP_PINCH,
    TOP_PINCH_EULER,
    euler_near,
    turned,
)
from deft_core.rotations import LEAST_GIMBAL_MARGIN, gimbal_margin

# Table 4 of the paper: 0.2 rad; three of them hold 99.7 % of a Gaussian.
LARGEST_RESIDUAL = 3.0 * 0.2  # [rad]


@pytest.mark.parametrize(
    ('pose', 'reference'), [(SIDE_GRASP, SIDE_GRASP_EULER), (TOP_PINCH, TOP_PINCH_EULER)]
)
def test_sampled_wrist_angles_keep_the_margin(pose, reference):
    for turn in np.linspace(-np.pi, np.pi, 37):
        euler = euler_near(turned(pose, turn), reference)
        for step in (-LARGEST_RESIDUAL, LARGEST_RESIDUAL):
            moved = euler + np.array([0.0, step, 0.0])
            assert gimbal_margin(moved) >= LEAST_GIMBAL_MARGIN
