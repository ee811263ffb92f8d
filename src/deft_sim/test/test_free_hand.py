# SPDX-License-Identifier: Apache-2.0
"""A hand that differs from its file, in the air."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_core.grasp import HAND_JOINT_NAMES
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.calibration.poses import random_poses
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.joint_map import closed_form_map
from deft_hand_driver.simulated_hand import HandMounting, MountingErrors
from deft_sim.free_hand import FreeHand
from deft_sim.world import World

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
FORWARD = MOTOR_NAMES.index('index_forward')


@pytest.fixture(scope='module')
def description():
    return load_hand_description('dash', CONFIGURATION)


def mounting(description, **changes):
    values = {
        'zeros': np.zeros(12), 'arm_factors': np.ones(16), 'frictions': np.zeros(16), **changes
    }  # fmt: skip
    return HandMounting(**values)


def test_draws_stay_within_their_errors_and_repeat(description):
    errors = MountingErrors(zero=0.2, moment_arm_share=0.05, friction=0.01)
    first, again = (
        HandMounting.draw(description, errors, np.random.default_rng(9)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.zeros, again.zeros)
    assert 0.1 < np.abs(first.zeros).max() <= 0.2
    assert np.abs(first.arm_factors - 1.0).max() <= 0.05
    assert first.frictions.min() >= 0.0
    assert first.frictions.max() <= 0.01


def test_moment_arms_and_friction_reach_the_model(settings, description):
    factors, frictions = np.linspace(0.9, 1.1, 16), np.linspace(0.0, 0.01, 16)
    name = next(iter(settings.objects.cups))
    nominal = World(settings, name).model
    model = World(
        settings, name, mounting=mounting(description, arm_factors=factors, frictions=frictions)
    ).model
    place = HAND_JOINT_NAMES.index('ring_dip')
    tendon = model.tendon('ring_curl').id
    last = model.tendon_adr[tendon] + 1
    assert model.wrap_prm[last] == pytest.approx(factors[place] * nominal.wrap_prm[last])
    joint = model.joint('ring_dip')
    assert model.dof_frictionloss[joint.dofadr[0]] == pytest.approx(frictions[place])


def test_a_spool_that_was_mounted_askew_moves_its_joint(settings, description):
    zeros = np.zeros(12)
    zeros[FORWARD] = 0.2
    closed = closed_form_map(description)
    wanted = np.zeros(16)
    wanted[1] = 0.8
    commands = closed.motors_from_joints(wanted)
    for hand, error in (
        (FreeHand(settings, description), 0.0),
        (FreeHand(settings, description, mounting(description, zeros=zeros)), -0.2 * 0.8),
    ):
        motors, joints = hand.settle(commands)
        assert motors[FORWARD] == pytest.approx(commands[FORWARD], abs=0.05)
        assert joints[1] == pytest.approx(0.8 + error, abs=0.04)
        hand.close()


def test_pairs_carry_the_noise_of_a_tracker_and_repeat(settings, description):
    closed = closed_form_map(description)
    poses = random_poses(description, np.random.default_rng(0), 3)
    found = []
    for _ in range(2):
        hand = FreeHand(settings, description)
        found.append(hand.take_pairs(poses, closed, np.random.default_rng(1)))
        hand.close()
    np.testing.assert_array_equal(found[0].joints, found[1].joints)
    np.testing.assert_array_equal(found[0].motors, found[1].motors)
    truth = np.array([closed.joints_from_motors(row) for row in found[0].motors])
    errors = found[0].joints - truth
    assert 0.01 < errors.std() < 0.04
