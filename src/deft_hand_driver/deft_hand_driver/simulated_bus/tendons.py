# SPDX-License-Identifier: Apache-2.0
"""Hangs the tendons of a hand on its simulated servos, where no simulated world pulls at them."""

from __future__ import annotations

import numpy as np

from deft_core.errors import ConfigurationError
from deft_hand_driver.calibration.finger_layout import finger_layouts
from deft_hand_driver.description import HandDescription
from deft_hand_driver.simulated_bus.bus import SimulatedBus
from deft_hand_driver.simulated_bus.hand import servo_angle
from deft_hand_driver.simulated_bus.loads import ElasticTendon, TwoWayTendon
from deft_hand_driver.simulated_bus.motor import Load
from deft_hand_driver.simulated_bus.mounting import HandMounting


def attach_tendons(
    bus: SimulatedBus, description: HandDescription, mounting: HandMounting
) -> None:
    """Give every servo the pull of its free finger.

    Args:
        bus: Servos of the hand, in the order of its motors.
        description: The hand as its file says.
        mounting: How it differs from that.

    Raises:
        ConfigurationError: The hand has no tendons.
    """
    tendons = description.tendons
    if tendons is None:
        raise ConfigurationError(f'Hand {description.name} has no tendons.')
    radius, servo_stiffness = tendons.spool_radius, tendons.servo_stiffness
    arms = description.moment_arms() * mounting.arm_factors
    stiffnesses = description.stiffnesses()
    lower, upper = description.joint_limits()
    motors = description.ordered_motors()
    for layout in finger_layouts(description):
        for place, weights in enumerate(layout.weights):
            number = layout.motors.start + place
            joints = layout.joints.start + np.flatnonzero(weights)
            motor = motors[number]
            # Flexures and tendon in series, seen at the spool; then through the gear.
            compliance = float(np.sum(arms[joints] ** 2 / stiffnesses[joints]))
            flexures = radius**2 / (compliance + 1.0 / servo_stiffness) / motor.gear**2
            stop = servo_stiffness * radius**2 / motor.gear**2
            taut = float(mounting.zeros[number])
            ends = [
                servo_angle(motor, taut + float(arms[joints] @ limits[joints]) / radius)
                for limits in (lower, upper)
            ]
            zero = servo_angle(motor, taut)
            load: Load
            if np.any(lower[joints] < 0.0):
                load = TwoWayTendon(zero, flexures, min(ends), max(ends), stop)
            else:
                load = ElasticTendon(zero, flexures, ends[1], stop, motor.sign)
            bus.servos[number].motor.load = load
