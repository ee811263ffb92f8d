# SPDX-License-Identifier: Apache-2.0
"""Measured zeros and limits beside the file of a hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deft_core.errors import ConfigurationError
from deft_hand_driver.calibration.tension import TensionFit, measured_motor
from deft_hand_driver.description import load_hand_description, save_measurements
from deft_hand_driver.motors import MeasuredMotor

CURL = 'index_curl'
FIT = TensionFit(0.2, None, 2.5, -0.4, 2.6, 0.03, 0.05, False)
MEASURED = MeasuredMotor(3, 1, 1.0, 0.21, -0.1, 2.4)


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
