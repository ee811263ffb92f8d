# SPDX-License-Identifier: Apache-2.0
"""Control tables and data sheets of the motors that drive hands.

Source: e-Manual pages of XL330-M288, XC330-M288, XC330-T288 and XM430-W350.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from deft_core.errors import InvalidInputError
from dynamixel_simulator.control_table import ControlTable, Field

PULSES_PER_TURN: Final = 4096
CENTRE_PULSE: Final = 2048  # of Present Position where DEFT counts 0 rad
RADIANS_PER_PULSE: Final = 2.0 * math.pi / PULSES_PER_TURN
RADIANS_PER_SECOND: Final = (
    0.0239691  # one count of velocity, which the manual rounds to 0.229 rpm
)
RADIANS_PER_SECOND_SQUARED: Final = 214.577 * 2.0 * math.pi / 3600.0  # of profile acceleration
WATCHDOG_PERIOD: Final = 0.020  # [s] per count of bus_watchdog
WATCHDOG_EXPIRED: Final = 255  # what bus_watchdog reads then, -1 as one byte
RETURN_DELAY_UNIT: Final = 2e-6  # [s] per count of return_delay_time
BAUD_RATES: Final = (9600, 57600, 115200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)
# Codes of baud_rate are places in this list; the last is for XM430 alone.


class OperatingMode(enum.IntEnum):
    """Values of the field `operating_mode`."""

    CURRENT = 0
    VELOCITY = 1
    POSITION = 3
    EXTENDED_POSITION = 4
    CURRENT_BASED_POSITION = 5
    PWM = 16


class HardwareError(enum.IntFlag):
    """Bits of the fields `hardware_error_status` and `shutdown`."""

    INPUT_VOLTAGE = 0x01
    OVERHEATING = 0x04
    ENCODER = 0x08
    ELECTRICAL_SHOCK = 0x10
    OVERLOAD = 0x20


class DriveMode(enum.IntFlag):
    """Bits of the field `drive_mode`."""

    REVERSE = 0x01
    TIME_BASED_PROFILE = 0x04
    TORQUE_ON_BY_GOAL_UPDATE = 0x08


@dataclass(frozen=True)
class MotorSpecification:
    """Numbers of the data sheet, at the recommended voltage.

    Attributes:
        voltage: Recommended supply. [V].
        stall_torque: [N m].
        stall_current: [A].
        no_load_speed: At the horn. [rad/s].
        gear_ratio: Motor turns per horn turn.
        standby_current: [A].
        mass: [kg].
    """

    voltage: float
    stall_torque: float
    stall_current: float
    no_load_speed: float
    gear_ratio: float
    standby_current: float
    mass: float

    @property
    def torque_per_current(self) -> float:
        """At the horn, from the stall point; friction makes it smaller at low current. [N m/A]."""
        return self.stall_torque / self.stall_current


@dataclass(frozen=True)
class MotorModel:
    """One model with its control table.

    Attributes:
        name: As in `config/hands`, such as ``XC330-M288``.
        number: Value of the field `model_number`.
        fields: Every field without the indirect ones, which depend on the firmware.
        fast_sync_read_firmware: First firmware with fast sync read and fast bulk read.
        specification: Data sheet.
        few_indirect_until: Last firmware with 20 indirect bytes at 208 instead of 28 at 224; 0
            when there is none.
        far_indirect: Whether indirect addresses 29 to 56 exist at 578 and 634.
    """

    name: str
    number: int
    fields: tuple[Field, ...]
    fast_sync_read_firmware: int
    specification: MotorSpecification
    few_indirect_until: int = 0
    far_indirect: bool = False

    @cached_property
    def current_scale(self) -> float:
        """Amperes per count of currents. [A]."""
        return next(field.scale for field in self.fields if field.name == 'present_current')

    def control_table(self, firmware: int) -> ControlTable:
        """Memory of this model with a firmware.

        Args:
            firmware: Value of the field `firmware_version`.

        Returns:
            With the indirect fields `indirect_address_1`..., `indirect_data_1`....
        """
        if firmware <= self.few_indirect_until:
            blocks = [(1, 20, 168, 208)]
        else:
            blocks = [(1, 28, 168, 224)]
        if self.far_indirect:
            blocks.append((29, 28, 578, 634))
        last = max(data + count - 1 for _, count, _, data in blocks)
        indirect = []
        for first, count, addresses, data in blocks:
            for slot in range(count):
                indirect.append(
                    Field(
                        name=f'indirect_address_{first + slot}',
                        address=addresses + 2 * slot,
                        size=2,
                        writable=True,
                        default=data + slot,
                        minimum=64,
                        maximum=last,
                    )
                )
                indirect.append(
                    Field(
                        name=f'indirect_data_{first + slot}',
                        address=data + slot,
                        size=1,
                        writable=True,
                        default=0,
                        minimum=0,
                        maximum=255,
                    )
                )
        return ControlTable((*self.fields, *indirect))


_RPM: Final = 2.0 * math.pi / 60.0
_FULL: Final = 2**31


def _read(name: str, address: int, size: int, default: int | None = None) -> Field:
    return Field(name, address, size, default=default)


def _write(name: str, address: int, size: int, default: int, minimum: int, maximum: int) -> Field:
    return Field(name, address, size, True, default, minimum, maximum, signed=minimum < 0)


def _goal(name: str, address: int, size: int, limit: str) -> Field:
    extreme = 2 ** (8 * size - 1)
    return Field(name, address, size, True, None, -extreme, extreme - 1, limit, signed=True)


def _measured(name: str, address: int, size: int) -> Field:
    return Field(name, address, size, signed=True)


# XL330-M288; the others differ in what `_table` is given.
_COMMON: Final = (
    _read('model_number', 0, 2),
    _read('model_information', 2, 4, 0),
    _read('firmware_version', 6, 1),
    _write('id', 7, 1, 1, 0, 252),
    _write('baud_rate', 8, 1, 1, 0, 6),
    _write('return_delay_time', 9, 1, 250, 0, 254),
    _write('drive_mode', 10, 1, 0, 0, 13),
    _write('operating_mode', 11, 1, 3, 0, 16),
    # Values from 253 on switch the second id off.
    _write('secondary_id', 12, 1, 255, 0, 255),
    _write('protocol_type', 13, 1, 2, 2, 22),
    _write('homing_offset', 20, 4, 0, -1_044_479, 1_044_479),
    _write('moving_threshold', 24, 4, 10, 0, 1023),
    _write('temperature_limit', 31, 1, 70, 0, 100),
    _write('max_voltage_limit', 32, 2, 70, 31, 70),
    _write('min_voltage_limit', 34, 2, 35, 31, 70),
    _write('pwm_limit', 36, 2, 885, 0, 885),
    _write('current_limit', 38, 2, 1750, 0, 1750),
    _write('velocity_limit', 44, 4, 445, 0, 2047),
    _write('max_position_limit', 48, 4, 4095, 0, 4095),
    _write('min_position_limit', 52, 4, 0, 0, 4095),
    _write('startup_configuration', 60, 1, 0, 0, 3),
    _write('pwm_slope', 62, 1, 140, 1, 255),
    _write('shutdown', 63, 1, 0x35, 0, 0x3D),
    _write('torque_enable', 64, 1, 0, 0, 1),
    _write('led', 65, 1, 0, 0, 1),
    _write('status_return_level', 68, 1, 2, 0, 2),
    _read('registered_instruction', 69, 1, 0),
    _read('hardware_error_status', 70, 1, 0),
    _write('velocity_i_gain', 76, 2, 1600, 0, 16383),
    _write('velocity_p_gain', 78, 2, 180, 0, 16383),
    _write('position_d_gain', 80, 2, 0, 0, 16383),
    _write('position_i_gain', 82, 2, 0, 0, 16383),
    _write('position_p_gain', 84, 2, 400, 0, 16383),
    _write('feedforward_2nd_gain', 88, 2, 0, 0, 16383),
    _write('feedforward_1st_gain', 90, 2, 0, 0, 16383),
    _write('bus_watchdog', 98, 1, 0, 0, 127),
    _goal('goal_pwm', 100, 2, 'pwm_limit'),
    _goal('goal_current', 102, 2, 'current_limit'),
    _goal('goal_velocity', 104, 4, 'velocity_limit'),
    _write('profile_acceleration', 108, 4, 0, 0, 32767),
    _write('profile_velocity', 112, 4, 0, 0, 32767),
    _goal('goal_position', 116, 4, ''),
    _read('realtime_tick', 120, 2),
    _read('moving', 122, 1, 0),
    _read('moving_status', 123, 1, 0),
    _measured('present_pwm', 124, 2),
    _measured('present_current', 126, 2),
    _measured('present_velocity', 128, 4),
    _measured('present_position', 132, 4),
    _measured('velocity_trajectory', 136, 4),
    _measured('position_trajectory', 140, 4),
    _read('present_input_voltage', 144, 2),
    _read('present_temperature', 146, 1),
    _read('backup_ready', 147, 1, 0),
)

_UNITS: Final = {
    'return_delay_time': ('s', RETURN_DELAY_UNIT),
    'homing_offset': ('rad', RADIANS_PER_PULSE),
    'moving_threshold': ('rad/s', RADIANS_PER_SECOND),
    'temperature_limit': ('degC', 1.0),
    'max_voltage_limit': ('V', 0.1),
    'min_voltage_limit': ('V', 0.1),
    'pwm_limit': ('share', 1.0 / 885.0),
    'velocity_limit': ('rad/s', RADIANS_PER_SECOND),
    'max_position_limit': ('rad', RADIANS_PER_PULSE),
    'min_position_limit': ('rad', RADIANS_PER_PULSE),
    'bus_watchdog': ('s', WATCHDOG_PERIOD),
    'goal_pwm': ('share', 1.0 / 885.0),
    'goal_velocity': ('rad/s', RADIANS_PER_SECOND),
    'profile_acceleration': ('rad/s^2', RADIANS_PER_SECOND_SQUARED),
    'profile_velocity': ('rad/s', RADIANS_PER_SECOND),
    'goal_position': ('rad', RADIANS_PER_PULSE),
    'realtime_tick': ('s', 0.001),
    'present_pwm': ('share', 1.0 / 885.0),
    'present_velocity': ('rad/s', RADIANS_PER_SECOND),
    'present_position': ('rad', RADIANS_PER_PULSE),
    'velocity_trajectory': ('rad/s', RADIANS_PER_SECOND),
    'position_trajectory': ('rad', RADIANS_PER_PULSE),
    'present_input_voltage': ('V', 0.1),
    'present_temperature': ('degC', 1.0),
}
_CURRENTS: Final = ('current_limit', 'goal_current', 'present_current')


def _table(
    number: int,
    current_scale: float,
    without: tuple[str, ...] = (),
    ranges: dict[str, tuple[int, int, int]] | None = None,
    **defaults: int,
) -> tuple[Field, ...]:
    """Fields of a model.

    Args:
        number: Model number.
        current_scale: Of one count of current. [A].
        without: Fields of the common table that it lacks.
        ranges: Default, minimum and maximum, where these differ from the common table.
        defaults: Default alone, where that differs.
    """
    fields = []
    for field in _COMMON:
        if field.name in without:
            continue
        unit, scale = _UNITS.get(field.name, ('', 1.0))
        if field.name in _CURRENTS:
            unit, scale = 'A', current_scale
        changed = replace(field, unit=unit, scale=scale)
        if field.name == 'model_number':
            changed = replace(changed, default=number)
        if ranges is not None and field.name in ranges:
            default, minimum, maximum = ranges[field.name]
            changed = replace(changed, default=default, minimum=minimum, maximum=maximum)
        if field.name in defaults:
            changed = replace(changed, default=defaults[field.name])
        fields.append(changed)
    return tuple(fields)


XL330_M288: Final = MotorModel(
    name='XL330-M288',
    number=1200,
    fields=_table(1200, 0.001),
    fast_sync_read_firmware=46,
    specification=MotorSpecification(
        voltage=5.0,
        stall_torque=0.52,
        stall_current=1.47,
        no_load_speed=103.0 * _RPM,
        gear_ratio=288.4,
        standby_current=0.017,
        mass=0.018,
    ),
    few_indirect_until=52,
)
XC330_M288: Final = MotorModel(
    name='XC330-M288',
    number=1240,
    fields=_table(
        1240,
        0.001,
        ranges={'current_limit': (2352, 0, 2352)},
        velocity_limit=350,
        shutdown=0x34,
        velocity_p_gain=50,
        position_d_gain=500,
        position_p_gain=1100,
    ),
    fast_sync_read_firmware=46,
    specification=MotorSpecification(
        voltage=5.0,
        stall_torque=0.93,
        stall_current=1.80,
        no_load_speed=81.0 * _RPM,
        gear_ratio=288.4,
        standby_current=0.029,
        mass=0.023,
    ),
    few_indirect_until=52,
)
XC330_T288: Final = MotorModel(
    name='XC330-T288',
    number=1220,
    fields=_table(
        1220,
        0.001,
        ranges={
            'current_limit': (910, 0, 910),
            'max_voltage_limit': (140, 55, 140),
            'min_voltage_limit': (55, 55, 140),
        },
        velocity_limit=320,
        pwm_slope=255,
        shutdown=0x34,
        velocity_i_gain=1200,
        velocity_p_gain=40,
        position_p_gain=900,
    ),
    fast_sync_read_firmware=46,
    specification=MotorSpecification(
        voltage=11.1,
        stall_torque=0.92,
        stall_current=0.80,
        no_load_speed=75.0 * _RPM,
        gear_ratio=288.4,
        standby_current=0.017,
        mass=0.023,
    ),
    few_indirect_until=52,
)
XM430_W350: Final = MotorModel(
    name='XM430-W350',
    number=1020,
    fields=_table(
        1020,
        0.00269,
        without=('startup_configuration', 'pwm_slope', 'backup_ready'),
        ranges={
            'baud_rate': (1, 0, 7),
            'temperature_limit': (80, 0, 100),
            'max_voltage_limit': (160, 95, 160),
            'min_voltage_limit': (95, 95, 160),
            'current_limit': (1193, 0, 1193),
            'velocity_limit': (350, 0, 1023),
        },
        shutdown=0x34,
        velocity_i_gain=1920,
        velocity_p_gain=100,
        position_p_gain=800,
    ),
    fast_sync_read_firmware=45,
    specification=MotorSpecification(
        voltage=12.0,
        stall_torque=4.1,
        stall_current=2.3,
        no_load_speed=46.0 * _RPM,
        gear_ratio=353.5,
        standby_current=0.040,
        mass=0.082,
    ),
    far_indirect=True,
)
MODELS: Final = {model.name: model for model in (XL330_M288, XC330_M288, XC330_T288, XM430_W350)}
MODELS_BY_NUMBER: Final = {model.number: model for model in MODELS.values()}


def motor_model(name: str) -> MotorModel:
    """Model of a name.

    Args:
        name: Such as ``XC330-M288``.

    Returns:
        Its table and data sheet.

    Raises:
        InvalidInputError: It is not one of `MODELS`.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise InvalidInputError(
            f'The motor model must be one of {", ".join(MODELS)}, got {name!r}.'
        ) from None
