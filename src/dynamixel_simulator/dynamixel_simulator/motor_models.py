# SPDX-License-Identifier: Apache-2.0
"""Control tables and data sheets of the motors that drive hands.

Source: e-Manual pages of XL330-M288, XC330-M288, XC330-T288 and XM430-W350. The tables hold the
registers that the driver, the LEAP hand and LeRobot use; the others read 0 and refuse writes.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from typing import Final

from deft_core.errors import InvalidInputError
from dynamixel_simulator.control_table import ControlTable, Field

PULSES_PER_TURN: Final = 4096
CENTRE_PULSE: Final = 2048  # of Present Position where DEFT counts 0 rad
RADIANS_PER_PULSE: Final = 2.0 * math.pi / PULSES_PER_TURN
RADIANS_PER_SECOND: Final = 0.0239691  # one count of velocity; the manual says 0.229 rpm
WATCHDOG_PERIOD: Final = 0.020  # [s] per count of bus_watchdog
WATCHDOG_EXPIRED: Final = 255  # what bus_watchdog reads then, -1 as one byte
RETURN_DELAY_UNIT: Final = 2e-6  # [s] per count of return_delay_time
REVERSE: Final = 1  # bit of drive_mode
BAUD_RATES: Final = (9600, 57600, 115200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)
# Codes of baud_rate are places in this list; the last is for XM430 alone.

_RPM: Final = 2.0 * math.pi / 60.0


class OperatingMode(enum.IntEnum):
    """Values of the field `operating_mode`; the modes for wheels and bare torque are left out."""

    POSITION = 3
    EXTENDED_POSITION = 4
    CURRENT_BASED_POSITION = 5


class HardwareError(enum.IntFlag):
    """Bits of the fields `hardware_error_status` and `shutdown`."""

    INPUT_VOLTAGE = 0x01
    OVERHEATING = 0x04
    ENCODER = 0x08
    ELECTRICAL_SHOCK = 0x10
    OVERLOAD = 0x20


@dataclass(frozen=True)
class MotorSpecification:
    """Numbers of the data sheet, at the recommended voltage."""

    voltage: float  # recommended supply [V]
    stall_torque: float  # [N m]
    stall_current: float  # [A]
    no_load_speed: float  # at the horn [rad/s]
    mass: float  # [kg]


@dataclass(frozen=True)
class MotorModel:
    """One model with its control table."""

    name: str  # as in `config/hands`, such as ``XC330-M288``
    number: int  # value of the field `model_number`
    current_scale: float  # of one count of current [A]
    # every field without the indirect ones, which depend on the firmware
    fields: tuple[Field, ...]
    fast_sync_read_firmware: int  # first firmware with fast sync read
    specification: MotorSpecification  # data sheet
    few_indirect_until: int  # last firmware with 20 indirect bytes at 208 instead of 28 at 224

    def control_table(self, firmware: int) -> ControlTable:
        """Memory with a firmware, which decides about `indirect_address_1`... and their data."""
        few = firmware <= self.few_indirect_until
        count, data = (20, 208) if few else (28, 224)
        indirect = []
        for slot in range(count):
            name, place = slot + 1, data + slot
            indirect += [
                _write(f'indirect_address_{name}', 168 + 2 * slot, 2, place, 64, data + count - 1),
                _write(f'indirect_data_{name}', place, 1, 0, 0, 255),
            ]
        return ControlTable((*self.fields, *indirect))


def _read(name: str, address: int, size: int, signed: bool = False) -> Field:
    return Field(name, address, size, signed=signed)


def _write(name: str, address: int, size: int, default: int, minimum: int, maximum: int) -> Field:
    return Field(name, address, size, True, default, minimum, maximum, signed=minimum < 0)


# XL330-M288; the others differ in what `_model` is given.
_COMMON: Final = (
    _read('model_number', 0, 2),
    _read('firmware_version', 6, 1),
    _write('id', 7, 1, 1, 0, 252),
    _write('baud_rate', 8, 1, 1, 0, 6),
    _write('return_delay_time', 9, 1, 250, 0, 254),
    _write('drive_mode', 10, 1, 0, 0, REVERSE),
    _write('operating_mode', 11, 1, 3, 3, 5),
    _write('homing_offset', 20, 4, 0, -1_044_479, 1_044_479),
    _write('temperature_limit', 31, 1, 70, 0, 100),
    _write('max_voltage_limit', 32, 2, 70, 31, 70),
    _write('min_voltage_limit', 34, 2, 35, 31, 70),
    _write('current_limit', 38, 2, 1750, 0, 1750),
    _write('max_position_limit', 48, 4, 4095, 0, 4095),
    _write('min_position_limit', 52, 4, 0, 0, 4095),
    _write('shutdown', 63, 1, 0x35, 0, 0x3D),
    _write('torque_enable', 64, 1, 0, 0, 1),
    _write('led', 65, 1, 0, 0, 1),
    _write('status_return_level', 68, 1, 2, 0, 2),
    _read('hardware_error_status', 70, 1),
    _write('position_d_gain', 80, 2, 0, 0, 16383),
    _write('position_i_gain', 82, 2, 0, 0, 16383),
    _write('position_p_gain', 84, 2, 400, 0, 16383),
    _write('bus_watchdog', 98, 1, 0, 0, 127),
    _write('goal_current', 102, 2, 0, -(2**15), 2**15 - 1),
    _write('profile_velocity', 112, 4, 0, 0, 32767),
    _write('goal_position', 116, 4, 0, -(2**31), 2**31 - 1),
    _read('present_current', 126, 2, signed=True),
    _read('present_velocity', 128, 4, signed=True),
    _read('present_position', 132, 4, signed=True),
    _read('present_input_voltage', 144, 2),
    _read('present_temperature', 146, 1),
)


def _model(
    name: str,
    number: int,
    specification: MotorSpecification,
    current_scale: float = 0.001,
    fast_sync_read_firmware: int = 46,
    few_indirect_until: int = 52,
    **differences: int | tuple[int, int, int],
) -> MotorModel:
    """A model; by field what differs from `_COMMON`: default, or default, minimum and maximum."""
    differences['model_number'] = number
    fields = []
    for field in _COMMON:
        wanted = differences.get(field.name, field.default)
        values = wanted if isinstance(wanted, tuple) else (wanted, field.minimum, field.maximum)
        default, minimum, maximum = values
        fields.append(replace(field, default=default, minimum=minimum, maximum=maximum))
    return MotorModel(
        name,
        number,
        current_scale,
        tuple(fields),
        fast_sync_read_firmware,
        specification,
        few_indirect_until,
    )


XL330_M288: Final = _model(
    'XL330-M288', 1200, MotorSpecification(5.0, 0.52, 1.47, 103.0 * _RPM, mass=0.018)
)
XC330_M288: Final = _model(
    'XC330-M288',
    1240,
    MotorSpecification(5.0, 0.93, 1.80, 81.0 * _RPM, mass=0.023),
    current_limit=(2352, 0, 2352),
    shutdown=0x34,
    position_d_gain=500,
    position_p_gain=1100,
)
XC330_T288: Final = _model(
    'XC330-T288',
    1220,
    MotorSpecification(11.1, 0.92, 0.80, 75.0 * _RPM, mass=0.023),
    current_limit=(910, 0, 910),
    max_voltage_limit=(140, 55, 140),
    min_voltage_limit=(55, 55, 140),
    shutdown=0x34,
    position_p_gain=900,
)
XM430_W350: Final = _model(
    'XM430-W350',
    1020,
    MotorSpecification(12.0, 4.1, 2.3, 46.0 * _RPM, mass=0.082),
    current_scale=0.00269,
    fast_sync_read_firmware=45,
    few_indirect_until=0,
    baud_rate=(1, 0, 7),
    temperature_limit=(80, 0, 100),
    max_voltage_limit=(160, 95, 160),
    min_voltage_limit=(95, 95, 160),
    current_limit=(1193, 0, 1193),
    shutdown=0x34,
    position_p_gain=800,
)
MODELS: Final = {model.name: model for model in (XL330_M288, XC330_M288, XC330_T288, XM430_W350)}
MODELS_BY_NUMBER: Final = {model.number: model for model in MODELS.values()}


def motor_model(name: str) -> MotorModel:
    """Model of a name such as ``XC330-M288``.

    Raises:
        InvalidInputError: It is not one of `MODELS`.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise InvalidInputError(
            f'The motor model must be one of {", ".join(MODELS)}, got {name!r}.'
        ) from None
