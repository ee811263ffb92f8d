# SPDX-License-Identifier: Apache-2.0
"""Measured zeros and limits in the file of a hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_core.errors import ConfigurationError
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


def test_the_file_of_the_hand_changes_in_three_numbers(hand_file, description, tmp_path):
    before = hand_file.read_text()
    kept = write_limits(hand_file, description, {CURL: MotorLimits(0.21, -0.1, 2.4)})
    assert kept.read_text() == before
    assert kept.suffix != '.yaml'
    changed = hand_file.read_text()
    lines = list(zip(before.splitlines(), changed.splitlines(), strict=True))
    assert [old.split(':')[0].strip() for old, new in lines if old != new] == [CURL]
    motor = load_hand_description('dash', tmp_path).motors[CURL]
    assert (motor.zero, motor.lower, motor.upper) == (0.21, -0.1, 2.4)
    again = write_limits(
        hand_file, load_hand_description('dash', tmp_path), {CURL: MotorLimits(0.2, -0.1, 2.4)}
    )
    assert again != kept


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda text: text.replace('  index_curl: {', '  index_curl:\n   {'), 'no line'),
        (lambda text: text.replace('{id: 3, ', '{id: 3, zero: 0.0, '), '2 entries zero'),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_changed_line_by_line_is_left_alone(
    hand_file, description, edit, message
):
    hand_file.write_text(edit(hand_file.read_text()))
    before = hand_file.read_text()
    with pytest.raises(ConfigurationError, match=message):
        write_limits(hand_file, description, {CURL: MotorLimits(0.2, -0.1, 2.4)})
    assert hand_file.read_text() == before
    assert [path.name for path in hand_file.parent.iterdir()] == ['dash.yaml']
