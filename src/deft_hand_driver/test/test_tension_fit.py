# SPDX-License-Identifier: Apache-2.0
"""Where a tendon is taut and where it ends, from currents both ways; and the file of that."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_core.errors import ConfigurationError, DeviceError
from deft_hand_driver.calibration.tension import TensionFit, Track, fit_tension, measured_motor
from deft_hand_driver.description import MeasuredMotor, load_hand_description, save_measurements

FRICTION = 0.03  # [A]
CURL, FORWARD, SIDE = 'index_curl', 'index_forward', 'index_side'
FIT = TensionFit(0.2, None, 2.5, -0.4, 2.6, 0.03, 0.05, False)
MEASURED = MeasuredMotor(3, 1, 1.0, 0.21, -0.1, 2.4)


def tracks(pull, positions, rng):
    """What a motor with friction measures against a pull, both ways."""
    noise = 0.002 * rng.standard_normal((2, len(positions)))
    up = Track(positions, pull + FRICTION + noise[0])
    down = Track(positions[::-1], (pull - FRICTION + noise[1])[::-1])
    return up, down


@settings(max_examples=8)
@given(st.floats(-1.0, 1.0), st.floats(0.03, 0.12), st.floats(1.0, 2.5), st.integers(0, 999))
def test_a_tendon_that_pulls_shows_where_it_is_taut_and_where_it_ends(taut, slope, travel, seed):
    end = taut + travel
    positions = np.linspace(taut - 0.5, end + 0.1, 300)
    pull = slope * np.maximum(0.0, positions - taut) + 0.7 * np.maximum(0.0, positions - end)
    found = fit_tension(
        CURL, *tracks(pull, positions, np.random.default_rng(seed)), both_ways=False
    )
    assert found.taut == pytest.approx(taut, abs=0.06)
    assert found.upper_end == pytest.approx(end, abs=0.04)
    assert found.lower_end is None
    assert found.friction == pytest.approx(FRICTION, abs=0.003)


@settings(max_examples=8)
@given(st.floats(-1.0, 1.0), st.floats(0.04, 0.12), st.floats(0.4, 2.0), st.integers(0, 999))
def test_a_tendon_both_ways_shows_its_zero_and_both_ends(zero, slope, travel, seed):
    low, high = zero - 0.4, zero + travel
    positions = np.linspace(low - 0.1, high + 0.1, 300)
    pull = slope * (positions - zero)
    pull += 0.7 * (np.maximum(0.0, positions - high) - np.maximum(0.0, low - positions))
    found = fit_tension(
        SIDE, *tracks(pull, positions, np.random.default_rng(seed)), both_ways=True
    )
    assert found.taut == pytest.approx(zero, abs=0.04)
    assert found.lower_end == pytest.approx(low, abs=0.04)
    assert found.upper_end == pytest.approx(high, abs=0.04)


def test_an_end_that_was_not_met_is_not_made_up():
    positions = np.linspace(-0.5, 1.0, 200)
    pull = 0.08 * np.maximum(0.0, positions)
    found = fit_tension(CURL, *tracks(pull, positions, np.random.default_rng(0)), both_ways=False)
    assert found.upper_end is None
    assert found.highest == 1.0


def test_a_push_that_ends_is_not_taken_for_the_pull():
    positions = np.linspace(-1.5, 2.2, 400)
    pull = np.maximum(-0.034, 0.08 * (positions - 0.1))
    pull += 0.7 * np.maximum(0.0, positions - 2.1)
    found = fit_tension(
        FORWARD, *tracks(pull, positions, np.random.default_rng(0)), both_ways=True
    )
    assert found.taut == pytest.approx(0.1, abs=0.03)
    assert found.lowest == pytest.approx(0.1 - 0.034 / 0.08, abs=0.12)
    assert found.both_ways


def test_a_tendon_that_is_slack_below_its_zero_pulls_one_way():
    positions = np.linspace(-1.0, 2.0, 400)
    pull = 0.08 * np.maximum(0.0, positions - 0.1)
    found = fit_tension(
        FORWARD, *tracks(pull, positions, np.random.default_rng(0)), both_ways=True
    )
    assert found.taut == pytest.approx(0.1, abs=0.05)
    assert not found.both_ways


@pytest.mark.parametrize(
    ('pull', 'both_ways', 'message'),
    [
        (lambda x: 0.0 * x, False, 'does not rise while the tendon is wound up'),
        (lambda x: -0.1 * x, False, 'sign of the motor right'),
        (lambda x: 0.1 * (x + 1.0), False, 'was not slack at'),
        (lambda x: 0.1 * (x + 1.5), True, 'does not change its direction'),
    ],
)
def test_tracks_without_an_answer_are_refused(pull, both_ways, message):
    positions = np.linspace(-0.5, 1.0, 200)
    measured = tracks(pull(positions), positions, np.random.default_rng(0))
    with pytest.raises(DeviceError, match=message):
        fit_tension(CURL, *measured, both_ways=both_ways)


def test_a_motor_that_cannot_turn_is_told():
    short = Track(np.array([0.0, 0.01]), np.array([0.1, 0.1]))
    with pytest.raises(DeviceError, match='something that blocks it'):
        fit_tension(CURL, short, short, both_ways=False)


def test_limits_follow_from_what_was_measured(description):
    motor = replace(description.motors[CURL], zero=0.1, sign=-1)
    assert measured_motor(motor, FIT) == MeasuredMotor(3, -1, 1.0, -0.1, -0.1, 2.4)
    both = replace(FIT, lower_end=-0.3, upper_end=None)
    assert measured_motor(motor, both) == MeasuredMotor(3, -1, 1.0, -0.1, -0.6, 2.4)
    not_met = replace(FIT, both_ways=True)
    assert measured_motor(motor, not_met) == MeasuredMotor(3, -1, 1.0, -0.1, -0.6, 2.4)


def test_measured_motors_lie_beside_the_file_of_the_hand(hand_file, description, tmp_path):
    before = hand_file.read_text()
    other = replace(MEASURED, id=9, zero=-0.05)
    path = save_measurements('dash', {CURL: MEASURED}, tmp_path)
    assert save_measurements('dash', {'ring_curl': other}, tmp_path) == path
    assert hand_file.read_text() == before
    motors = load_hand_description('dash', tmp_path).motors
    for name, measured in ((CURL, MEASURED), ('ring_curl', other)):
        assert (motors[name].zero, motors[name].lower) == (measured.zero, measured.lower)
        assert motors[name].upper == measured.upper
    assert motors['index_side'] == description.motors['index_side']
    path.unlink()
    assert load_hand_description('dash', tmp_path) == description


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda v: v[CURL].update(id=99), 'another id, sign or gear.*measure again'),
        (lambda v: v[CURL].update(zero=float('nan')), 'finite'),
        (lambda v: v[CURL].pop('zero'), "'zero' is missing"),
        (lambda v: v.update(nobody=v[CURL]), "no motor 'nobody'"),
        (lambda v: v[CURL].update(lower=3.0), 'lower < upper'),
    ],
)
def test_wrong_measured_motors_are_refused(hand_file, tmp_path, edit, message):
    path = save_measurements('dash', {CURL: MEASURED}, tmp_path)
    values = json.loads(path.read_text())
    edit(values['motors'])
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigurationError, match=message):
        load_hand_description('dash', tmp_path)
