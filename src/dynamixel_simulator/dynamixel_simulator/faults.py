# SPDX-License-Identifier: Apache-2.0
"""Faults that can be switched on while the bus runs."""

from __future__ import annotations

import enum
from typing import Final

from dynamixel_simulator.motor import AMBIENT
from dynamixel_simulator.motor_models import HardwareError
from dynamixel_simulator.servo import SimulatedServo

_BROWN_OUT_SHARE: Final = 0.9  # of the lowest voltage that the servo is set to allow
_OVER_TEMPERATURE: Final = 5.0  # [K] above the limit that the servo is set to


class Fault(enum.Enum):
    """What can go wrong; the values are the words of the console.

    The adapter can be pulled out, too: `BusServer.unplug_port`.
    """

    # In answers, for a number of them or until cleared.
    SILENCE = 'silence'  # obeys, but its answer does not arrive
    WRONG_CRC = 'wrong_crc'
    HALF_PACKET = 'half_packet'
    WRONG_ID = 'wrong_id'
    DELAY = 'delay'
    # In the servo.
    UNPLUGGED = 'unplugged'  # off bus and supply
    BROWN_OUT = 'brown_out'  # supply too low: the servo starts again, with a voltage error
    OVERLOAD = 'overload'
    OVER_TEMPERATURE = 'over_temperature'
    STUCK = 'stuck'  # horn or tendon does not move
    # Of the whole bus.
    ECHO = 'echo'  # the adapter hands back what was sent


ANSWER_FAULTS: Final = frozenset(
    {Fault.SILENCE, Fault.WRONG_CRC, Fault.HALF_PACKET, Fault.WRONG_ID, Fault.DELAY}
)


class AnswerFaults:
    """Faults of the answers of one servo."""

    def __init__(self) -> None:
        """None."""
        self._lateness = 0.0
        self._left: dict[Fault, int | None] = {}

    def add(self, fault: Fault, answers: int | None, lateness: float) -> None:
        """Switch one on, for a number of answers or until cleared; lateness in seconds."""
        self._left[fault] = answers
        if fault is Fault.DELAY:
            self._lateness = lateness

    def clear(self) -> None:
        """Switch all off."""
        self._left.clear()

    def take(self, fault: Fault) -> bool:
        """Whether the next answer suffers from a fault; counts it."""
        if fault not in self._left:
            return False
        left = self._left[fault]
        if left is not None:
            self._left[fault] = left - 1
            if left <= 1:
                del self._left[fault]
        return True

    def take_lateness(self) -> float:
        """How late the next answer is; counts it. [s]."""
        return self._lateness if self.take(Fault.DELAY) else 0.0


def harm(servo: SimulatedServo, fault: Fault) -> None:
    """Bring a fault that is neither of answers nor of the bus over the servo itself."""
    match fault:
        case Fault.UNPLUGGED:
            servo.unplug()
        case Fault.BROWN_OUT:
            servo.motor.voltage = _BROWN_OUT_SHARE * 0.1 * servo.memory['min_voltage_limit']
            servo.reboot()
        case Fault.OVERLOAD:
            servo.latch(HardwareError.OVERLOAD)
        case Fault.OVER_TEMPERATURE:
            servo.motor.temperature = servo.memory['temperature_limit'] + _OVER_TEMPERATURE
            servo.latch(HardwareError.OVERHEATING)
        case Fault.STUCK:
            servo.motor.stuck = True


def heal(servo: SimulatedServo) -> None:
    """Remove the causes; what the firmware latched stays until a reboot."""
    servo.motor.stuck = False
    servo.motor.voltage = servo.model.specification.voltage
    servo.motor.temperature = min(servo.motor.temperature, AMBIENT)
    if not servo.powered:
        servo.plug_in()
