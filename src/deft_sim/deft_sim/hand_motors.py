# SPDX-License-Identifier: Apache-2.0
"""Who turns the spools of the simulated hand: commanded motors, or servos on a bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deft_core.validation import FloatArray
from deft_description.models import MOTOR_NAMES
from deft_sim.configuration import MotorConfiguration
from deft_sim.joint_sample import JointSample


@dataclass(frozen=True, eq=False)
class TendonSample:
    """The twelve tendons of the simulated hand, in `MOTOR_NAMES` order. Each shape (12,).

    Attributes:
        lengths: Excursion from the straight fingers. [m].
        velocities: [m/s].
        tensions: Pull against the spool; negative where a tendon runs both ways. [N].
        excursion_per_angle: Of each spool. [m/rad].
        zeros: Spool angles at which the tendons are just taut. [rad].
    """

    lengths: FloatArray
    velocities: FloatArray
    tensions: FloatArray
    excursion_per_angle: FloatArray
    zeros: FloatArray


class HandMotors(Protocol):
    """Motors that wind up the tendons of the simulated hand."""

    @property
    def positions(self) -> FloatArray:
        """Where the spools are now, in `MOTOR_NAMES` order. Shape (12,). [rad]."""

    def step(self, duration: float, tendons: TendonSample) -> None:
        """Turn the spools.

        Args:
            duration: Simulated time. [s].
            tendons: At its start.
        """

    def command(self, positions: FloatArray) -> None:
        """Set targets. Shape (12,). [rad].

        Raises:
            DeviceError: These motors take their goals elsewhere.
        """

    def hold(self, tendons: TendonSample) -> None:
        """An emergency stop was pressed."""

    def home(self) -> None:
        """Be at 0 at once; hardware cannot do this."""

    def state(self, tendons: TendonSample) -> JointSample:
        """What the motors measure; efforts are currents. Shapes (12,). [rad, rad/s, A]."""


class CommandedMotors:
    """Motors that follow their targets with a limited speed; a measured position is tendon length.

    Args:
        settings: Speed limit, and what a current is.
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
        """See `HandMotors`."""
        self._target = positions.copy()

    def hold(self, tendons: TendonSample) -> None:
        """See `HandMotors`."""
        self._target = self.state(tendons).positions

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
