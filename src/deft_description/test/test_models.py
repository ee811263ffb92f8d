# SPDX-License-Identifier: Apache-2.0
"""The robot model against the published arm and the design of the hand."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from deft_description import models

FINGERS = ('index', 'middle', 'ring', 'thumb')
HAND_JOINTS = [
    f'{finger}_{joint}' for finger in FINGERS for joint in ('side', 'forward', 'pip', 'dip')
]


@pytest.fixture(scope='module')
def model() -> mujoco.MjModel:
    return models.robot_model()


def flange(model: mujoco.MjModel, arm_positions: tuple[float, ...]) -> Any:
    """The flange site, with position and rotation, at the given joint positions."""
    data = mujoco.MjData(model)
    data.qpos[: len(arm_positions)] = arm_positions
    mujoco.mj_kinematics(model, data)
    return data.site(models.FLANGE_SITE)


def test_zero_pose_is_the_published_one(model: mujoco.MjModel) -> None:
    site = flange(model, (0.0,) * 6)
    np.testing.assert_allclose(site.xpos, (0.207, 0.0, 0.112), atol=1e-6)
    np.testing.assert_allclose(site.xmat.reshape(3, 3), np.diag([1.0, -1.0, -1.0]), atol=1e-6)


def test_hold_up_pose_is_the_published_one(model: mujoco.MjModel) -> None:
    site = flange(model, (0.0, 0.0, 0.0, 0.0, -np.pi / 2, 0.0))
    np.testing.assert_allclose(site.xpos, (0.228, 0.0, 0.285), atol=1e-6)


def test_forward_kinematics_equals_the_published_dh_table(model: mujoco.MjModel) -> None:
    """Standard DH rows of the vendor (d, alpha, a, offset), rounded there to 2 um."""
    table = (
        (0.267, -np.pi / 2, 0.0, 0.0),
        (0.0, 0.0, 0.28948866, -1.3849179),
        (0.0, -np.pi / 2, 0.0775, 1.3849179),
        (0.3425, np.pi / 2, 0.0, 0.0),
        (0.0, -np.pi / 2, 0.076, 0.0),
        (0.097, 0.0, 0.0, 0.0),
    )
    generator = np.random.default_rng(0)
    for _ in range(20):
        positions = generator.uniform(model.jnt_range[:6, 0], model.jnt_range[:6, 1])
        T_base_flange = np.eye(4)
        for angle, (d, alpha, a, offset) in zip(positions, table, strict=True):
            cos, sin = np.cos(angle + offset), np.sin(angle + offset)
            cos_alpha, sin_alpha = np.cos(alpha), np.sin(alpha)
            T_base_flange = T_base_flange @ np.array(
                [
                    [cos, -sin * cos_alpha, sin * sin_alpha, a * cos],
                    [sin, cos * cos_alpha, -cos * sin_alpha, a * sin],
                    [0.0, sin_alpha, cos_alpha, d],
                    [0.0, 0.0, 0.0, 1.0],
                ]
            )
        site = flange(model, tuple(positions))
        np.testing.assert_allclose(site.xpos, T_base_flange[:3, 3], atol=5e-6)
        np.testing.assert_allclose(site.xmat.reshape(3, 3), T_base_flange[:3, :3], atol=1e-6)


def test_joints_come_in_the_documented_order(model: mujoco.MjModel) -> None:
    names = [model.joint(index).name for index in range(model.njnt)]
    assert names == [*models.ARM_JOINT_NAMES, *HAND_JOINTS]


def test_arm_limits_are_the_published_ones(model: mujoco.MjModel) -> None:
    np.testing.assert_allclose(
        model.jnt_range[:6],
        [
            (-2 * np.pi, 2 * np.pi),
            (-2.059, 2.0944),
            (-3.927, 0.19198),
            (-2 * np.pi, 2 * np.pi),
            (-1.69297, np.pi),
            (-2 * np.pi, 2 * np.pi),
        ],
        atol=2e-5,
    )


def test_actuators_are_six_servos_and_twelve_motors(model: mujoco.MjModel) -> None:
    names = [model.actuator(index).name for index in range(model.nu)]
    assert names == [*models.ARM_JOINT_NAMES, *models.MOTOR_NAMES]
    assert len(models.MOTOR_NAMES) == 12


def test_grasp_centre_is_fixed_in_the_flange_frame(model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    data.qpos[:] = np.random.default_rng(1).uniform(model.jnt_range[:, 0], model.jnt_range[:, 1])
    mujoco.mj_kinematics(model, data)
    site = data.site(models.FLANGE_SITE)
    offset = data.site(models.GRASP_CENTRE_SITE).xpos - site.xpos
    np.testing.assert_allclose(
        site.xmat.reshape(3, 3).T @ offset, (0.050, 0.004, 0.185), atol=1e-9
    )


@pytest.mark.parametrize('finger', FINGERS)
def test_one_curl_tendon_bends_pip_and_dip_in_the_ratio_of_the_springs(
    model: mujoco.MjModel, finger: str
) -> None:
    """In free space dip / pip = (r_dip / k_dip) / (r_pip / k_pip) = 0.9375 at rest."""
    data = mujoco.MjData(model)
    excursion = 0.008
    for name in models.ARM_JOINT_NAMES:
        data.actuator(name).ctrl = 0.0
    data.actuator(f'{finger}_curl').ctrl = excursion
    mujoco.mj_step(model, data, nstep=1500)
    pip = data.joint(f'{finger}_pip').qpos.item()
    dip = data.joint(f'{finger}_dip').qpos.item()
    assert pip > 0.4
    assert dip / pip == pytest.approx(0.9375, rel=0.02)
    assert data.joint(f'{finger}_forward').qpos.item() == pytest.approx(0.0, abs=0.05)


def test_the_curl_tendon_cannot_push(model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    data.actuator('index_curl').ctrl = -0.01
    mujoco.mj_step(model, data, nstep=200)
    assert data.actuator('index_curl').force.item() == 0.0


def test_every_moving_part_is_weightless_for_the_servos(model: mujoco.MjModel) -> None:
    """The controller of the real arm compensates gravity; the model must not sag either."""
    np.testing.assert_array_equal(model.body_gravcomp[1:], 1.0)
