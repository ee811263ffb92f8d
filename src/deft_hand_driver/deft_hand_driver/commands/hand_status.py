# SPDX-License-Identifier: Apache-2.0
"""`deft hand status`: what every motor measures and how it is set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from deft_hand_driver.bus.client import BusClient
from deft_hand_driver.bus.discovery import choose_port
from deft_hand_driver.bus.errors import NoReplyError
from deft_hand_driver.bus.health import error_text
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.motors import MotorDescription
from dynamixel_simulator.motor_models import CENTRE_PULSE, RADIANS_PER_PULSE, motor_model

_NOT_WELL = 1
_HEAD = (
    'id', 'motor', 'torque', 'mode', 'position rad', 'current A', 'limit A', 'volt', 'degC',
    'watchdog', 'error',
)  # fmt: skip
_SILENT = ('no answer', *('-' for _ in _HEAD[3:]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand status`; none of its own."""
    del parser


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand status`; it reads only, and leaves torque as it is.

    Returns:
        0 when every motor answers without an error, else 1.
    """
    path = choose_port(arguments.port)
    description = load_hand_description(arguments.hand)
    rows: list[Sequence[object]] = []
    well = True
    with BusClient.open(path, description.bus.baud_rate) as client:
        for name in description.motor_names:
            motor = description.motors[name]
            try:
                row = _row(client, motor)
            except NoReplyError:
                row = _SILENT
            well = well and row is not _SILENT and row[-1] == '-'
            rows.append((motor.id, name, *row))
    print(f'{path} at {description.bus.baud_rate} bit/s, hand {description.name}')
    print_rows(_HEAD, rows)
    if all(row[2] == _SILENT[0] for row in rows):
        print('No motor answers; `deft hand scan` looks at the other baud rates.')
    return 0 if well else _NOT_WELL


def _row(client: BusClient, motor: MotorDescription) -> tuple[object, ...]:
    """Torque, mode, position, current, limit, voltage, temperature, watchdog, error."""
    model = motor_model(motor.model)
    table = model.control_table(client.ping(motor.id).firmware)

    def read(field: str) -> int:
        return client.read(motor.id, table, field)

    angle = (read('present_position') - CENTRE_PULSE) * RADIANS_PER_PULSE
    turns = motor.sign * motor.gear
    errors = read('hardware_error_status')
    return (
        'on' if read('torque_enable') else 'off',
        read('operating_mode'),
        f'{(angle - motor.zero) / turns:.3f}',
        f'{motor.sign * read("present_current") * model.current_scale:.3f}',
        f'{read("goal_current") * model.current_scale:.3f}',
        f'{read("present_input_voltage") * 0.1:.1f}',
        read('present_temperature'),
        read('bus_watchdog'),
        error_text(errors) if errors else '-',
    )
