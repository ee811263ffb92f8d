# SPDX-License-Identifier: Apache-2.0
"""What sets one Dynamixel model apart from another."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

from deft_hand_driver.protocol.control_table import ControlTable, Field


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
