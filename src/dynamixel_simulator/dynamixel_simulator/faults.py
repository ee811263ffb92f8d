# SPDX-License-Identifier: Apache-2.0
"""Faults that can be switched on while the bus runs."""

from __future__ import annotations

import enum
from typing import Final

from deft_core.errors import InvalidInputError
from dynamixel_simulator.motor import AMBIENT
from dynamixel_simulator.motor_models import RETURN_DELAY_UNIT, HardwareError
from dynamixel_simulator.servo import SimulatedServo

_BROWN_OUT_SHARE: Final = 0.9  # of the lowest voltage that the servo is set to allow
_OVER_TEMPERATURE: Final = 5.0  # [K] above the limit that the servo is set to
LONGEST_RETURN_DELAY: Final = 254 * RETURN_DELAY_UNIT  # [s]


class Fault(enum.Enum):
    """What can go wrong; the values are the words of the console."""

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
    PORT_GONE = 'port_gone'


ANSWER_FAULTS: Final = frozenset(
    {Fault.SILENCE, Fault.WRONG_CRC, Fault.HALF_PACKET, Fault.WRONG_ID, Fault.DELAY}
)
BUS_FAULTS: Final = frozenset({Fault.ECHO, Fault.PORT_GONE})


class AnswerFaults:
    """Faults of the answers of one servo.

    Attributes:
        lateness: How late answers are while `Fault.DELAY` is on. [s].
    """

    def __init__(self) -> None:
        """None."""
        self.lateness = 0.0
        self._left: dict[Fault, int | None] = {}

    def __bool__(self) -> bool:
        """Whether any is on."""
        return bool(self._left)

    def add(self, fault: Fault, answers: int | None) -> None:
        """Switch one on.

        Args:
            fault: One of `ANSWER_FAULTS`.
            answers: How many answers suffer; None for all until cleared.
        """
        self._left[fault] = answers

    def clear(self) -> None:
        """Switch all off."""
        self._left.clear()

    def take(self, fault: Fault) -> bool:
        """Whether the next answer suffers from a fault; counts it."""
        if fault not in self._left:
            return False
        left = self._left[fault]
        if left is not None:
            if left <= 1:
                del self._left[fault]
            else:
                self._left[fault] = left - 1
        return True


def harm(servo: SimulatedServo, fault: Fault) -> None:
    """Bring a fault over the servo itself.

    Args:
        servo: The servo.
        fault: Neither of answers nor of the bus.

    Raises:
        InvalidInputError: It is.
    """
    if fault is Fault.UNPLUGGED:
        servo.unplug()
    elif fault is Fault.BROWN_OUT:
        servo.motor.voltage = _BROWN_OUT_SHARE * 0.1 * servo.memory['min_voltage_limit']
        servo.reboot()
    elif fault is Fault.OVERLOAD:
        servo.latch(HardwareError.OVERLOAD)
    elif fault is Fault.OVER_TEMPERATURE:
        servo.motor.temperature = servo.memory['temperature_limit'] + _OVER_TEMPERATURE
        servo.latch(HardwareError.OVERHEATING)
    elif fault is Fault.STUCK:
        servo.motor.stuck = True
    else:
        raise InvalidInputError(f'{fault.value} is not a fault of a servo.')


def heal(servo: SimulatedServo) -> None:
    """Remove the causes; what the firmware latched stays until a reboot.

    Args:
        servo: The servo.
    """
    servo.motor.stuck = False
    servo.motor.voltage = servo.model.specification.voltage
    servo.motor.temperature = min(servo.motor.temperature, AMBIENT)
    if not servo.powered:
        servo.plug_in()
