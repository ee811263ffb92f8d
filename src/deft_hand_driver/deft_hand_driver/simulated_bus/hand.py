# SPDX-License-Identifier: Apache-2.0
"""Servos of a hand as someone has set them up: ids and baud rate, nothing else."""

from __future__ import annotations

from deft_hand_driver.description import HandDescription
from deft_hand_driver.motors import MotorDescription
from deft_hand_driver.protocol.models import BAUD_RATES, motor_model
from deft_hand_driver.simulated_bus.bus import SimulatedBus
from deft_hand_driver.simulated_bus.servo import DEFAULT_FIRMWARE, SimulatedServo


def servo_angle(motor: MotorDescription, position: float) -> float:
    """Angle of a servo, counted from its middle, at a position of its motor.

    Args:
        motor: Sign, gear and zero.
        position: As the driver counts. [rad].

    Returns:
        As `ServoMotor.position` counts. [rad].
    """
    return motor.zero + motor.sign * motor.gear * position


def motor_position(motor: MotorDescription, angle: float) -> float:
    """What `servo_angle` undoes.

    Args:
        motor: Sign, gear and zero.
        angle: Of the servo, counted from its middle. [rad].

    Returns:
        As the driver counts. [rad].
    """
    return (angle - motor.zero) / (motor.sign * motor.gear)


def build_hand_bus(description: HandDescription, firmware: int = DEFAULT_FIRMWARE) -> SimulatedBus:
    """Servos of a hand on one wire, every motor at position 0, all other registers as delivered.

    Args:
        description: Which motors, ids and baud rate.
        firmware: Of all servos.

    Returns:
        In the order of `HandDescription.motor_names`.
    """
    servos = []
    for name in description.motor_names:
        motor = description.motors[name]
        servo = SimulatedServo(motor_model(motor.model), motor.id, firmware)
        servo.memory['baud_rate'] = BAUD_RATES.index(description.bus.baud_rate)
        servo.place(servo_angle(motor, 0.0))
        servos.append(servo)
    return SimulatedBus(servos)
