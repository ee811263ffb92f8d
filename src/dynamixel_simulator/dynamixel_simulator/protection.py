# SPDX-License-Identifier: Apache-2.0
"""What the firmware watches to protect the servo: supply, temperature, load."""

from __future__ import annotations

from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import HardwareError

# The manual says "persistent load that exceeds maximum output"; how long and how much is guessed.
_OVERLOAD_TIME = 1.0  # [s]
_OVERLOAD_OUTPUT = 0.95  # share of the supply voltage
_OVERLOAD_CURRENT = 0.8  # share of the stall current


class Protection:
    """Latches hardware errors until the next start of the servo.

    Attributes:
        errors: What was latched so far.
    """

    def __init__(self, memory: ServoMemory) -> None:
        """Nothing is wrong.

        Args:
            memory: Registers, for the limits.
        """
        self.errors = HardwareError(0)
        self._memory = memory
        self._changes = -1
        self._lowest = self._highest = self._hottest = 0.0
        self._overloaded = 0.0

    def watch(self, motor: ServoMotor, output: float, moving: bool, duration: float) -> None:
        """Look at the motor.

        Args:
            motor: The motor.
            output: Share of the supply voltage that drives it.
            moving: Whether it turns; a load that it can move is no overload.
            duration: Since the last look. [s].
        """
        if self._changes != self._memory.changes:
            self._changes = self._memory.changes
            self._lowest = self._memory['min_voltage_limit'] * 0.1
            self._highest = self._memory['max_voltage_limit'] * 0.1
            self._hottest = float(self._memory['temperature_limit'])
        if not self._lowest <= motor.voltage <= self._highest:
            self.errors |= HardwareError.INPUT_VOLTAGE
        if motor.temperature > self._hottest:
            self.errors |= HardwareError.OVERHEATING
        strained = abs(motor.current) >= _OVERLOAD_CURRENT * motor.stall_current
        if not moving and (strained or abs(output) >= _OVERLOAD_OUTPUT):
            self._overloaded += duration
            if self._overloaded >= _OVERLOAD_TIME:
                self.errors |= HardwareError.OVERLOAD
        else:
            self._overloaded = 0.0
