# SPDX-License-Identifier: Apache-2.0
"""The simulated hand hangs on simulated Dynamixel servos.

Their position loops turn the spools, the tendons of the MuJoCo hand pull back, and what a finger
touches comes back as current. The position actuators of the hand model are the elastic tendons
here: a servo measures its spool, and the tendon gives way behind it.

Servos live in simulated time: profiles, watchdogs, reboots and warming count seconds of the
simulation. Packets are answered in real time, with the state of the newest simulated step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft_core.errors import ConfigurationError, DeviceError
from deft_core.validation import FloatArray
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.description import HandDescription
from deft_hand_driver.simulated_hand import build_hand_bus, motor_position, servo_angle
from deft_sim.hand_motors import TendonSample
from deft_sim.joint_sample import JointSample
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.server import BusServer


class BusMotors:
    """Servos of a hand that turn the spools of the simulated one.

    Attributes:
        bus: The servos; for tests, and to switch faults on.
    """

    def __init__(self, description: HandDescription) -> None:
        """All spools at 0, torque off, as after power-on.

        Args:
            description: Motors, ids, signs, gears and zeros.

        Raises:
            ConfigurationError: The simulated hand has other motors.
        """
        if description.motor_names != MOTOR_NAMES:
            raise ConfigurationError(
                f'The simulated hand has the motors {", ".join(MOTOR_NAMES)}; hand '
                f'{description.name} has {", ".join(description.motor_names)}.'
            )
        self.bus: SimulatedBus = build_hand_bus(description)
        self._motors = description.ordered_motors()
        self._servos = self.bus.servos
        self._gears: FloatArray = np.array([motor.sign * motor.gear for motor in self._motors])

    def serve(self, link: Path) -> BusServer:
        """Open a port through which a driver can talk to the servos.

        Args:
            link: Symbolic link to the port.

        Returns:
            The running server; its owner stops it.

        Raises:
            ConfigurationError: The link cannot be made.
            DeviceError: No pseudo-terminal is left.
        """
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

    def command(self, positions: FloatArray) -> None:
        """See `HandMotors`."""
        del positions  # Unused: there is no way past the bus.
        raise DeviceError(
            'The motors of the simulated hand hang on their bus; command them through its port.'
        )

    def hold(self, tendons: TendonSample) -> None:
        """See `HandMotors`; an emergency stop of the hand is the business of its driver."""

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
