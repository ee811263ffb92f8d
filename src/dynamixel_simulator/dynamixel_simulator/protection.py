# SPDX-License-Identifier: Apache-2.0
"""What the firmware watches to protect the servo: supply, temperature, load, and the bus."""

from __future__ import annotations

from typing import Final

from dynamixel_simulator.control_table import Registers
from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import WATCHDOG_EXPIRED, WATCHDOG_PERIOD, HardwareError

# The manual says "persistent load that exceeds maximum output"; how long and how much is guessed.
_OVERLOAD_TIME: Final = 1.0  # [s]
_OVERLOAD_OUTPUT: Final = 0.95  # share of the supply voltage
_OVERLOAD_CURRENT: Final = 0.8  # share of the stall current
_STANDSTILL: Final = 0.24  # [rad/s]; a load that the motor can move is no overload


class Protection:
    """Latches hardware errors until the next start of the servo."""

    def __init__(self, registers: Registers) -> None:
        """Nothing is wrong; the limits are in the registers."""
        self.errors = HardwareError(0)  # what was latched so far
        self._registers = registers
        self._overloaded = 0.0

    @property
    def shut_down(self) -> bool:
        """Whether an error is latched that keeps torque off until a reboot."""
        return bool(self.errors & self._registers['shutdown'])

    def watch(self, motor: ServoMotor, output: float, duration: float) -> None:
        """Look at the motor, driven by a share of the supply voltage since the last look [s]."""
        limits = self._registers
        lowest, highest = limits['min_voltage_limit'] * 0.1, limits['max_voltage_limit'] * 0.1
        if not lowest <= motor.voltage <= highest:
            self.errors |= HardwareError.INPUT_VOLTAGE
        if motor.temperature > limits['temperature_limit']:
            self.errors |= HardwareError.OVERHEATING
        strained = abs(motor.current) >= _OVERLOAD_CURRENT * motor.stall_current
        strained = strained or abs(output) >= _OVERLOAD_OUTPUT
        if strained and abs(motor.velocity) <= _STANDSTILL:
            self._overloaded += duration
            if self._overloaded >= _OVERLOAD_TIME:
                self.errors |= HardwareError.OVERLOAD
        else:
            self._overloaded = 0.0


class BusWatchdog:
    """Counts the time without an instruction on the bus while torque is on."""

    def __init__(self, registers: Registers) -> None:
        """Count from now; the register `bus_watchdog` holds the limit and the outcome."""
        self._registers = registers
        self._silence = 0.0

    def feed(self) -> None:
        """An instruction came, to this servo or to another one."""
        self._silence = 0.0

    @property
    def expired(self) -> bool:
        """Whether it ran out and was not cleared since."""
        return self._registers['bus_watchdog'] == WATCHDOG_EXPIRED

    def expires(self, torque_enabled: bool, duration: float) -> bool:
        """Let time pass; whether it ran out just now."""
        setting = self._registers['bus_watchdog']
        if not torque_enabled or setting in (0, WATCHDOG_EXPIRED):
            self._silence = 0.0
            return False
        self._silence += duration
        if self._silence <= setting * WATCHDOG_PERIOD:
            return False
        self._registers['bus_watchdog'] = WATCHDOG_EXPIRED
        return True
