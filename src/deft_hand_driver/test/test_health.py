# SPDX-License-Identifier: Apache-2.0
"""Judgement of made-up samples over time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deft_hand_driver.dynamixel.hand_motors import MotorSample, MotorScale
from deft_hand_driver.dynamixel.health import MotorHealth, error_text

CURL = 2
PERIOD = 0.01  # [s]


def sample(stamp=0.0, **changes):
    good = MotorSample(
        stamp=stamp,
        fresh=np.ones(12, dtype=bool),
        seen=np.full(12, stamp),
        positions=np.zeros(12),
        velocities=np.zeros(12),
        currents=np.zeros(12),
        voltages=np.full(12, 11.1),
        temperatures=np.full(12, 30.0),
        torque=np.ones(12, dtype=bool),
        errors=np.zeros(12, dtype=np.uint8),
        watchdogs=np.full(12, 20, dtype=np.uint8),
        restarted=np.zeros(12, dtype=bool),
    )
    arrays = {}
    for name, value in changes.items():
        arrays[name] = getattr(good, name).copy()
        arrays[name][CURL] = value
    return dataclasses.replace(good, **arrays)


@pytest.fixture
def health(description):
    return MotorHealth(description, silence_limit=0.2)


def judge_for(health, duration, driving=True, **changes):
    """Reports of a condition that lasts."""
    stamps = np.arange(0.0, duration, PERIOD)
    return [health.judge(sample(stamp, **changes), driving=driving) for stamp in stamps]


def test_a_good_hand_is_left_alone(health):
    for report in judge_for(health, 2.0):
        assert (report.fault, report.warnings) == ('', ())
        np.testing.assert_array_equal(report.current_share, np.ones(12))


def test_11_too_much_current_costs_current_first_and_stops_the_hand_then(health):
    reports = judge_for(health, 1.5, currents=-0.4)
    shares = [report.current_share[CURL] for report in reports]
    assert shares[20] == 1.0, 'a blip'
    assert shares[40] == pytest.approx(0.3)
    assert reports[40].current_share[0] == 1.0
    assert 'index_curl (id 3) above the current limit' in reports[40].warnings[0]
    faults = [report.fault for report in reports]
    assert faults[80] == ''
    assert 'index_curl (id 3) kept above the current limit' in faults[100]


def test_a_current_at_the_cap_is_a_grip_and_no_fault(health):
    assert all(report.fault == '' for report in judge_for(health, 3.0, currents=0.21))


def test_11_heat_costs_current_in_proportion(health):
    shares = [
        health.judge(sample(float(i), temperatures=degrees), driving=True).current_share[CURL]
        for i, degrees in enumerate((55.0, 60.0, 64.9))
    ]
    assert shares == pytest.approx([1.0, 0.65, 0.307], abs=1e-3)
    assert 'reached 65 degC' in health.judge(sample(9.0, temperatures=65.0), driving=True).fault


def test_a_dip_of_the_voltage_is_forgiven_and_a_weak_supply_is_not(health):
    assert judge_for(health, 0.2, voltages=8.0)[-1].fault == ''
    assert health.judge(sample(0.3), driving=True).fault == ''
    assert 'fell to 8.0 V' in judge_for(health, 0.5, voltages=8.0)[-1].fault


def test_7_silence_counts_from_the_last_answer(health):
    first = health.judge(sample(10.0), driving=True)
    assert first.fault == ''
    faults = [
        health.judge(sample(stamp, seen=10.0, fresh=False), driving=True).fault
        for stamp in (10.05, 10.1, 10.15, 10.3)
    ]
    assert faults[:3] == ['', '', '']
    assert 'index_curl (id 3) silent' in faults[3]


def test_time_in_which_the_driver_itself_was_held_up_is_no_silence(health):
    health.judge(sample(10.0), driving=True)
    for stamp in (15.0, 15.01):
        assert health.judge(sample(stamp, seen=10.0, fresh=False), driving=True).fault == ''
    assert health.judge(sample(15.02), driving=True).fault == ''


def test_a_motor_that_never_answered_is_silent_from_the_first_sample_on(health):
    never = {'seen': -np.inf, 'fresh': False}
    for stamp in (5.0, 5.1):
        assert health.judge(sample(stamp, **never), driving=False).fault == ''
    assert 'silent' in health.judge(sample(5.3, **never), driving=False).fault


def test_9_lost_torque_counts_while_driving_and_in_a_second_sample(health):
    assert judge_for(health, 1.0, driving=False, torque=False)[-1].fault == ''
    reports = judge_for(health, 0.05, torque=False)
    assert reports[0].fault == ''
    assert 'index_curl (id 3) lost torque' in reports[1].fault


def test_15_an_expired_watchdog_is_told_as_such(health):
    report = health.judge(sample(0.0, watchdogs=255), driving=True)
    assert 'bus watchdog of index_curl (id 3)' in report.fault


@pytest.mark.parametrize(
    ('bits', 'text'),
    [
        (0x20, 'overload'),
        (0x24, 'overheating, overload'),
        (0x11, 'input voltage, electrical shock or too little power'),
        (0x40, 'unknown bits 0x40'),
    ],
)
def test_10_error_bits_have_texts(health, bits, text):
    assert error_text(bits) == text
    assert text in health.judge(sample(0.0, errors=bits), driving=False).fault


def test_scale_is_undone_by_its_inverse(description):
    motors = list(description.ordered_motors())
    motors[CURL] = dataclasses.replace(motors[CURL], sign=-1, gear=1.5, zero=0.4)
    scale = MotorScale(motors)
    positions = np.linspace(-0.3, 2.0, 12)
    back = scale.positions(scale.goal_counts(positions))
    np.testing.assert_allclose(back, positions, atol=0.001)
    assert scale.goal_counts(np.zeros(12))[0] == 2048
    assert scale.goal_counts(np.zeros(12))[CURL] == 2048 + round(0.4 * 4096 / (2 * np.pi))
    assert scale.currents(np.full(12, 100))[CURL] == pytest.approx(-0.1)
    assert scale.velocities(np.full(12, 10))[0] == pytest.approx(0.239691)
    np.testing.assert_array_equal(scale.current_counts(np.full(12, 0.28)), np.full(12, 280))
    assert scale.speed_counts(6.0)[0] == 251
