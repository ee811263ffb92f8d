# SPDX-License-Identifier: Apache-2.0
"""All motors of one hand on the bus: who is there, set-up, torque, reading and writing.

What is read of every motor in every cycle is gathered by the indirect registers into one block:
state and measurements lie 18 registers apart; two reads would cost a second exchange, and one over
all of them 83 bytes per motor. Sixteen indirect bytes fit into the twenty of the oldest firmware.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription, MotorDescription
from deft_hand_driver.dynamixel.bus import DynamixelBus, PingReply, SyncRead
from deft_hand_driver.dynamixel.port import BusError
from dynamixel_simulator.control_table import ControlTable
from dynamixel_simulator.motor_models import (
    CENTRE_PULSE,
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    WATCHDOG_PERIOD,
    OperatingMode,
    motor_model,
)
from dynamixel_simulator.packet import Status

REBOOT_TIME: Final = 2.0  # [s] until a rebooted motor must answer
_MISSES_UNTIL_ABSENT: Final = 3
_ANSWER_ALWAYS: Final = 2  # status return level
# EEPROM registers and what they must hold; written only where they differ, for EEPROM wears.
_EEPROM: Final = (
    ('drive_mode', 0),
    ('operating_mode', int(OperatingMode.CURRENT_BASED_POSITION)),
    ('return_delay_time', 0),
)
# A servo may be a little faster than its goals, or it would fall behind them.
_PROFILE_SPEED_MARGIN: Final = 1.5
_BLOCK_FIELDS: Final = (
    'torque_enable',
    'hardware_error_status',
    'bus_watchdog',
    'present_current',
    'present_velocity',
    'present_position',
    'present_input_voltage',
    'present_temperature',
)
_BLOCK: Final = np.dtype(
    [
        ('torque', 'u1'),
        ('error', 'u1'),
        ('watchdog', 'u1'),
        ('current', '<i2'),
        ('velocity', '<i4'),
        ('position', '<i4'),
        ('voltage', '<u2'),
        ('temperature', 'u1'),
    ]
)
_BLOCK_SIZE: Final = _BLOCK.itemsize
_VOLTS: Final = 0.1  # [V] per count


@dataclass(frozen=True, eq=False)
class MotorSample:
    """What was last read of every motor; a motor that did not answer keeps what it said before.

    Attributes:
        stamp: When it was read, monotonic. [s].
        fresh: Which motors answered now. Shape (n,).
        seen: When each motor last answered, monotonic; -inf before. Shape (n,). [s].
        positions: Shape (n,). [rad].
        velocities: Shape (n,). [rad/s].
        currents: Shape (n,). [A].
        voltages: Shape (n,). [V].
        temperatures: Shape (n,). [degC].
        torque: Whether the motor drives. Shape (n,).
        errors: Hardware error bits. Shape (n,).
        watchdogs: Bus watchdog register. Shape (n,).
        restarted: Which motors have lost their settings, and then keep what they said before.
            Shape (n,).
    """

    stamp: float
    fresh: npt.NDArray[np.bool_]
    seen: FloatArray
    positions: FloatArray
    velocities: FloatArray
    currents: FloatArray
    voltages: FloatArray
    temperatures: FloatArray
    torque: npt.NDArray[np.bool_]
    errors: npt.NDArray[np.uint8]
    watchdogs: npt.NDArray[np.uint8]
    restarted: npt.NDArray[np.bool_]

    @property
    def complete(self) -> bool:
        """Whether every motor has answered at least once."""
        return bool(np.all(np.isfinite(self.seen)))


class MotorScale:
    """Counts of the registers to SI units of the hand and back, for all motors at once."""

    def __init__(self, motors: Sequence[MotorDescription]) -> None:
        """Take scales, signs and zeros."""
        turns = np.array([motor.sign * motor.gear for motor in motors])
        zeros = np.array([motor.zero for motor in motors])
        self._per_pulse = RADIANS_PER_PULSE / turns
        self._offset = CENTRE_PULSE + zeros / RADIANS_PER_PULSE
        self._per_speed = RADIANS_PER_SECOND / turns
        scales = np.array([motor_model(motor.model).current_scale for motor in motors])
        self._amperes = scales
        # A positive current pulls in the direction in which the position rises.
        self._per_current = scales * np.sign(turns)

    def positions(self, counts: npt.ArrayLike) -> FloatArray:
        """Motor positions of present positions. Shape (n,). [rad]."""
        return np.asarray((np.asarray(counts) - self._offset) * self._per_pulse)

    def goal_counts(self, positions: FloatArray) -> npt.NDArray[np.int32]:
        """Goal positions of motor positions [rad]. Shape (n,)."""
        return np.rint(positions / self._per_pulse + self._offset).astype(np.int32)

    def current_counts(self, currents: FloatArray) -> npt.NDArray[np.int16]:
        """Goal currents of current limits [A], rounded down. Shape (n,)."""
        counts = np.floor(currents / self._amperes + 1e-9)
        return np.asarray(counts, dtype=np.int16)

    def speed_counts(self, speed: float) -> npt.NDArray[np.int32]:
        """Profile velocities of a speed of the motor positions [rad/s], at least 1. Shape (n,)."""
        return np.maximum(1, np.ceil(speed / np.abs(self._per_speed))).astype(np.int32)

    def velocities(self, counts: npt.ArrayLike) -> FloatArray:
        """Motor velocities of present velocities. Shape (n,). [rad/s]."""
        return np.asarray(np.asarray(counts) * self._per_speed)

    def currents(self, counts: npt.ArrayLike) -> FloatArray:
        """Currents of present currents. Shape (n,). [A]."""
        return np.asarray(np.asarray(counts) * self._per_current)


class SampleBuilder:
    """Turns replies into samples and remembers what silent motors said before."""

    def __init__(self, scale: MotorScale, count: int) -> None:
        """Start without any answer."""
        self._scale = scale
        self._raw = np.zeros(count, dtype=_BLOCK)
        self._known = self._raw
        self._seen = np.full(count, -np.inf)

    def build(self, replies: Sequence[Status | None], stamp: float) -> MotorSample:
        """Sample of the answers of all motors, in their order, at a monotonic time [s]."""
        fresh = np.array([reply is not None for reply in replies])
        if fresh.all():
            joined = b''.join(reply.parameters for reply in replies if reply is not None)
            self._raw = np.frombuffer(joined, dtype=_BLOCK)
            self._seen = np.full(len(fresh), stamp)
        else:
            self._raw, self._seen = self._raw.copy(), self._seen.copy()
            for index, reply in enumerate(replies):
                if reply is not None:
                    self._raw[index] = np.frombuffer(reply.parameters, dtype=_BLOCK)[0]
                    self._seen[index] = stamp
        raw = self._raw
        # A motor that restarted has forgotten what to gather and answers with zeros.
        restarted = (raw['voltage'] == 0) & (raw['temperature'] == 0) & (self._seen > -np.inf)
        if np.any(restarted):
            raw = raw.copy()
            raw[restarted] = self._known[restarted]
            raw['torque'][restarted] = 0
        self._known = raw
        return MotorSample(
            stamp=stamp,
            fresh=fresh,
            seen=self._seen,
            positions=self._scale.positions(raw['position']),
            velocities=self._scale.velocities(raw['velocity']),
            currents=self._scale.currents(raw['current']),
            voltages=raw['voltage'] * _VOLTS,
            temperatures=raw['temperature'].astype(np.float64),
            torque=raw['torque'] == 1,
            errors=raw['error'],
            watchdogs=raw['watchdog'],
            restarted=restarted,
        )


def indirect_map(table: ControlTable) -> tuple[int, bytes, int]:
    """How a motor gathers the block.

    Returns:
        Address of the first indirect address, what to write there, and the address of the block.
    """
    fields = [table[name] for name in _BLOCK_FIELDS]
    addresses = [address for field in fields for address in range(field.address, field.end)]
    content = b''.join(address.to_bytes(2, 'little') for address in addresses)
    return table['indirect_address_1'].address, content, table['indirect_data_1'].address


class HandMotors:
    """Drives the motors of one hand over an open bus; a port that has gone raises `PortError`.

    Attributes:
        names: Motor names, in the order of every array.
    """

    def __init__(self, bus: DynamixelBus, description: HandDescription) -> None:
        """Prepare; nothing is sent."""
        self.bus = bus
        self.description = description
        self.names = description.motor_names
        self._motors = description.ordered_motors()
        self.identifiers = tuple(motor.id for motor in self._motors)
        self._scale = MotorScale(self._motors)
        self._builder = SampleBuilder(self._scale, len(self._motors))
        self._tables: list[ControlTable] = []
        self._fast: list[bool] = []
        self._reads: list[tuple[list[int], SyncRead]] = []
        self._misses = np.zeros(len(self._motors), dtype=int)
        self._absent: frozenset[int] = frozenset()
        self._next_absent = 0

    def identify(self) -> tuple[PingReply, ...]:
        """Check that every motor of the hand answers, once, and is of the right model.

        Returns:
            Model and firmware of each motor.

        Raises:
            BusError: Motors are missing, share an id or are of another model.
        """
        replies: list[PingReply] = []
        missing: list[str] = []
        wrong: list[str] = []
        for name, motor in zip(self.names, self._motors, strict=True):
            answers, garbled = self.bus.look_for(motor.id)
            if not answers:
                answers, garbled = self.bus.look_for(motor.id)
            if garbled:
                if not wrong and (stranger := self.bus.stranger()):
                    raise BusError(stranger)
                wrong.append(f'the answer of id {motor.id} is garbled: motors may share it')
                continue
            if not answers:
                missing.append(f'{name} (id {motor.id})')
                continue
            if len(answers) > 1:
                wrong.append(f'{len(answers)} motors answer to id {motor.id} of {name}')
            if answers[0].model_number != motor_model(motor.model).number:
                wrong.append(
                    f'{name} (id {motor.id}) is a {answers[0].model_name}, not a {motor.model}'
                )
            replies.append(answers[0])
        if missing:
            wrong.append(
                f'{len(missing)} of {len(self._motors)} motors do not answer at '
                f'{self.bus.port.getBaudRate()} bit/s: {", ".join(missing)}'
            )
        if wrong:
            raise BusError(
                f'The motors do not fit the hand {self.description.name}: {"; ".join(wrong)}. '
                'Check supply, cables and ids; `deft hand scan` shows who is there.'
            )
        self._tables = [
            motor_model(motor.model).control_table(reply.firmware)
            for motor, reply in zip(self._motors, replies, strict=True)
        ]
        self._fast = [
            reply.firmware >= motor_model(motor.model).fast_sync_read_firmware
            for motor, reply in zip(self._motors, replies, strict=True)
        ]
        return tuple(replies)

    def configure(self, numbers: tuple[int, ...] | None = None) -> None:
        """Switch torque off and set motors up: mode, then gains, currents, speed, block.

        Raises:
            BusError: A motor does not answer or does not take a value.
        """
        chosen = tuple(range(len(self._motors))) if numbers is None else numbers
        for index in chosen:
            self._configure_eeprom(index)
        for index in chosen:
            self._configure_ram(index)
        self._absent = frozenset()
        self._misses[:] = 0
        self._plan_reads()

    def restore_blocks(self) -> None:
        """Make the blocks readable again and change nothing else, as after a lost connection.

        Raises:
            BusError: A motor does not answer or does not take a value.
        """
        for index in range(len(self._motors)):
            self._write_block_map(index)
        self._plan_reads()

    def _plan_reads(self) -> None:
        """Group the motors by the address of their block, which depends on the firmware."""
        blocks = [indirect_map(table)[2] for table in self._tables]
        self._reads = []
        for address in Counter(blocks):
            places = [
                place
                for place, block in enumerate(blocks)
                if block == address and place not in self._absent
            ]
            if places:
                fast = all(self._fast[place] for place in places)
                ids = [self.identifiers[place] for place in places]
                read = SyncRead(self.bus, ids, address, _BLOCK_SIZE, fast=fast)
                self._reads.append((places, read))

    def read(self, deadline: float) -> MotorSample:
        """Read every motor, and those that did not answer once more while there is time.

        Args:
            deadline: Monotonic time until which retries may last. [s].
        """
        replies: list[Status | None] = [None] * len(self._motors)
        for places, sync_read in self._reads:
            for place, status in zip(places, sync_read.read(deadline), strict=True):
                replies[place] = status
        if self._absent:
            self._look_for_absent(replies)
        sample = self._builder.build(replies, time.monotonic())
        self._note_misses(sample)
        return sample

    def write_positions(self, positions: FloatArray) -> None:
        """Set the goal positions of all motors. Shape (n,). [rad]."""
        self._write_all('goal_position', self._scale.goal_counts(positions).tobytes())

    def write_currents(self, currents: FloatArray) -> None:
        """Set the current limits of all motors. Shape (n,). [A]."""
        self._write_all('goal_current', self._scale.current_counts(currents).tobytes())

    def set_torque(self, *, on: bool) -> None:
        """Switch all motors on or off."""
        self._write_all('torque_enable', bytes((int(on),)) * len(self._motors))

    def switch_on(self, place: int) -> None:
        """Switch one motor on and wait for its answer."""
        self.bus.write(self.identifiers[place], self._tables[place], 'torque_enable', 1)

    def set_speed(self, speed: float) -> None:
        """Set the speed with which all motors go to their goals. [rad/s]."""
        self._write_all('profile_velocity', self._scale.speed_counts(speed).tobytes())

    def set_watchdog(self, duration: float) -> None:
        """Clear the bus watchdogs, and arm them where a duration is given.

        Args:
            duration: Silence on the bus after which a motor stops by itself; 0 for never. [s].
        """
        # Zero first: an expired watchdog takes nothing else.
        self._write_all('bus_watchdog', bytes(len(self._motors)))
        counts = self.watchdog_counts(duration)
        if counts:
            self._write_all('bus_watchdog', bytes((counts,)) * len(self._motors))

    @staticmethod
    def watchdog_counts(duration: float) -> int:
        """Register value of a watchdog duration [s]: 0 to 127."""
        return min(127, round(duration / WATCHDOG_PERIOD))

    def reboot(self, numbers: tuple[int, ...]) -> None:
        """Reboot motors and set them up again; torque is off afterwards.

        Raises:
            BusError: A motor does not come back or does not take a value.
        """
        for index in numbers:
            self.bus.reboot(self.identifiers[index])
        for index in numbers:
            self.bus.wait_for(self.identifiers[index], REBOOT_TIME)
        self.configure(numbers)

    def _configure_eeprom(self, index: int) -> None:
        identifier, table = self.identifiers[index], self._tables[index]
        bus = self.bus
        bus.write(identifier, table, 'torque_enable', 0)
        # An expired watchdog refuses other registers.
        bus.write(identifier, table, 'bus_watchdog', 0)
        for name, value in _EEPROM:
            if bus.read(identifier, table, name) != value:
                bus.write(identifier, table, name, value)

    def _configure_ram(self, index: int) -> None:
        """After the mode, whose change sets gains, profile and currents back."""
        identifier, table = self.identifiers[index], self._tables[index]
        gains = self.description.bus
        speed = _PROFILE_SPEED_MARGIN * self.description.motor_speed_limit
        limit = np.array([m.current_limit for m in self._motors])
        values = {
            'status_return_level': _ANSWER_ALWAYS,
            'position_p_gain': gains.position_p,
            'position_i_gain': gains.position_i,
            'position_d_gain': gains.position_d,
            'goal_current': int(self._scale.current_counts(limit)[index]),
            'profile_velocity': int(self._scale.speed_counts(speed)[index]),
        }
        for name, value in values.items():
            self.bus.write(identifier, table, name, value)
        self._write_block_map(index)

    def _write_block_map(self, index: int) -> None:
        identifier, table = self.identifiers[index], self._tables[index]
        address, content, _ = indirect_map(table)
        self.bus.write_bytes(identifier, address, content, 'the indirect addresses')
        if self.bus.read_bytes(identifier, address, len(content)) != content:
            raise BusError(
                f'Motor {identifier} ({self._motors[index].model}) does not keep its indirect '
                'addresses.'
            )

    def _look_for_absent(self, replies: list[Status | None]) -> None:
        """Ask one of the silent motors: all of them would use the cycle up."""
        absent = sorted(self._absent)
        self._next_absent = (self._next_absent + 1) % len(absent)
        place = absent[self._next_absent]
        block = indirect_map(self._tables[place])[2]
        ids = [self.identifiers[place]]
        replies[place] = SyncRead(self.bus, ids, block, _BLOCK_SIZE, fast=False).read()[0]

    def _note_misses(self, sample: MotorSample) -> None:
        """A motor that stays silent is left out of the sync read: it would cut the others off."""
        self._misses = np.where(sample.fresh, 0, self._misses + 1)
        silent = np.flatnonzero(self._misses >= _MISSES_UNTIL_ABSENT).tolist()
        absent = frozenset(silent) if len(silent) < len(self._motors) else frozenset()
        if absent != self._absent:
            self._absent = absent
            self._plan_reads()

    def _write_all(self, name: str, data: bytes) -> None:
        register = self._tables[0][name]
        self.bus.sync_write(self.identifiers, register.address, register.size, data)
