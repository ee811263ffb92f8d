# SPDX-License-Identifier: Apache-2.0
"""The files of config/hands, and what is refused in them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import yaml

from deft_core.configuration import build
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_hand_driver.description import (
    MOTOR_NAMES,
    HandDescription,
    load_hand_description,
)
from deft_hand_driver.joint_map import DirectMap, TendonMap, closed_form_map
from dynamixel_simulator.motor_models import motor_model

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
HANDS = sorted(path.stem for path in (CONFIGURATION / 'hands').glob('*.yaml'))


@pytest.fixture(params=HANDS)
def hand(request):
    return load_hand_description(request.param, CONFIGURATION)


@pytest.fixture
def document():
    return yaml.safe_load((CONFIGURATION / 'hands' / 'dash.yaml').read_text())


def test_both_hands_are_described():
    assert HANDS == ['dash', 'leap']


def test_dash_has_twelve_tendon_motors_and_leap_one_on_every_joint():
    dash, leap = (load_hand_description(name, CONFIGURATION) for name in HANDS)
    assert dash.motor_names == MOTOR_NAMES
    assert isinstance(closed_form_map(dash), TendonMap)
    assert leap.motor_names == HAND_JOINT_NAMES
    assert isinstance(closed_form_map(leap), DirectMap)
    assert [motor.id for motor in leap.ordered_motors()] == list(range(16))


def test_travel_of_the_joints_is_inside_what_may_be_commanded(hand):
    lower, upper = hand.motor_limits()
    joint_map = closed_form_map(hand)
    assert np.all(lower <= joint_map.lower)
    assert np.all(joint_map.upper <= upper)


def test_servos_turn_less_than_half_a_turn_from_their_middle(hand):
    """A servo that was off counts within one turn; more travel would be ambiguous."""
    for motor in hand.ordered_motors():
        for position in (motor.lower, motor.upper):
            assert abs(motor.zero + motor.sign * motor.gear * position) < np.pi


def test_limits_leave_room_to_those_of_the_servo(hand):
    for motor in hand.ordered_motors():
        table = motor_model(motor.model).control_table(52)
        assert hand.bus.temperature_limit < table['temperature_limit'].default
        assert table['min_voltage_limit'].default * 0.1 <= hand.bus.lowest_voltage
        assert (
            motor.current_limit
            <= table['current_limit'].default * motor_model(motor.model).current_scale
        )


def test_poses_are_inside_the_travel(hand):
    lower, upper = hand.joint_limits()
    assert {'open', 'half_closed'} <= set(hand.poses)
    for name in hand.poses:
        assert np.all(lower <= hand.pose(name))
        assert np.all(hand.pose(name) <= upper)


def test_direct_map_is_the_identity_within_the_travel():
    leap = DirectMap(load_hand_description('leap', CONFIGURATION))
    joints = np.linspace(-0.3, 0.4, 16)
    inside = np.clip(joints, leap.lower, leap.upper)
    np.testing.assert_array_equal(leap.motors_from_joints(joints), joints)
    np.testing.assert_array_equal(leap.joints_from_motors(joints), inside)
    np.testing.assert_array_equal(leap.joints_from_commands(joints), inside)
    with pytest.raises(InvalidInputError, match='finite'):
        leap.joints_from_motors(np.full(16, np.nan))


def test_an_unknown_pose_names_the_known_one(hand):
    with pytest.raises(InvalidInputError, match='half_closed'):
        hand.pose('half_close')


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (('motors', 'index_curl', 'id'), 1, r'\[1\] are given twice'),
        (('motors', 'index_curl', 'id'), 253, '0 to 252'),
        (('motors', 'index_curl', 'model'), 'XC330', 'XC330-T288.*got .XC330'),
        (('motors', 'index_curl', 'sign'), 0, '1 or -1'),
        (('motors', 'index_curl', 'lower'), 3.0, 'lower < upper'),
        (('motors', 'index_curl', 'current_limit'), 0.9, 'stall current'),
        (('motors', 'index_curl', 'hold_current'), 0.5, 'hold_current <= current_limit'),
        (('bus', 'baud_rate'), 1_000_001, '1000000'),
        (('bus', 'temperature_warning'), 66.0, 'below temperature_limit'),
        (('transmission',), 'gears', 'tendon or direct'),
        (('transmission',), 'direct', 'has an entry tendons'),
        (
            ('fingers', 'index', 'pip', 'moment_arm'),
            None,
            "index_pip needs the entry 'moment_arm'",
        ),
        (('poses', 'open'), [0.0] * 15, r'pose open must have shape \(16,\)'),
    ],
)
def test_a_hand_that_does_not_fit_together_is_refused(document, path, value, message):
    changed = copy.deepcopy(document)
    entry = changed
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(ConfigurationError, match=message):
        closed_form_map(build(HandDescription, changed, 'hand'))


def test_missing_and_unknown_motors_are_named(document):
    document['motors']['pinky_curl'] = document['motors'].pop('ring_curl')
    with pytest.raises(ConfigurationError, match=r'pinky_curl.*ring_curl'):
        build(HandDescription, document, 'hand')
