# SPDX-License-Identifier: Apache-2.0
"""All motors of one hand on the bus: who is there, set-up, torque, reading and writing."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

import numpy as np

from deft_core.validation import FloatArray
from deft_hand_driver.bus.block import (
    BLOCK_SIZE,
    MotorSample,
    MotorScale,
    SampleBuilder,
    indirect_map,
)
from deft_hand_driver.bus.client import BusClient, PingReply
from deft_hand_driver.bus.errors import BusError
from deft_hand_driver.bus.group import GroupRead, GroupWrite
from deft_hand_driver.description import HandDescription
from dynamixel_simulator.control_table import ControlTable
from dynamixel_simulator.motor_models import WATCHDOG_PERIOD, OperatingMode, motor_model
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


class HandMotors:
    """Drives the motors of one hand over an open bus; use it from one thread.

    Attributes:
        description: The hand.
        client: The bus.
        names: Motor names, in the order of every array.
        identifiers: Ids, in the same order.
    """

    def __init__(self, client: BusClient, description: HandDescription) -> None:
        """Prepare; nothing is sent.

        Args:
            client: The open bus.
            description: The hand.
        """
        self.client = client
        self.description = description
        self.names = description.motor_names
        self._motors = description.ordered_motors()
        self.identifiers = tuple(motor.id for motor in self._motors)
        self._scale = MotorScale(self._motors)
        self._builder = SampleBuilder(self._scale, len(self._motors))
        self._tables: list[ControlTable] = []
        self._fast: list[bool] = []
        self._groups: list[tuple[list[int], GroupRead]] = []
        self._misses = np.zeros(len(self._motors), dtype=int)
        self._absent: frozenset[int] = frozenset()
        self._next_absent = 0

    def identify(self) -> tuple[PingReply, ...]:
        """Check that every motor of the hand answers, once, and is of the right model.

        Returns:
            Model and firmware of each motor.

        Raises:
            BusError: Motors are missing, share an id or are of another model.
            PortError: The port has gone.
        """
        replies: list[PingReply] = []
        missing, wrong = [], []
        for name, motor in zip(self.names, self._motors, strict=True):
            answers = self.client.ping_all_answers(motor.id)
            answers = answers or self.client.ping_all_answers(motor.id)
            if not answers and self.client.answers_garbled(motor.id):
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
                f'{self.client.port.getBaudRate()} bit/s: {", ".join(missing)}'
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

        Args:
            numbers: Places of the motors in `names`; all when None.

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
        self._groups = []
        for address in Counter(blocks):
            places = [
                place
                for place, block in enumerate(blocks)
                if block == address and place not in self._absent
            ]
            if places:
                fast = all(self._fast[place] for place in places)
                ids = [self.identifiers[place] for place in places]
                group = GroupRead(self.client, ids, address, BLOCK_SIZE, fast=fast)
                self._groups.append((places, group))

    def read(self, deadline: float) -> MotorSample:
        """Read every motor, and those that did not answer once more while there is time.

        Args:
            deadline: Monotonic time until which retries may last. [s].

        Raises:
            PortError: The port has gone.
        """
        replies: list[Status | None] = [None] * len(self._motors)
        for places, group in self._groups:
            found = group.read()
            if None in found:
                group.retry(found, deadline)
            for place, status in zip(places, found, strict=True):
                replies[place] = status
        if self._absent:
            self._look_for_absent(replies)
        sample = self._builder.build(replies, time.monotonic())
        self._note_misses(sample)
        return sample

    def write_positions(self, positions: FloatArray) -> None:
        """Set the goal positions of all motors. Shape (n,). [rad].

        Raises:
            PortError: The port has gone.
        """
        self._write_all('goal_position', self._scale.goal_counts(positions).tobytes())

    def write_currents(self, currents: FloatArray) -> None:
        """Set the current limits of all motors. Shape (n,). [A].

        Raises:
            PortError: The port has gone.
        """
        self._write_all('goal_current', self._scale.current_counts(currents).tobytes())

    def set_torque(self, *, on: bool) -> None:
        """Switch all motors on or off.

        Raises:
            PortError: The port has gone.
        """
        self._write_all('torque_enable', bytes((int(on),)) * len(self._motors))

    def switch_on(self, place: int) -> None:
        """Switch one motor on and wait for its answer.

        Args:
            place: Of the motor in `names`.

        Raises:
            BusError: It does not answer, or refuses.
            PortError: The port has gone.
        """
        self.client.write(self.identifiers[place], self._tables[place], 'torque_enable', 1)

    def set_speed(self, speed: float) -> None:
        """Set the speed with which all motors go to their goals. [rad/s].

        Raises:
            PortError: The port has gone.
        """
        self._write_all('profile_velocity', self._scale.speed_counts(speed).tobytes())

    def set_watchdog(self, duration: float) -> None:
        """Clear the bus watchdogs, and arm them where a duration is given.

        Args:
            duration: Silence on the bus after which a motor stops by itself; 0 for never. [s].

        Raises:
            PortError: The port has gone.
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

        Args:
            numbers: Places of the motors in `names`.

        Raises:
            BusError: A motor does not come back or does not take a value.
        """
        for index in numbers:
            self.client.reboot(self.identifiers[index])
        for index in numbers:
            self.client.wait_for(self.identifiers[index], REBOOT_TIME)
        self.configure(numbers)

    def _configure_eeprom(self, index: int) -> None:
        identifier, table = self.identifiers[index], self._tables[index]
        client = self.client
        client.write(identifier, table, 'torque_enable', 0)
        # An expired watchdog refuses other registers.
        client.write(identifier, table, 'bus_watchdog', 0)
        for name, value in _EEPROM:
            if client.read(identifier, table, name) != value:
                client.write(identifier, table, name, value)

    def _configure_ram(self, index: int) -> None:
        """After the mode, whose change sets gains, profile and currents back."""
        identifier, table = self.identifiers[index], self._tables[index]
        bus = self.description.bus
        speed = _PROFILE_SPEED_MARGIN * self.description.motor_speed_limit
        limit = np.array([m.current_limit for m in self._motors])
        values = {
            'status_return_level': _ANSWER_ALWAYS,
            'position_p_gain': bus.position_p,
            'position_i_gain': bus.position_i,
            'position_d_gain': bus.position_d,
            'goal_current': int(self._scale.current_counts(limit)[index]),
            'profile_velocity': int(self._scale.speed_counts(speed)[index]),
        }
        for name, value in values.items():
            self.client.write(identifier, table, name, value)
        self._write_block_map(index)

    def _write_block_map(self, index: int) -> None:
        identifier, table = self.identifiers[index], self._tables[index]
        address, content, _ = indirect_map(table)
        self.client.write_bytes(identifier, address, content, 'the indirect addresses')
        if self.client.read_bytes(identifier, address, len(content)) != content:
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
        group = GroupRead(self.client, [self.identifiers[place]], block, BLOCK_SIZE, fast=False)
        replies[place] = group.read()[0]

    def _note_misses(self, sample: MotorSample) -> None:
        """A motor that stays silent is left out of the groups: it would cut the others off."""
        self._misses = np.where(sample.fresh, 0, self._misses + 1)
        silent = np.flatnonzero(self._misses >= _MISSES_UNTIL_ABSENT).tolist()
        absent = frozenset(silent) if len(silent) < len(self._motors) else frozenset()
        if absent != self._absent:
            self._absent = absent
            self._plan_reads()

    def _write_all(self, name: str, data: bytes) -> None:
        register = self._tables[0][name]
        GroupWrite(self.client, self.identifiers, register.address, register.size).write(data)
