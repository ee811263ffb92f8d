# SPDX-License-Identifier: Apache-2.0
"""Who turns the spools of the simulated hand: ideal motors, or servos on a bus.

The servos' position loops turn the spools, the tendons of the MuJoCo hand pull back, and what a
finger touches comes back as current. The position actuators of the hand model are the elastic
tendons here: a servo measures its spool, and the tendon gives way behind it.

Servos live in simulated time: profiles, watchdogs, reboots and warming count seconds of the
simulation. Packets are answered in real time, with the state of the newest simulated step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray, finite_array
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.description import HandDescription
from deft_hand_driver.simulated_hand import build_hand_bus, motor_position, servo_angle
from deft_sim.configuration import MotorConfiguration
from deft_sim.world import JointSample
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.server import BusServer


@dataclass(frozen=True, eq=False)
class TendonSample:
    """The twelve tendons of the simulated hand, in `MOTOR_NAMES` order. Each shape (12,)."""

    lengths: FloatArray  # excursion from the straight fingers [m]
    velocities: FloatArray  # [m/s]
    tensions: FloatArray  # pull against the spool; negative where a tendon runs both ways [N]
    excursion_per_angle: FloatArray  # of each spool [m/rad]
    zeros: FloatArray  # spool angles at which the tendons are just taut [rad]


class HandMotors(Protocol):
    """Motors that wind up the tendons of the simulated hand."""

    @property
    def positions(self) -> FloatArray:
        """Where the spools are now, in `MOTOR_NAMES` order. Shape (12,). [rad]."""

    def step(self, duration: float, tendons: TendonSample) -> None:
        """Turn the spools for a simulated duration [s]; the tendons are those at its start."""

    def home(self) -> None:
        """Be at 0 at once; hardware cannot do this."""

    def state(self, tendons: TendonSample) -> JointSample:
        """What the motors measure; efforts are currents. Shapes (12,). [rad, rad/s, A]."""


class IdealMotors:
    """Motors that follow their targets with a limited speed; a measured position is tendon length.

    They stand in for the servos where no packets are needed, at no cost.
    """

    def __init__(self, settings: MotorConfiguration) -> None:
        """At 0."""
        self._settings = settings
        self._target: FloatArray = np.zeros(len(MOTOR_NAMES))
        self._setpoint: FloatArray = np.zeros(len(MOTOR_NAMES))

    @property
    def positions(self) -> FloatArray:
        """See `HandMotors`."""
        return self._setpoint

    def step(self, duration: float, tendons: TendonSample) -> None:
        """See `HandMotors`."""
        del tendons  # Unused: the setpoint yields to nothing.
        largest = self._settings.velocity_limit * duration
        change = np.clip(self._target - self._setpoint, -largest, largest)
        self._setpoint = self._setpoint + change

    def command(self, positions: FloatArray) -> None:
        """Set targets, in `MOTOR_NAMES` order. Shape (12,). [rad]."""
        self._target = finite_array('motor positions', positions, (len(MOTOR_NAMES),))

    def home(self) -> None:
        """See `HandMotors`."""
        self._target = np.zeros(len(MOTOR_NAMES))
        self._setpoint = np.zeros(len(MOTOR_NAMES))

    def state(self, tendons: TendonSample) -> JointSample:
        """See `HandMotors`."""
        settings = self._settings
        return JointSample(
            tendons.lengths / tendons.excursion_per_angle + tendons.zeros,
            tendons.velocities / tendons.excursion_per_angle,
            tendons.tensions * settings.spool_radius / settings.torque_constant,
        )


class BusMotors:
    """Servos of a hand that turn the spools of the simulated one."""

    def __init__(self, description: HandDescription) -> None:
        """All spools at 0, torque off, as after power-on.

        Raises:
            ConfigurationError: The simulated hand has other motors.
        """
        if description.motor_names != MOTOR_NAMES:
            raise ConfigurationError(
                f'The simulated hand has the motors {", ".join(MOTOR_NAMES)}; hand '
                f'{description.name} has {", ".join(description.motor_names)}.'
            )
        # the servos; for tests, and to switch faults on
        self.bus: SimulatedBus = build_hand_bus(description)
        self._motors = description.ordered_motors()
        self._servos = self.bus.servos
        self._gears: FloatArray = np.array([motor.sign * motor.gear for motor in self._motors])

    def serve(self, link: Path) -> BusServer:
        """Open a port for a driver, with a symbolic link to it; the caller stops the server."""
        return BusServer(self.bus, link, real_time=False).start()

    @property
    def positions(self) -> FloatArray:
        """See `HandMotors`."""
        return np.array(
            [
                motor_position(motor, servo.motor.position)
                for motor, servo in zip(self._motors, self._servos, strict=True)
            ]
        )

    def step(self, duration: float, tendons: TendonSample) -> None:
        """See `HandMotors`."""
        # Equal power at spool and servo: torque times speed.
        torques = -tendons.tensions * tendons.excursion_per_angle / self._gears
        with self.bus.lock:
            for servo, torque in zip(self._servos, torques.tolist(), strict=True):
                servo.motor.load_torque = torque
            self.bus.advance(duration)

    def home(self) -> None:
        """See `HandMotors`; the servos start anew there."""
        with self.bus.lock:
            for motor, servo in zip(self._motors, self._servos, strict=True):
                servo.place(servo_angle(motor, 0.0))

    def state(self, tendons: TendonSample) -> JointSample:
        """See `HandMotors`; what the servos know, without rounding to counts."""
        del tendons  # Unused: servos measure spools.
        with self.bus.lock:
            velocities = [servo.motor.velocity for servo in self._servos]
            currents = [servo.motor.current for servo in self._servos]
            positions = self.positions
        return JointSample(
            positions,
            np.array(velocities) / self._gears,
            np.array(currents) * np.sign(self._gears),
        )
