# SPDX-License-Identifier: Apache-2.0
"""Firmware of a simulated servo: its registers and what they do.

Where the e-Manual is silent, most choices are those that a careless driver would suffer from: a
goal that was written long ago is followed at once when torque goes on, and a refused write of
several fields changes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from dynamixel_simulator.actions import RegisterActions
from dynamixel_simulator.bus_watchdog import BusWatchdog
from dynamixel_simulator.control import ControlLoop
from dynamixel_simulator.control_table import Field
from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import (
    BAUD_RATES,
    RETURN_DELAY_UNIT,
    HardwareError,
    MotorModel,
)
from dynamixel_simulator.packet import ALERT_BIT, StatusError
from dynamixel_simulator.protection import Protection
from dynamixel_simulator.rules import WriteRules
from dynamixel_simulator.state_registers import show_state

STEP: Final = 0.004  # [s] at most, of the control loop and the motor
BOOT_TIME: Final = 0.1  # [s] without an answer after a reboot, estimated
DEFAULT_FIRMWARE: Final = 50

_ID: Final = 7  # addresses that are the same in every model
_BAUD_RATE: Final = 8
_SECONDARY_ID: Final = 12


class SimulatedServo:
    """One servo of a bus.

    Not safe for threads: the bus holds a lock around it.

    Attributes:
        model: What it is.
        memory: Its registers; writing them here passes the firmware by.
        motor: Its motor; set its `load`, `voltage` or `temperature` to bring trouble.
        powered: Whether it is plugged in.
    """

    def __init__(
        self, model: MotorModel, identifier: int, firmware: int = DEFAULT_FIRMWARE
    ) -> None:
        """A servo from the shop that was given an id, horn at the middle of its range.

        Args:
            model: What it is.
            identifier: 0 to 252.
            firmware: Decides about fast reads and the place of indirect data.
        """
        self.model = model
        self.memory = ServoMemory(model.control_table(firmware))
        self.memory['firmware_version'] = firmware
        self.memory['id'] = identifier
        self.motor = ServoMotor(model.specification)
        self.powered = True
        self.knows_fast_reads = firmware >= model.fast_sync_read_firmware
        self._loop = ControlLoop(self.motor, model.current_scale)
        self._watchdog = BusWatchdog(self.memory)
        self._start_protection()
        self._registered: tuple[int, bytes] | None = None
        self._booting = 0.0  # [s] left
        self._time = 0.0
        self._shown = False
        self._boot()

    @property
    def identifier(self) -> int:
        """Its id."""
        return self.memory.content[_ID]

    @property
    def secondary(self) -> int:
        """Second id, at which it obeys without an answer; above 252 there is none."""
        return self.memory.content[_SECONDARY_ID]

    @property
    def baud_rate(self) -> int:
        """At which it listens. [bit/s]."""
        return BAUD_RATES[self.memory.content[_BAUD_RATE]]

    @property
    def listening(self) -> bool:
        """Whether it is on the bus: plugged in and not booting."""
        return self.powered and self._booting <= 0.0

    @property
    def hardware_errors(self) -> HardwareError:
        """What is latched."""
        return self._protection.errors

    @property
    def torque_enabled(self) -> bool:
        """Whether the motor is driven."""
        return self._loop.enabled

    @property
    def return_level(self) -> int:
        """0: answers pings; 1: and reads; 2: everything."""
        return self.memory['status_return_level']

    @property
    def return_delay(self) -> float:
        """Between an instruction and its answer. [s]."""
        return self.memory['return_delay_time'] * RETURN_DELAY_UNIT

    def identity(self) -> bytes:
        """Model number and firmware version, as a ping is answered."""
        return bytes(self.memory.content[0:2]) + bytes(self.memory.content[6:7])

    def with_alert(self, error: int) -> int:
        """Error byte of an answer.

        Args:
            error: Error number.

        Returns:
            With `ALERT_BIT` when a hardware error is latched.
        """
        return error | ALERT_BIT if self._protection.errors else error

    def feed_watchdog(self) -> None:
        """An instruction came, to this servo or to another one."""
        self._watchdog.feed()

    def read(self, address: int, size: int) -> tuple[int, bytes]:
        """Read registers.

        Args:
            address: First byte.
            size: Number of bytes.

        Returns:
            Error number and data.
        """
        self._show()
        data = self.memory.read(address, size)
        return (StatusError.ACCESS, b'') if data is None else (StatusError.NONE, data)

    def write(self, address: int, data: bytes) -> int:
        """Write registers.

        Args:
            address: First byte.
            data: New bytes.

        Returns:
            Error number.
        """
        error, values = self._judge(address, data)
        for field, value in values:
            self.memory.store(field, value)
            self._actions.act_on(field.name, value)
        return error

    def read_field(self, name: str) -> int:
        """Raw value of a register, as a client reads it.

        Raises:
            InvalidInputError: The motor has no such field.
        """
        self._show()
        return self.memory[name]

    def write_field(self, name: str, value: int) -> int:
        """Write a register as a client does.

        Args:
            name: Of the field.
            value: Raw counts.

        Returns:
            Error number.

        Raises:
            InvalidInputError: No such field, or the value does not fit into it.
        """
        field = self.memory.table[name]
        return self.write(field.address, field.encode(value))

    def register_write(self, address: int, data: bytes) -> int:
        """Keep a write for the next action.

        Args:
            address: First byte.
            data: New bytes.

        Returns:
            Error number.
        """
        error, _ = self._judge(address, data)
        if not error:
            self._registered = address, data
            self.memory['registered_instruction'] = 1
        return error

    def action(self) -> int:
        """Do what was registered.

        Returns:
            Error number.
        """
        if self._registered is None:
            return StatusError.INSTRUCTION
        address, data = self._registered
        self._registered = None
        self.memory['registered_instruction'] = 0
        return self.write(address, data)

    def clear_turns(self) -> int:
        """Count Present Position within one turn again.

        Returns:
            Error number.
        """
        if self._loop.moving:
            return StatusError.RESULT_FAIL
        self._actions.count_from_one_turn()
        self._shown = False
        return StatusError.NONE

    def reboot(self) -> None:
        """Start again: off the bus for a moment, then RAM is as from the shop."""
        self._booting = BOOT_TIME
        self._loop.enabled = False

    def factory_reset(self, keep_id: bool, keep_baud_rate: bool) -> None:
        """Set the whole table to its factory values and start again.

        Args:
            keep_id: Keep the id.
            keep_baud_rate: Keep the baud rate.
        """
        kept = ['model_number', 'firmware_version']
        kept += ['id'] if keep_id else []
        kept += ['baud_rate'] if keep_baud_rate else []
        for field in self.memory.table:
            if field.eeprom and field.name not in kept:
                self.memory.store(field, field.default or 0)
                self._actions.act_on(field.name, field.default or 0)
        self.reboot()

    def place(self, position: float) -> None:
        """Turn the horn by hand to where it is when the servo starts.

        Args:
            position: As `ServoMotor.position`. [rad].
        """
        self.motor.position = position
        self.motor.velocity = 0.0
        self._boot()

    def unplug(self) -> None:
        """Take it off bus and supply."""
        self.powered = False
        self._loop.enabled = False

    def plug_in(self) -> None:
        """Give it power again; it starts as after a reboot."""
        self.powered = True
        self.reboot()

    def latch(self, errors: HardwareError) -> None:
        """Make the firmware see hardware errors now.

        Args:
            errors: Which.
        """
        self._protection.errors |= errors
        self._react_to_errors()

    def advance(self, duration: float) -> None:
        """Let time pass.

        Args:
            duration: Positive. [s].
        """
        self._time += duration
        self._shown = False
        if self._booting > 0.0:
            self._booting -= duration
            if self._booting <= 0.0:
                self._boot()
        count = max(1, math.ceil(duration / STEP - 1e-6))
        step = self._loop.step
        for _ in range(count):
            step(duration / count)
        if self.listening:
            if self._watchdog.expires(self._loop.enabled, duration):
                self._actions.stop()
            self._protection.watch(self.motor, self._loop.output, self._loop.moving, duration)
            if self._protection.errors:
                self._react_to_errors()

    def _judge(self, address: int, data: bytes) -> tuple[int, Sequence[tuple[Field, int]]]:
        """Error number, and the fields that are written when there is none."""
        error, values = self.memory.values(address, data)
        for field, value in values:
            error = self._rules.refusal(field, value)
            if error:
                break
        return error, () if error else values

    def _start_protection(self) -> None:
        self._protection = Protection(self.memory)
        self._rules = WriteRules(
            # Torque on by goal update came with the same firmware as fast reads.
            self.memory,
            self._loop,
            self._protection,
            self.knows_fast_reads,
        )
        self._actions = RegisterActions(self.memory, self._loop, self._watchdog, self._rules)

    def _boot(self) -> None:
        """Power-on: RAM as from the shop, one turn only."""
        memory = self.memory
        for field in memory.table:
            if not field.eeprom:
                memory.store(field, field.default or 0)
        self._registered = None
        self._start_protection()
        self._watchdog.feed()
        self._actions.start()

    def _react_to_errors(self) -> None:
        self.memory['hardware_error_status'] = int(self._protection.errors)
        if self._rules.shut_down():
            self.memory['torque_enable'] = 0
            self._loop.enabled = False

    def _show(self) -> None:
        if not self._shown:
            show_state(self.memory, self._loop, self.motor, self._time)
            self._shown = True
