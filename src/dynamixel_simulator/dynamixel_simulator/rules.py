# SPDX-License-Identifier: Apache-2.0
"""Which values the firmware of a servo takes, and with which error it refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import ClassVar, Final

from dynamixel_simulator.control import ControlLoop
from dynamixel_simulator.control_table import Field
from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor_models import (
    PULSES_PER_TURN,
    WATCHDOG_EXPIRED,
    DriveMode,
    HardwareError,
    OperatingMode,
)
from dynamixel_simulator.packet import StatusError
from dynamixel_simulator.protection import Protection

POSITION_MODES: Final = (
    OperatingMode.POSITION,
    OperatingMode.EXTENDED_POSITION,
    OperatingMode.CURRENT_BASED_POSITION,
)

_TURNS: Final = 256  # either way in the modes without position limits
_PROTOCOL_2: Final = 2
_ERROR_BITS: Final = reduce(or_, HardwareError)


class WriteRules:
    """Judges one value for one field in the state that the servo is in.

    Args:
        memory: Registers, for the limits.
        loop: Control loop, for mode and torque.
        protection: For what is latched.
        torque_by_goal: Whether the firmware has the drive mode bit of that name.
    """

    def __init__(
        self,
        memory: ServoMemory,
        loop: ControlLoop,
        protection: Protection,
        torque_by_goal: bool,
    ) -> None:
        """Keep what the rules look at."""
        self._memory = memory
        self._loop = loop
        self._protection = protection
        self._drive_modes = DriveMode.REVERSE | DriveMode.TIME_BASED_PROFILE
        if torque_by_goal:
            self._drive_modes |= DriveMode.TORQUE_ON_BY_GOAL_UPDATE

    def refusal(self, field: Field, value: int) -> StatusError:
        """Why the firmware does not take a value.

        Args:
            field: A writable field.
            value: Raw counts.

        Returns:
            `StatusError.NONE` when it does.
        """
        if field.eeprom and self._loop.enabled:
            return StatusError.ACCESS
        if field.minimum is None or field.maximum is None:
            return StatusError.ACCESS
        if not field.minimum <= value <= field.maximum:
            return StatusError.DATA_RANGE
        check = self._CHECKS.get(field.name)
        if check is not None:
            return check(self, value)
        if field.limit:
            return self._goal(field, value)
        return StatusError.NONE

    def shut_down(self) -> bool:
        """Whether an error is latched that keeps torque off until a reboot."""
        return bool(self._protection.errors & self._memory['shutdown'])

    def _goal(self, field: Field, value: int) -> StatusError:
        if self._memory['bus_watchdog'] == WATCHDOG_EXPIRED:
            return StatusError.DATA_RANGE
        beyond = abs(value) > self._memory[field.limit]
        return StatusError.DATA_LIMIT if beyond else StatusError.NONE

    def _goal_position(self, value: int) -> StatusError:
        memory, mode = self._memory, self._loop.mode
        if memory['bus_watchdog'] == WATCHDOG_EXPIRED:
            return StatusError.DATA_RANGE
        if mode == OperatingMode.POSITION:
            lower, upper = memory['min_position_limit'], memory['max_position_limit']
        elif mode in POSITION_MODES:
            lower, upper = -_TURNS * PULSES_PER_TURN + 1, _TURNS * PULSES_PER_TURN - 1
        else:
            return StatusError.NONE
        return StatusError.NONE if lower <= value <= upper else StatusError.DATA_LIMIT

    def _operating_mode(self, value: int) -> StatusError:
        return StatusError.NONE if value in list(OperatingMode) else StatusError.DATA_RANGE

    def _drive_mode(self, value: int) -> StatusError:
        return StatusError.DATA_RANGE if value & ~self._drive_modes else StatusError.NONE

    def _shutdown(self, value: int) -> StatusError:
        return StatusError.DATA_RANGE if value & ~_ERROR_BITS else StatusError.NONE

    def _torque_enable(self, value: int) -> StatusError:
        return StatusError.RESULT_FAIL if value and self.shut_down() else StatusError.NONE

    def _bus_watchdog(self, value: int) -> StatusError:
        expired = self._memory['bus_watchdog'] == WATCHDOG_EXPIRED
        return StatusError.DATA_RANGE if expired and value else StatusError.NONE

    def _protocol_type(self, value: int) -> StatusError:
        """The other protocols (radio control, S.BUS) are not simulated."""
        return StatusError.NONE if value == _PROTOCOL_2 else StatusError.DATA_RANGE

    _CHECKS: ClassVar[dict[str, Callable[[WriteRules, int], StatusError]]] = {
        'goal_position': _goal_position,
        'operating_mode': _operating_mode,
        'drive_mode': _drive_mode,
        'shutdown': _shutdown,
        'torque_enable': _torque_enable,
        'bus_watchdog': _bus_watchdog,
        'protocol_type': _protocol_type,
    }
