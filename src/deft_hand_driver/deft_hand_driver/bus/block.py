# SPDX-License-Identifier: Apache-2.0
"""What is read of every motor in every cycle, gathered by the indirect registers into one block.

State and measurements lie 18 registers apart; two reads would cost a second exchange, and one over
all of them 83 bytes per motor. Sixteen indirect bytes fit into the twenty of the oldest firmware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.validation import FloatArray
from deft_hand_driver.motors import MotorDescription
from dynamixel_simulator.control_table import ControlTable
from dynamixel_simulator.motor_models import (
    CENTRE_PULSE,
    RADIANS_PER_PULSE,
    RADIANS_PER_SECOND,
    motor_model,
)
from dynamixel_simulator.packet import Status

BLOCK_FIELDS: Final = (
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
BLOCK_SIZE: Final = _BLOCK.itemsize
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
        """Take scales, signs and zeros.

        Args:
            motors: In the order of every array.
        """
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
        """Start without any answer.

        Args:
            scale: Of the motors.
            count: Number of motors.
        """
        self._scale = scale
        self._raw = np.zeros(count, dtype=_BLOCK)
        self._known = self._raw
        self._seen = np.full(count, -np.inf)

    def build(self, replies: Sequence[Status | None], stamp: float) -> MotorSample:
        """Sample of one cycle.

        Args:
            replies: Answers of all motors, in their order.
            stamp: Monotonic time of the answers. [s].
        """
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

    Args:
        table: Control table of the motor with its firmware.

    Returns:
        Address of the first indirect address, what to write there, and the address of the block.
    """
    addresses = [
        address for name in BLOCK_FIELDS for address in range(table[name].address, table[name].end)
    ]
    content = b''.join(address.to_bytes(2, 'little') for address in addresses)
    return table['indirect_address_1'].address, content, table['indirect_data_1'].address
