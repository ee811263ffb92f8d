# SPDX-License-Identifier: Apache-2.0
"""The servos of a hand."""

from __future__ import annotations

import pytest

from deft_hand_driver.simulated_hand import build_hand_bus, main, motor_position, servo_angle


def test_the_bus_of_a_hand_has_its_motors(description):
    bus = build_hand_bus(description)
    motors = description.ordered_motors()
    assert [servo.identifier for servo in bus.servos] == [motor.id for motor in motors]
    assert {servo.baud_rate for servo in bus.servos} == {description.bus.baud_rate}
    for servo, motor in zip(bus.servos, motors, strict=True):
        assert servo.model.name == motor.model
        assert motor_position(motor, servo.motor.position) == pytest.approx(0.0)
        assert motor_position(motor, servo_angle(motor, 0.7)) == pytest.approx(0.7)


def test_an_unknown_hand_is_told(capsys):
    assert main(['--hand', 'paw']) == 2
    assert 'dash' in capsys.readouterr().err
