# SPDX-License-Identifier: Apache-2.0
"""The servos of a hand."""

from __future__ import annotations

import pytest

from deft_hand_driver.simulated_hand import (
    Tendon,
    build_hand_bus,
    main,
    motor_position,
    servo_angle,
)


def test_the_bus_of_a_hand_has_its_motors(description):
    bus = build_hand_bus(description)
    motors = description.ordered_motors()
    assert [servo.identifier for servo in bus.servos] == [motor.id for motor in motors]
    assert {servo.baud_rate for servo in bus.servos} == {description.bus.baud_rate}
    for servo, motor in zip(bus.servos, motors, strict=True):
        assert servo.model.name == motor.model
        assert motor_position(motor, servo.motor.position) == pytest.approx(0.0)
        assert motor_position(motor, servo_angle(motor, 0.7)) == pytest.approx(0.7)


def test_a_tendon_of_a_curl_pulls_only():
    tendon = Tendon(0.2, 0.5, 0.2, 1.2, 20.0, winds=1)
    assert tendon(0.1, 0.0) == 0.0
    assert tendon(0.7, 3.0) == pytest.approx(-0.25)
    assert tendon(1.3, 0.0) == pytest.approx(-0.55 - 2.0)
    backwards = Tendon(-0.2, 0.5, -1.2, -0.2, 20.0, winds=-1)
    assert backwards(-0.7, 0.0) == pytest.approx(0.25)
    assert backwards(0.7, 0.0) == 0.0


def test_a_tendon_around_its_spool_pulls_both_ways():
    tendon = Tendon(0.1, 0.5, -1.0, 1.0, 20.0)
    assert tendon(0.3, 0.0) == pytest.approx(-0.1)
    assert tendon(1.1, 0.0) == pytest.approx(-0.5 - 2.0)
    assert tendon(-1.1, 0.0) == pytest.approx(0.6 + 2.0)


def test_an_unknown_hand_is_told(capsys):
    assert main(['--hand', 'paw']) == 2
    assert 'dash' in capsys.readouterr().err
