# SPDX-License-Identifier: Apache-2.0
"""The learned map: fitted to pairs of a hand that differs from its file, stored, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError, TrainingError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_hand_driver.calibration.fitting import find_live_range, fit_map
from deft_hand_driver.calibration.learned_map import CLOSED_FORM, choose_map, load_map, save_map
from deft_hand_driver.calibration.pairs import PairsFile, TendonPairs, load_pairs
from deft_hand_driver.calibration.poses import calibration_poses, random_poses
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.joint_map import TendonMap, closed_form_map
from deft_hand_driver.simulated_hand import HandMounting, MountingErrors

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
NOISE = 0.01  # [rad] of the observations
SHARES = arrays(np.float64, 16, elements=st.floats(0.0, 1.0))


class MountedHand:
    """Where the joints of a hand are whose spools and moment arms differ from its file."""

    def __init__(self, description, mounting):
        self.mounting = mounting
        factors = iter(mounting.arm_factors.tolist())
        fingers = {}
        for name, finger in description.fingers.items():
            joints = {}
            for key in ('side', 'forward', 'pip', 'dip'):
                joint = getattr(finger, key)
                joints[key] = replace(joint, moment_arm=next(factors) * joint.moment_arm)
            fingers[name] = replace(finger, **joints)
        self.truth = TendonMap(replace(description, fingers=fingers))

    def joints(self, motors):
        return self.truth.joints_from_motors(motors - self.mounting.zeros)


@pytest.fixture(scope='module')
def mounted(description):
    errors = MountingErrors(zero=0.15, moment_arm_share=0.15, friction=0.0)
    mounting = HandMounting.draw(description, errors, np.random.default_rng(4))
    return MountedHand(description, mounting)


@pytest.fixture(scope='module')
def pairs(description, mounted):
    rng = np.random.default_rng(5)
    closed = closed_form_map(description)
    poses = calibration_poses(description, rng, 6, 60)
    commands = np.array([closed.motors_from_joints(pose.joints) for pose in poses])
    joints = np.array([mounted.joints(row) for row in commands])
    return TendonPairs(
        source='test',
        date='2026-11-21',
        sweeps=np.array([pose.sweep for pose in poses]),
        commands=commands,
        motors=commands,
        joints=joints + NOISE * rng.standard_normal(joints.shape),
    )


@pytest.fixture(scope='module')
def fitted(pairs, description):
    return fit_map(pairs, description)


@pytest.fixture(scope='module')
def learned(fitted):
    return fitted.learned


@pytest.fixture
def map_file(tmp_path, fitted):
    save_map(fitted.record, tmp_path / 'maps' / 'map.json')
    return tmp_path / 'maps' / 'map.json'


def test_it_knows_the_joints_better_than_the_closed_form(description, mounted, fitted):
    closed = closed_form_map(description)
    learned_errors, closed_errors = [], []
    for pose in random_poses(description, np.random.default_rng(99), 40):
        motors = closed.motors_from_joints(pose.joints)
        truth = mounted.joints(motors)
        learned_errors.append(fitted.learned.joints_from_motors(motors) - truth)
        closed_errors.append(closed.joints_from_motors(motors) - truth)
    rmse = np.sqrt(np.mean(np.square(learned_errors)))
    assert rmse < 0.015
    assert np.sqrt(np.mean(np.square(closed_errors))) > 4.0 * rmse
    assert fitted.record.joint_rmse == pytest.approx(NOISE, rel=0.6)
    assert fitted.record.closed_form_joint_rmse > 3.0 * fitted.record.joint_rmse
    assert set(fitted.record.joint_rmse_by_joint) == set(HAND_JOINT_NAMES)


def test_the_hand_comes_to_where_it_is_wanted(description, mounted, learned):
    for pose in random_poses(description, np.random.default_rng(7), 30):
        # A posture that the tendons of this hand can hold.
        wanted = learned.joints_from_commands(learned.motors_from_joints(pose.joints))
        commands = learned.motors_from_joints(wanted)
        np.testing.assert_allclose(learned.joints_from_commands(commands), wanted, atol=2e-3)
        np.testing.assert_allclose(mounted.joints(commands), wanted, atol=0.06)


@given(SHARES)
def test_commands_stay_within_range_and_joints_within_travel(description, learned, shares):
    lower, upper = description.joint_limits()
    motor_lower, motor_upper = description.motor_limits()
    motors = learned.motors_from_joints(lower + shares * (upper - lower))
    assert np.all(motors >= np.maximum(learned.lower, motor_lower))
    assert np.all(motors <= np.minimum(learned.upper, motor_upper))
    joints = learned.joints_from_motors(10.0 * (shares[:12] - 0.5))
    assert np.all(joints >= lower)
    assert np.all(joints <= upper)


@given(SHARES, st.integers(0, 15), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_motor_never_runs_back_when_its_joint_is_wanted_further(
    description, learned, shares, joint, first, second
):
    lower, upper = description.joint_limits()
    near, far = shares.copy(), shares.copy()
    near[joint], far[joint] = sorted((first, second))
    change = learned.motors_from_joints(lower + far * (upper - lower)) - (
        learned.motors_from_joints(lower + near * (upper - lower))
    )
    own = 3 * (joint // 4) + (0, 1, 2, 2)[joint % 4]
    # No jump: the command moves at most as the flattest fit allows.
    assert change[own] >= -1e-9
    assert change[own] <= (far[joint] - near[joint]) * (upper - lower)[joint] / 0.02 + 1e-6


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_refuses_numbers_that_are_not_finite(learned, value):
    for method, count in (
        (learned.motors_from_joints, 16), (learned.joints_from_motors, 12),
        (learned.joints_from_commands, 12),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match='finite'):
            method([value] * count)


def test_a_direct_hand_learns_too():
    leap = load_hand_description('leap', CONFIGURATION)
    poses = calibration_poses(leap, np.random.default_rng(0), 4, 40)
    commands = np.array([pose.joints for pose in poses])
    sweeps = np.array([pose.sweep for pose in poses])
    joints = np.clip(1.04 * commands - 0.02, *leap.joint_limits())
    learned = fit_map(
        TendonPairs('test', '2026-11-21', sweeps, commands, commands, joints), leap
    ).learned
    np.testing.assert_allclose(learned.joints_from_motors(np.full(16, 0.5)), 0.5, atol=0.02)
    np.testing.assert_allclose(learned.motors_from_joints(np.full(16, 0.5)), 0.5, atol=0.03)


def test_slack_stops_and_outliers_are_found():
    rng = np.random.default_rng(1)
    motors = np.linspace(0.0, 3.0, 120)
    chosen = np.clip(0.6 * (motors - 0.4), 0.0, 1.2) + 0.01 * rng.standard_normal(120)
    chosen[50] += 0.8
    lower, upper, outliers = find_live_range(motors, chosen)
    assert lower == pytest.approx(0.4, abs=0.05)
    assert upper == pytest.approx(2.4, abs=0.05)
    assert np.flatnonzero(outliers).tolist() == [50]


def test_a_bent_curve_is_not_cut_off():
    motors = np.linspace(-1.0, 1.0, 80)
    assert find_live_range(motors, motors + 0.2 * motors**2)[:2] == (-1.0, 1.0)


def test_pairs_without_a_map_in_them_are_refused(pairs, description):
    with pytest.raises(TrainingError, match='at least 40 pairs from 5 sweeps, got 10 from'):
        fit_map(pairs.select(np.arange(10)), description)
    upside_down = replace(pairs, joints=pairs.joints.max(axis=0) - pairs.joints)
    with pytest.raises(TrainingError, match='named right'):
        fit_map(upside_down, description)


def test_a_map_survives_its_file(map_file, fitted, description, learned):
    loaded, record = load_map(map_file, description)
    joints, motors = np.full(16, 0.3), np.full(12, 0.2)
    for method, values in (('motors_from_joints', joints), ('joints_from_motors', motors)):
        np.testing.assert_array_equal(
            getattr(loaded, method)(values), getattr(learned, method)(values)
        )
    assert record == fitted.record
    assert choose_map(str(map_file), description)[1] == record.summary
    assert choose_map('', description)[1] == CLOSED_FORM


WRONG = {
    'schema': (lambda v: v.update(schema='other/1'), 'other/1'),
    'hand': (lambda v: v.pop('hand'), "'hand' is missing"),
    'too few numbers': (lambda v: v['from_commands'].update(slopes=[1.0]), r'shape \(16,\)'),
    'not finite': (
        lambda v: v['from_motors'].update(intercepts=[float('nan')] * 16), 'finite'
    ),
    'not monotone': (lambda v: v['from_commands'].update(slopes=[-1.0] * 16), 'not monotone'),
    'no range': (
        lambda v: v['from_commands'].update(lower=v['from_commands']['upper']), 'no range'
    ),
    'text for a number': (lambda v: v.update(pairs='many'), 'pairs must be int'),
}  # fmt: skip


@pytest.mark.parametrize(('edit', 'message'), WRONG.values(), ids=WRONG)
def test_a_broken_map_is_refused(map_file, description, edit, message):
    values = json.loads(map_file.read_text())
    edit(values)
    map_file.write_text(json.dumps(values))
    with pytest.raises(ConfigurationError, match=message):
        load_map(map_file, description)


def test_a_map_of_another_hand_is_refused(map_file, description):
    leap = load_hand_description('leap', CONFIGURATION)
    with pytest.raises(ConfigurationError, match=r"hand 'dash', not to 'leap'.*calibrate map"):
        load_map(map_file, leap)
    with pytest.raises(ConfigurationError, match='Cannot read'):
        choose_map(str(map_file.with_name('none.json')), description)


def test_a_map_from_before_a_change_is_refused(map_file, description):
    motors = dict(description.motors)
    motors['ring_curl'] = replace(motors['ring_curl'], zero=0.2)
    changed = replace(description, motors=motors)
    with pytest.raises(
        ConfigurationError, match=r'motors.ring_curl.zero is 0.0 there and 0.2 here.*hand_map'
    ):
        load_map(map_file, changed)
    # What does not change where the joints are may change.
    motors['ring_curl'] = replace(description.motors['ring_curl'], hold_current=0.1, upper=2.8)
    load_map(map_file, replace(description, motors=motors))


def write_pairs(path, description, pairs, count):
    file = PairsFile(path, description, pairs.source)
    for row in range(count):
        file.append(
            int(pairs.sweeps[row]), pairs.commands[row], pairs.motors[row], pairs.joints[row]
        )


def test_pairs_survive_their_file(tmp_path, description, pairs):
    path = tmp_path / 'run' / 'pairs.json'
    write_pairs(path, description, pairs, len(pairs))
    loaded = load_pairs(path, description)
    for name in ('sweeps', 'commands', 'motors', 'joints'):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(pairs, name))
    with pytest.raises(RecordingError, match='exists'):
        write_pairs(path, description, pairs, 1)
    with pytest.raises(ConfigurationError, match='belongs to hand'):
        load_pairs(path, load_hand_description('leap', CONFIGURATION))


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda v: v.update(schema='x'), "holds 'x'"),
        (lambda v: v['motors'][1].__setitem__(0, 'a'), 'must be float'),
        (lambda v: v['motors'][1].append(1.0), 'motors must be numbers of shape'),
        (lambda v: v['joints'].pop(), 'joints must have shape'),
        (lambda v: v['joint_names'].reverse(), 'names must be'),
        (lambda v: v.update(sweeps=[], commands=[], motors=[], joints=[]), 'holds no pair'),
    ],
)
def test_broken_pairs_are_refused(tmp_path, description, pairs, edit, message):
    path = tmp_path / 'pairs.json'
    write_pairs(path, description, pairs, 3)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigurationError, match=message):
        load_pairs(path, description)


def test_poses_cover_the_travel_and_keep_the_fingers_apart(description):
    poses = calibration_poses(description, np.random.default_rng(0))
    joints = np.array([pose.joints for pose in poses])
    lower, upper = description.joint_limits()
    np.testing.assert_allclose(joints.min(axis=0), lower, atol=1e-12)
    np.testing.assert_allclose(joints.max(axis=0), upper, atol=1e-12)
    bends = [place for place, name in enumerate(HAND_JOINT_NAMES) if 'side' not in name]
    moved = np.abs(joints[:, bends]) > 1e-9
    assert not np.any(moved[:, :9].any(axis=1) & moved[:, 9:].any(axis=1))
    again = calibration_poses(description, np.random.default_rng(0))
    np.testing.assert_array_equal(joints, [pose.joints for pose in again])
    with pytest.raises(InvalidInputError, match='at least 2 levels'):
        calibration_poses(description, np.random.default_rng(0), 1)
