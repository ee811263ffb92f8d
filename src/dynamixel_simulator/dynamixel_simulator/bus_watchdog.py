# SPDX-License-Identifier: Apache-2.0
"""The watchdog of a servo: it stops when nobody talks on the bus any more."""

from __future__ import annotations

from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor_models import WATCHDOG_EXPIRED, WATCHDOG_PERIOD


class BusWatchdog:
    """Counts the time without an instruction on the bus while torque is on.

    Args:
        memory: Registers; `bus_watchdog` becomes `WATCHDOG_EXPIRED`.
    """

    def __init__(self, memory: ServoMemory) -> None:
        """Count from now."""
        self._memory = memory
        self._address = memory.table['bus_watchdog'].address
        self._silence = 0.0

    def feed(self) -> None:
        """An instruction came, to this servo or to another one."""
        self._silence = 0.0

    def expires(self, torque_enabled: bool, duration: float) -> bool:
        """Let time pass.

        Args:
            torque_enabled: It counts only then.
            duration: [s].

        Returns:
            Whether it ran out just now.
        """
        setting = self._memory.content[self._address]
        if not torque_enabled or setting in (0, WATCHDOG_EXPIRED):
            self._silence = 0.0
            return False
        self._silence += duration
        if self._silence <= setting * WATCHDOG_PERIOD:
            return False
        self._memory['bus_watchdog'] = WATCHDOG_EXPIRED
        return True
