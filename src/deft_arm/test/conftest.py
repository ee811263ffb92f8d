# SPDX-License-Identifier: Apache-2.0
"""The xArm6 of the configuration folder, a planner, and grasps like those of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings

from deft_arm.configuration import ArmConfiguration, load_arm_configuration
from deft_arm.planning.plan import MotionPlan
from deft_arm.planning.planner import EpisodePlanner
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import WristTrajectory

# A busy machine must not fail a test.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
OPEN = np.zeros(16)
CLOSED = np.array([0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81])
V_APPROACH = np.array([1.0, 0.0, 1.0])


def wrist(z_axis, x_axis):
    """Flange rotation with the fingers along `z_axis` and the palm facing `x_axis`."""
    z = np.asarray(z_axis, dtype=float) / np.linalg.norm(z_axis)
    x = np.asarray(x_axis, dtype=float) - z * np.dot(x_axis, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


SIDE = wrist((1.0, 0.05, -0.5), (0.0, 1.0, 0.0))


def cup_grasp(x=0.55, y=0.0, height=0.07, noise=None):
    """Side grasp of a cup at (x, y); `noise` is added to position and Euler angles."""
    shift = np.zeros(6) if noise is None else noise
    position = np.array([x, y, height]) + 0.013 * SIDE[:, 0] + shift[:3]
    return GraspParameters(position, euler_from_matrix(SIDE) + shift[3:], CLOSED)


def lift(step=0.004, count=40, rate=10.0):
    translations = np.zeros((count, 3))
    translations[:, 2] = step
    return WristTrajectory(translations, np.zeros((count, 3)), rate, 'test')


@pytest.fixture(scope='session')
def cup() -> SimpleNamespace:
    """What a cup is grasped with."""
    return SimpleNamespace(
        grasp=cup_grasp, lift=lift, open=OPEN, closed=CLOSED, side=SIDE, approach=V_APPROACH
    )


@pytest.fixture(scope='session')
def configuration() -> ArmConfiguration:
    return load_arm_configuration('xarm6', CONFIGURATION)


@pytest.fixture(scope='session')
def planner(configuration: ArmConfiguration) -> EpisodePlanner:
    return EpisodePlanner(configuration)


@pytest.fixture
def plan(planner: EpisodePlanner) -> Callable[..., MotionPlan]:
    """Plan a cup grasp; every argument can be replaced."""

    def make(**changes) -> MotionPlan:
        values = {
            'grasp': cup_grasp(),
            'trajectory': lift(),
            'pregrasp_distance': 0.10,
            'pregrasp_direction': V_APPROACH,
            'current_joint_positions': planner.configuration.home,
            'open_hand': OPEN,
        }
        return planner.plan(**{**values, **changes})

    return make
