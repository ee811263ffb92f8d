# SPDX-License-Identifier: Apache-2.0
"""Motor of simulated servos."""

from __future__ import annotations

import pytest

from dynamixel_simulator.motor import AMBIENT, ServoMotor
from dynamixel_simulator.motor_models import MODELS

STEP = 0.002


@pytest.fixture(params=list(MODELS))
def specification(request):
    return MODELS[request.param].specification


def run(motor, output, seconds):
    for _ in range(round(seconds / STEP)):
        motor.drive_voltage(output, STEP)


def test_without_load_it_reaches_the_speed_of_the_data_sheet(specification):
    motor = ServoMotor(specification)
    run(motor, 1.0, 1.0)
    assert motor.velocity == pytest.approx(specification.no_load_speed, rel=0.01)
    assert 0.0 < motor.current < 0.5 * specification.stall_current


def test_it_stalls_at_the_torque_and_current_of_the_data_sheet(specification):
    motor = ServoMotor(specification)
    # Dry friction helps to hold: what drives it back is more than stall torque and friction twice.
    motor.load_torque = -1.07 * specification.stall_torque
    run(motor, 1.0, 1.0)
    assert motor.velocity < 0.0  # overpowered
    motor = ServoMotor(specification)
    motor.load_torque = -0.98 * specification.stall_torque
    run(motor, 1.0, 1.0)
    assert motor.velocity > 0.0
    motor.stuck = True
    run(motor, 1.0, STEP)
    assert motor.current == pytest.approx(specification.stall_current)


def test_the_current_loop_keeps_its_current_until_the_voltage_ends(specification):
    motor = ServoMotor(specification)
    wanted = 0.3 * specification.stall_current
    motor.drive_current(wanted, STEP)
    assert motor.current == pytest.approx(wanted)
    for _ in range(1000):
        output = motor.drive_current(wanted, STEP)
    assert abs(output) <= 1.0
    assert motor.velocity < specification.no_load_speed
    assert motor.drive_current(100.0, STEP) == 1.0
    assert motor.current < specification.stall_current


def test_dry_friction_holds_a_small_load_and_not_a_large_one(specification):
    motor = ServoMotor(specification)
    motor.load_torque = 0.02 * specification.stall_torque
    for _ in range(100):
        motor.release(STEP)
    assert motor.position == motor.velocity == 0.0
    motor.load_torque = 0.1 * specification.stall_torque
    for _ in range(100):
        motor.release(STEP)
    assert motor.position > 0.0
    motor.load_torque = 0.0
    for _ in range(1000):
        motor.release(STEP)
    assert motor.velocity == 0.0


def test_it_warms_up_with_the_square_of_the_current_and_cools_down(specification):
    warm = []
    for share in (0.2, 0.4):
        motor = ServoMotor(specification)
        motor.stuck = True
        for _ in range(40):
            motor.drive_current(share * specification.stall_current, 1.0)
        warm.append(motor.temperature - AMBIENT)
    assert warm[1] == pytest.approx(4.0 * warm[0], rel=1e-6)
    for _ in range(4000):
        motor.release(1.0)
    assert motor.temperature == pytest.approx(AMBIENT, abs=0.01)
