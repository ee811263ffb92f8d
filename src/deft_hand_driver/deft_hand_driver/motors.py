# SPDX-License-Identifier: Apache-2.0
"""The motors of a hand and the bus that they share, as `config/hands/<name>.yaml` describes them.

A motor position is the angle of its spool (or of its joint, without tendons), counted from the
straight finger. The servo sees `centre + (zero + sign * gear * position)` in its own pulses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deft_core.errors import ConfigurationError, InvalidInputError
from dynamixel_simulator.motor_models import BAUD_RATES, motor_model
from dynamixel_simulator.packet import MAX_ID

_GAIN: Final = {'minimum': 0, 'maximum': 16383}
_CURRENT: Final = {'minimum': 0.01, 'maximum': 3.0, 'unit': 'A'}


@dataclass(frozen=True)
class MotorDescription:
    """One motor of a hand.

    Attributes:
        id: On the bus.
        model: A name of `motor_models.MODELS`.
        sign: 1 or -1: which way the servo turns when the position rises.
        gear: Servo angle per motor position, where gears stand between them.
        zero: Servo angle at position 0. [rad].
        lower: Lowest position that may ever be commanded. [rad].
        upper: Highest position that may ever be commanded. [rad].
        current_limit: Largest current in normal operation: caps the tendon force. [A].
        hold_current: Largest current while the hand holds still in a fault. [A].
    """

    id: int = field(metadata={'minimum': 0, 'maximum': MAX_ID})
    model: str
    sign: int
    gear: float = field(metadata={'minimum': 0.01, 'maximum': 100.0})
    zero: float = field(metadata={'minimum': -100.0, 'maximum': 100.0, 'unit': 'rad'})
    lower: float = field(metadata={'minimum': -50.0, 'maximum': 50.0, 'unit': 'rad'})
    upper: float = field(metadata={'minimum': -50.0, 'maximum': 50.0, 'unit': 'rad'})
    current_limit: float = field(metadata=_CURRENT)
    hold_current: float = field(metadata=_CURRENT)

    def __post_init__(self) -> None:
        """Refuse what no motor can be."""
        try:
            specification = motor_model(self.model).specification
        except InvalidInputError as error:
            raise ConfigurationError(f'motor {self.id}: {error}') from error
        if self.sign not in (-1, 1):
            raise ConfigurationError(
                f'The sign of motor {self.id} must be 1 or -1, got {self.sign}.'
            )
        if self.lower >= self.upper:
            raise ConfigurationError(
                f'Motor {self.id} must have lower < upper, got {self.lower} to {self.upper} rad.'
            )
        if not self.hold_current <= self.current_limit <= specification.stall_current:
            raise ConfigurationError(
                f'Motor {self.id} needs hold_current <= current_limit <= '
                f'{specification.stall_current} A, the stall current of {self.model}; got '
                f'{self.hold_current} and {self.current_limit} A.'
            )


@dataclass(frozen=True)
class MeasuredMotor:
    """What a calibration measured of a motor, and what that depends on; as `MotorDescription`."""

    id: int
    sign: int
    gear: float
    zero: float
    lower: float
    upper: float


@dataclass(frozen=True)
class BusDescription:
    """How the motors are talked to, and what they are told before they move.

    Attributes:
        baud_rate: That every motor of the hand is set to. [bit/s].
        position_p: Gain of the position loop, in counts of the register.
        position_i: Gain of the position loop, in counts of the register.
        position_d: Gain of the position loop, in counts of the register.
        temperature_warning: Above it the current limit is lowered. [degC].
        temperature_limit: At it the hand stops. [degC].
        lowest_voltage: Below it the hand stops. [V].
    """

    baud_rate: int
    position_p: int = field(metadata=_GAIN)
    position_i: int = field(metadata=_GAIN)
    position_d: int = field(metadata=_GAIN)
    temperature_warning: float = field(metadata={'minimum': 20.0, 'maximum': 80.0, 'unit': 'degC'})
    temperature_limit: float = field(metadata={'minimum': 20.0, 'maximum': 80.0, 'unit': 'degC'})
    lowest_voltage: float = field(metadata={'minimum': 3.0, 'maximum': 14.0, 'unit': 'V'})

    def __post_init__(self) -> None:
        """Refuse a rate that no servo knows, and limits in the wrong order."""
        if self.baud_rate not in BAUD_RATES:
            known = ', '.join(str(rate) for rate in BAUD_RATES)
            raise ConfigurationError(f'The baud rate must be {known}, got {self.baud_rate}.')
        if self.temperature_warning >= self.temperature_limit:
            raise ConfigurationError(
                'temperature_warning must be below temperature_limit, got '
                f'{self.temperature_warning} and {self.temperature_limit} degC.'
            )


def check_motors(
    hand: str, motors: Mapping[str, MotorDescription], expected: tuple[str, ...]
) -> None:
    """Refuse a set of motors that does not fit the hand.

    Raises:
        ConfigurationError: Names are missing or unknown, or two motors share an id.
    """
    if set(motors) != set(expected):
        raise ConfigurationError(
            f'Hand {hand} needs the motors {", ".join(expected)}; '
            f'differing: {sorted(set(motors) ^ set(expected))}.'
        )
    double = [number for number, n in Counter(m.id for m in motors.values()).items() if n > 1]
    if double:
        raise ConfigurationError(
            f'Hand {hand}: the motor ids {double} are given twice; every motor needs its own.'
        )
