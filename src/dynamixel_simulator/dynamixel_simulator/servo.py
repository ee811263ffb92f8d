# SPDX-License-Identifier: Apache-2.0
"""Firmware of a simulated servo: its registers and what they do.

Where the e-Manual is silent, most choices are those that a careless driver would suffer from: a
goal that was written long ago is followed at once when torque goes on, and a refused write of
several fields changes none of them.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from dynamixel_simulator.control_loop import ControlLoop
from dynamixel_simulator.control_table import Field, Registers
from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import (
    BAUD_RATES,
    PULSES_PER_TURN,
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    RETURN_DELAY_UNIT,
    REVERSE,
    WATCHDOG_EXPIRED,
    WATCHDOG_PERIOD,
    HardwareError,
    MotorModel,
    OperatingMode,
)
from dynamixel_simulator.packet import ALERT_BIT, StatusError

STEP: Final = 0.004  # [s] at most, of the control loop and the motor
BOOT_TIME: Final = 0.1  # [s] without an answer after a reboot, estimated
DEFAULT_FIRMWARE: Final = 50

_VELOCITY_COUNT: Final = RADIANS_PER_SECOND / RADIANS_PER_PULSE  # [pulse/s]
_FURTHEST: Final = 256 * PULSES_PER_TURN - 1  # in the modes without position limits
_GAINS: Final = ('position_p_gain', 'position_i_gain', 'position_d_gain')
# Present current, velocity and position lie side by side; so do voltage and temperature.
_MEASURED: Final = struct.Struct('<hii')
_SUPPLY: Final = struct.Struct('<HB')
# The manual says "persistent load that exceeds maximum output"; how long and how much is guessed.
_OVERLOAD_TIME: Final = 1.0  # [s]
_OVERLOAD_OUTPUT: Final = 0.95  # share of the supply voltage
_OVERLOAD_CURRENT: Final = 0.8  # share of the stall current
_STANDSTILL: Final = 0.24  # [rad/s]; a load that the motor can move is no overload


class SimulatedServo:
    """One servo of a bus.

    Not safe for threads: the bus holds a lock around it.
    """

    def __init__(
        self, model: MotorModel, identifier: int, firmware: int = DEFAULT_FIRMWARE
    ) -> None:
        """A servo from the shop that was given an id, horn at the middle of its range."""
        self.model = model  # what it is
        # its registers; writing them here passes the firmware by
        self.memory = Registers(model.control_table(firmware))
        self.memory['firmware_version'] = firmware
        self.memory['id'] = identifier
        # its motor; set its `load`, `voltage` or `temperature` to bring trouble
        self.motor = ServoMotor(model.specification)
        self.powered = True  # whether it is plugged in
        self.knows_fast_reads = firmware >= model.fast_sync_read_firmware
        self._loop = ControlLoop(self.motor, model.current_scale)
        self._watchdog = BusWatchdog(self.memory)
        self._protection = Protection(self.memory)
        self._booting = 0.0  # [s] left
        self._shown = False
        self._boot()

    @property
    def identifier(self) -> int:
        """Its id."""
        return self.memory['id']

    @property
    def baud_rate(self) -> int:
        """At which it listens. [bit/s]."""
        return BAUD_RATES[self.memory['baud_rate']]

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
        """Error byte of an answer: `ALERT_BIT` in addition when a hardware error is latched."""
        return error | ALERT_BIT if self._protection.errors else error

    def feed_watchdog(self) -> None:
        """An instruction came, to this servo or to another one."""
        self._watchdog.feed()

    def read(self, address: int, size: int) -> tuple[int, bytes]:
        """Error number and data of registers."""
        self._show()
        data = self.memory.read(address, size)
        return (StatusError.ACCESS, b'') if data is None else (StatusError.NONE, data)

    def write(self, address: int, data: bytes) -> int:
        """Write registers; the error number."""
        error, values = self.memory.split_write(address, data)
        for field, value in values:
            error = error or self._refusal(field, value)
        if not error:
            for field, value in values:
                self.memory.store(field, value)
                self._act_on(field.name, value)
        return error

    def read_field(self, name: str) -> int:
        """Raw value of a register, as a client reads it."""
        self._show()
        return self.memory[name]

    def write_field(self, name: str, value: int) -> int:
        """Write raw counts to a register as a client does; the error number."""
        field = self.memory.table[name]
        return self.write(field.address, field.encode(value))

    def reboot(self) -> None:
        """Start again: off the bus for a moment, then RAM is as from the shop."""
        self._booting = BOOT_TIME
        self._loop.enabled = False

    def place(self, position: float) -> None:
        """Turn the horn by hand to where it is when the servo starts. [rad]."""
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
        """Make the firmware see hardware errors now."""
        self._protection.errors |= errors
        self._react_to_errors()

    def advance(self, duration: float) -> None:
        """Let time pass, more than none. [s]."""
        self._shown = False
        if self._booting > 0.0:
            self._booting -= duration
            if self._booting <= 0.0:
                self._boot()
        count = max(1, math.ceil(duration / STEP - 1e-6))
        for _ in range(count):
            self._loop.step(duration / count)
        if self.listening:
            if self._watchdog.expires(self._loop.enabled, duration):
                # The manual says "stops", not "torque off".
                self.memory['profile_velocity'] = 0
                self._loop.halt()
            self._protection.watch(self.motor, self._loop.output, duration)
            if self._protection.errors:
                self._react_to_errors()

    def _refusal(self, field: Field, value: int) -> StatusError:
        """Why the firmware does not take a value; `StatusError.NONE` when it does."""
        if field.eeprom and self._loop.enabled:
            return StatusError.ACCESS
        if not field.minimum <= value <= field.maximum:
            return StatusError.DATA_RANGE
        match field.name:
            case 'goal_position' | 'goal_current' if self._watchdog.expired:
                return StatusError.DATA_RANGE
            case 'bus_watchdog' if self._watchdog.expired and value:
                return StatusError.DATA_RANGE
            case 'goal_position' if not self._lowest_goal() <= value <= self._highest_goal():
                return StatusError.DATA_LIMIT
            case 'goal_current' if abs(value) > self.memory['current_limit']:
                return StatusError.DATA_LIMIT
            case 'torque_enable' if value and self._protection.shut_down:
                return StatusError.RESULT_FAIL
        return StatusError.NONE

    def _lowest_goal(self) -> int:
        limited = self._loop.mode == OperatingMode.POSITION
        return self.memory['min_position_limit'] if limited else -_FURTHEST

    def _highest_goal(self) -> int:
        limited = self._loop.mode == OperatingMode.POSITION
        return self.memory['max_position_limit'] if limited else _FURTHEST

    def _act_on(self, name: str, value: int) -> None:
        """Do what a new value of a register, already stored, means."""
        loop = self._loop
        match name:
            case 'goal_position' if loop.enabled:
                self._head_for(value)
            case 'goal_current':
                loop.goal_current = value
            case 'torque_enable':
                self._switch_torque(bool(value))
            case 'operating_mode':
                self._reset_goals()
                if loop.mode == OperatingMode.POSITION:
                    self._count_from_one_turn()
            case 'position_p_gain' | 'position_i_gain' | 'position_d_gain':
                loop.set_gains(*[self.memory[gain] for gain in _GAINS])
            case 'bus_watchdog':
                self._watchdog.feed()
            case 'drive_mode' | 'homing_offset':
                self._read_settings()

    def _switch_torque(self, on: bool) -> None:
        loop = self._loop
        if on and not loop.enabled:
            if loop.mode == OperatingMode.POSITION:
                loop.count_from_one_turn()
            loop.halt()
            self._watchdog.feed()
            self._head_for(self.memory['goal_position'])
        loop.enabled = on

    def _head_for(self, goal: int) -> None:
        self._loop.goal = goal
        self._loop.speed = self.memory['profile_velocity'] * _VELOCITY_COUNT

    def _reset_goals(self) -> None:
        """What a start and a change of the operating mode have in common."""
        memory, loop = self.memory, self._loop
        for name in (*_GAINS, 'profile_velocity'):
            memory[name] = memory.table[name].default
        loop.mode = OperatingMode(memory['operating_mode'])
        memory['goal_current'] = loop.goal_current = memory['current_limit']
        loop.set_gains(*[memory[gain] for gain in _GAINS])
        loop.halt()

    def _read_settings(self) -> None:
        self._loop.direction = -1 if self.memory['drive_mode'] & REVERSE else 1
        self._loop.homing_offset = self.memory['homing_offset']
        self._loop.halt()

    def _count_from_one_turn(self) -> None:
        """Forget whole turns; the goal becomes where the horn is."""
        self._loop.count_from_one_turn()
        self.memory['goal_position'] = round(self._loop.present_position)

    def _boot(self) -> None:
        """Power-on: RAM as from the shop, one turn only, nothing latched."""
        for field in self.memory.table:
            if not field.eeprom:
                self.memory.store(field, field.default)
        self._protection = Protection(self.memory)
        self._watchdog.feed()
        self._loop.enabled = False
        self._read_settings()
        self._reset_goals()
        self._count_from_one_turn()
        self._shown = False

    def _react_to_errors(self) -> None:
        self.memory['hardware_error_status'] = int(self._protection.errors)
        if self._protection.shut_down:
            self.memory['torque_enable'] = 0
            self._loop.enabled = False

    def _show(self) -> None:
        """Bring the registers that tell the state up to date, once per step."""
        if self._shown:
            return
        self._shown = True
        memory, loop, motor = self.memory, self._loop, self.motor
        _MEASURED.pack_into(
            memory.content,
            memory.table['present_current'].address,
            round(loop.present_current),
            round(loop.present_velocity / _VELOCITY_COUNT),
            round(loop.present_position),
        )
        _SUPPLY.pack_into(
            memory.content,
            memory.table['present_input_voltage'].address,
            max(0, round(motor.voltage * 10.0)),
            max(0, min(255, round(motor.temperature))),
        )


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
