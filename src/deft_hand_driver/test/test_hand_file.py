# SPDX-License-Identifier: Apache-2.0
"""Measured zeros and limits in the file of a hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deft_core.errors import DeftError
from deft_hand_driver.calibration.hand_file import MotorLimits, measured_limits, write_limits
from deft_hand_driver.calibration.tension import TensionFit
from deft_hand_driver.description import load_hand_description

CURL = 'index_curl'
FIT = TensionFit(0.2, None, 2.5, -0.4, 2.6, 0.03, 0.05, False)


def test_limits_follow_from_what_was_measured(description):
    motor = replace(description.motors[CURL], zero=0.1, sign=-1)
    assert measured_limits(motor, FIT) == MotorLimits(-0.1, -0.1, 2.4)
    both = replace(FIT, lower_end=-0.3, upper_end=None)
    assert measured_limits(motor, both) == MotorLimits(-0.1, -0.6, 2.4)
    not_met = replace(FIT, both_ways=True)
    assert measured_limits(motor, not_met) == MotorLimits(-0.1, -0.6, 2.4)


def test_measured_motors_lie_beside_the_file_of_the_hand(hand_file, description, tmp_path):
    before = hand_file.read_text()
    first = {CURL: MotorLimits(0.21, -0.1, 2.4)}
    path = write_limits(hand_file, description, first)
    write_limits(hand_file, description, {'ring_curl': MotorLimits(-0.05, -0.1, 2.3)})
    assert hand_file.read_text() == before
    motors = load_hand_description('dash', tmp_path).motors
    for name, numbers in ((CURL, (0.21, -0.1, 2.4)), ('ring_curl', (-0.05, -0.1, 2.3))):
        assert (motors[name].zero, motors[name].lower, motors[name].upper) == numbers
    assert motors['index_side'] == description.motors['index_side']
    path.unlink()
    assert load_hand_description('dash', tmp_path) == description


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda v: v[CURL].update(id=99), 'another id, sign or gear.*measure again'),
        (lambda v: v[CURL].update(zero=float('nan')), 'finite'),
        (lambda v: v[CURL].pop('zero'), 'no measured motor'),
        (lambda v: v.update(nobody=v[CURL]), 'no measured motor'),
        (lambda v: v[CURL].update(lower=3.0), 'lower < upper'),
    ],
)  # fmt: skip
def test_wrong_measured_motors_are_refused(hand_file, description, tmp_path, edit, message):
    path = write_limits(hand_file, description, {CURL: MotorLimits(0.2, -0.1, 2.4)})
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(DeftError, match=message):
        load_hand_description('dash', tmp_path)
