# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_description import models
from deft_hand_driver.description import MOTOR_NAMES, MOTOR_OF_JOINT, load_hand_description

SHARES = arrays(np.float64, 16, elements=st.floats(0.0, 1.0))


def coupled(joints, description):
    """PIP and DIP as the flexures of the free finger share them."""
    result = joints.copy()
    for index, finger in enumerate(('index', 'middle', 'ring', 'thumb')):
        pip, dip = description.fingers[finger].pip, description.fingers[finger].dip
        ratio = (dip.moment_arm / dip.stiffness) / (pip.moment_arm / pip.stiffness)
        highest = min(pip.upper, dip.upper / ratio)
        result[4 * index + 2] = min(joints[4 * index + 2], highest)
        result[4 * index + 3] = ratio * result[4 * index + 2]
    return result


@given(SHARES)
def test_joints_to_commands_and_back(tendon_map, description, shares):
    lower, upper = description.joint_limits()
    joints = coupled(lower + shares * (upper - lower), description)
    back = tendon_map.joints_from_commands(tendon_map.motors_from_joints(joints))
    np.testing.assert_allclose(back, joints, atol=1e-9)


@given(SHARES)
def test_commands_to_joints_and_back(tendon_map, shares):
    commands = tendon_map.lower + shares[:12] * (tendon_map.upper - tendon_map.lower)
    joints = tendon_map.joints_from_commands(commands)
    np.testing.assert_allclose(tendon_map.motors_from_joints(joints), commands, atol=1e-9)


def test_free_hand_couples_pip_and_dip(tendon_map):
    joints = np.zeros(16)
    joints[2:4] = 0.8, 0.6
    settled = tendon_map.joints_from_commands(tendon_map.motors_from_joints(joints))
    # (0.006 / 0.08) / (0.008 / 0.10): moment arms and stiffnesses of the file.
    assert settled[3] / settled[2] == pytest.approx(0.9375)
    # The tendon keeps its length: 8 mm/rad at the PIP, 6 mm/rad at the DIP.
    assert 8 * settled[2] + 6 * settled[3] == pytest.approx(8 * 0.8 + 6 * 0.6)


def test_a_joint_at_its_stop_passes_the_rest_on(tendon_map, description):
    _, upper = description.joint_limits()
    full = tendon_map.joints_from_commands(tendon_map.upper)
    np.testing.assert_allclose(full, upper, atol=1e-9)


def test_a_tendon_gives_way_so_that_a_spool_turns_further(tendon_map, description):
    joints = np.zeros(16)
    joints[1] = 0.5
    stiff = (
        description.fingers['index'].forward.moment_arm * 0.5 / description.tendons.spool_radius
    )
    spools = tendon_map.motors_from_joints(joints)
    assert spools[1] > stiff
    np.testing.assert_allclose(tendon_map.joints_from_motors(spools), joints, atol=1e-12)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_refuses_numbers_that_are_not_finite(tendon_map, value):
    joints = np.zeros(16)
    joints[3] = value
    with pytest.raises(InvalidInputError, match='finite'):
        tendon_map.motors_from_joints(joints)


def test_refuses_the_wrong_length(tendon_map):
    with pytest.raises(InvalidInputError, match=r'\(12,\)'):
        tendon_map.joints_from_commands(np.zeros(16))


def test_unknown_hand_names_the_known_ones(tmp_path):
    (tmp_path / 'hands').mkdir()
    (tmp_path / 'hands' / 'leap.yaml').write_text('{}')
    with pytest.raises(ConfigurationError, match=r"'dash'.*leap"):
        load_hand_description('dash', tmp_path)


def test_description_and_model_are_one_hand(description):
    """The planner and the simulator read the model, the driver reads the file."""
    model = models.robot_model()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    flange = data.site(models.FLANGE_SITE)
    offset = data.site(models.GRASP_CENTRE_SITE).xpos - flange.xpos
    np.testing.assert_allclose(flange.xmat.reshape(3, 3).T @ offset, description.grasp_centre)
    ids = [model.joint(name).id for name in HAND_JOINT_NAMES]
    lower, upper = description.joint_limits()
    np.testing.assert_allclose(model.jnt_range[ids], np.stack([lower, upper], axis=1))
    joints = [joint for f in description.fingers.values() for joint in f.joints()]
    stiffness = np.array([np.max(model.jnt_stiffness[i]) for i in ids])
    np.testing.assert_allclose(stiffness, [joint.stiffness for joint in joints])
    assert MOTOR_NAMES == models.MOTOR_NAMES
    # Tendons of the model are as long at some posture as the file says.
    posture = np.linspace(0.1, 0.3, 16)
    data.qpos[[model.jnt_qposadr[i] for i in ids]] = posture
    mujoco.mj_forward(model, data)
    lengths = np.array([data.tendon(name).length[0] for name in MOTOR_NAMES])
    for joint in (0, 1, 4, 5):
        pulled = description.moment_arms()[joint] * posture[joint]
        assert lengths[MOTOR_OF_JOINT[joint]] == pytest.approx(pulled, abs=1e-9)
    stiffness_of_servos = model.actuator_gainprm[6:, 0]
    np.testing.assert_allclose(stiffness_of_servos, description.tendons.servo_stiffness)
