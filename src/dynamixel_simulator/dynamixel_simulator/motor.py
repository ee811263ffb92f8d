# SPDX-License-Identifier: Apache-2.0
"""The motor behind a simulated servo: winding, gear, friction, inertia and temperature.

A direct-current motor from the numbers of its data sheet. What the data sheet leaves open is the
same share for every model and marked as estimated; it shapes friction, inertia and warming, not
the stall point or the speed without load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dynamixel_simulator.motor_models import MotorSpecification

# Estimated, as shares of the stall torque: dry friction, and viscous friction at no-load speed.
_DRY_FRICTION: Final = 0.03
_VISCOUS_FRICTION: Final = 0.30
_MECHANICAL_TIME: Final = 0.025  # [s], estimated; sets the inertia that the gear multiplies
# Estimated warming of a servo of 18 g; larger ones by surface and volume.
_SMALLEST_MASS: Final = 0.018  # [kg]
_THERMAL_RESISTANCE: Final = 20.0  # [K/W]
_THERMAL_TIME: Final = 200.0  # [s]
AMBIENT: Final = 25.0  # [degC]

# Torque that the world puts on the horn [N m] at a position [rad] and velocity [rad/s].
Load = Callable[[float, float], float]


class ServoMotor:
    """Position, velocity, current and temperature of one motor, all at the horn."""

    def __init__(self, specification: MotorSpecification) -> None:
        """At rest in the middle, cold, at the recommended voltage."""
        torque, speed = specification.stall_torque, specification.no_load_speed
        self.position = 0.0  # not wrapped [rad]
        self.velocity = 0.0  # [rad/s]
        self.current = 0.0  # through the winding; positive drives to larger positions [A]
        self.temperature = AMBIENT  # [degC]
        self.voltage = specification.voltage  # of the supply [V]
        self.load: Load | None = None  # called in every step for the torque from outside, or None
        self.load_torque = 0.0  # torque from outside beside `load` [N m]
        self.stuck = False  # whether the horn is blocked
        self._nominal_voltage = specification.voltage
        self._stall_current = specification.stall_current
        self._dry = _DRY_FRICTION * torque
        # The stall torque is what friction leaves of the torque of the winding.
        self.torque_per_current = (torque + self._dry) / specification.stall_current
        self._viscous = _VISCOUS_FRICTION * torque / speed
        # Speed at which the winding gives no torque; without load friction keeps it slower.
        winding = torque + self._dry
        self._winding_speed = speed / (1.0 - (_VISCOUS_FRICTION * torque + self._dry) / winding)
        self._back_emf = winding / self._winding_speed
        self._inertia = _MECHANICAL_TIME * torque / speed
        self._resistance = specification.voltage / specification.stall_current
        share = specification.mass / _SMALLEST_MASS
        self._thermal_resistance = _THERMAL_RESISTANCE / share ** (2.0 / 3.0)
        self._thermal_time = _THERMAL_TIME * share ** (1.0 / 3.0)

    @property
    def stall_current(self) -> float:
        """At the present voltage. [A]."""
        return self._stall_current * self.voltage / self._nominal_voltage

    def drive_current(self, wanted: float, duration: float) -> float:
        """Step [s] with a current loop [A]; the share of the supply voltage it took, -1 to 1."""
        supply = self.voltage / self._nominal_voltage
        needed = wanted / self._stall_current + self.velocity / self._winding_speed
        if abs(needed) > supply:
            output = 1.0 if needed > 0.0 else -1.0
            self.drive_voltage(output, duration)
            return output
        self.current = wanted
        self._move(self.torque_per_current * wanted, self._viscous, duration)
        return needed / supply if supply > 0.0 else 0.0

    def drive_voltage(self, output: float, duration: float) -> None:
        """Step with a share of the supply voltage on the winding, -1 to 1."""
        share = output * self.voltage / self._nominal_voltage
        torque = self.torque_per_current * self._stall_current * share
        self._move(torque, self._viscous + self._back_emf, duration)
        self.current = self._stall_current * (share - self.velocity / self._winding_speed)

    def release(self, duration: float) -> None:
        """Step with an open winding."""
        self.current = 0.0
        self._move(0.0, self._viscous, duration)

    def _move(self, drive: float, damping: float, duration: float) -> None:
        """Integrate; damping implicitly, and dry friction stops but never reverses."""
        velocity = self.velocity
        torque = drive + self.load_torque
        if self.load is not None:
            torque += self.load(self.position, velocity)
        if self.stuck:
            velocity = 0.0
        else:
            gain = duration / (self._inertia + duration * damping)
            velocity = velocity * self._inertia / (self._inertia + duration * damping)
            velocity += gain * torque
            friction = gain * self._dry
            if velocity > friction:
                velocity -= friction
            elif velocity < -friction:
                velocity += friction
            else:
                velocity = 0.0
        self.velocity = velocity
        self.position += velocity * duration
        heat = self._resistance * self.current * self.current
        excess = self.temperature - AMBIENT - self._thermal_resistance * heat
        self.temperature -= excess * min(1.0, duration / self._thermal_time)
