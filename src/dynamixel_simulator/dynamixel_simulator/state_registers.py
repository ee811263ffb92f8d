# SPDX-License-Identifier: Apache-2.0
"""The registers in which a servo tells its state."""

from __future__ import annotations

import struct
from typing import Final

from dynamixel_simulator.control import FULL_OUTPUT, ControlLoop
from dynamixel_simulator.memory import ServoMemory
from dynamixel_simulator.motor import ServoMotor
from dynamixel_simulator.motor_models import RADIANS_PER_PULSE, RADIANS_PER_SECOND
from dynamixel_simulator.rules import POSITION_MODES

_VELOCITY_COUNT: Final = RADIANS_PER_SECOND / RADIANS_PER_PULSE  # [pulse/s]
_IN_POSITION: Final = 20  # [pulse], estimated
_FOLLOWING_ERROR: Final = 90  # [pulse], estimated
# realtime_tick to present_temperature lie side by side in every model.
_STATE: Final = struct.Struct('<HBBhhiiiiHB')
_FIRST: Final = 'realtime_tick'
_TICKS: Final = 32768


def show_state(memory: ServoMemory, loop: ControlLoop, motor: ServoMotor, time: float) -> None:
    """Bring the registers up to date.

    Args:
        memory: Where they are.
        loop: Control loop.
        motor: Motor.
        time: Since the servo exists. [s].
    """
    profile = loop.position
    position = loop.present_position
    status = 0
    if loop.enabled and loop.mode in POSITION_MODES:
        error = abs(profile.position - position)
        status = profile.kind | (0x02 if profile.ongoing else 0)
        status |= 0x08 if error > _FOLLOWING_ERROR else 0
        status |= 0x01 if not profile.ongoing and error <= _IN_POSITION else 0
    _STATE.pack_into(
        memory.content,
        memory.table[_FIRST].address,
        int(time * 1000.0) % _TICKS,
        loop.moving,
        status,
        _counts(loop.direction * loop.output * FULL_OUTPUT, 16),
        _counts(loop.present_current, 16),
        _counts(loop.present_velocity / _VELOCITY_COUNT, 32),
        _counts(position, 32),
        _counts(profile.velocity / _VELOCITY_COUNT, 32),
        _counts(profile.position, 32),
        max(0, _counts(motor.voltage * 10.0, 16)),
        max(0, min(255, round(motor.temperature))),
    )


def _counts(value: float, bits: int) -> int:
    """Nearest whole number that fits."""
    extreme = 1 << (bits - 1)
    return max(-extreme, min(extreme - 1, round(value)))
