# SPDX-License-Identifier: Apache-2.0
"""`deft hand scan`, `status`, `set-id` and `reboot`: single motors, without moving them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from deft_core.errors import InvalidInputError
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import HandDescription, MotorDescription, load_hand_description
from deft_hand_driver.dynamixel.bus import DynamixelBus
from deft_hand_driver.dynamixel.discovery import (
    choose_port,
    complaints,
    find_motor,
    scan,
    scan_other_rates,
)
from deft_hand_driver.dynamixel.hand_motors import REBOOT_TIME
from deft_hand_driver.dynamixel.health import error_text
from deft_hand_driver.dynamixel.port import BusError, NoReplyError
from dynamixel_simulator.motor_models import (
    BAUD_RATES,
    CENTRE_PULSE,
    MODELS_BY_NUMBER,
    RADIANS_PER_PULSE,
    motor_model,
)
from dynamixel_simulator.packet import MAX_ID

_NOT_WELL: Final = 1
_SETTLING_TIME: Final = 1.0  # [s] after which a motor must answer at its new id and rate
_STATUS_HEAD: Final = (
    'id', 'motor', 'torque', 'mode', 'position rad', 'current A', 'limit A', 'volt', 'degC',
    'watchdog', 'error',
)  # fmt: skip
_SILENT: Final = ('no answer', *('-' for _ in _STATUS_HEAD[3:]))


def add_scan(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand scan`."""
    parser.add_argument(
        '--all-rates',
        action='store_true',
        help='look at every baud rate, even if motors answer at that of the hand',
    )
    parser.set_defaults(action_main=run_scan)


def add_status(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand status`; none of its own."""
    parser.set_defaults(action_main=run_status)


def add_set_id(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand set-id`."""
    parser.description = (
        'Give a motor another id, the baud rate of the hand, and no return delay. Motors come '
        'with id 1 and 57600 bit/s: connect one at a time. The motor is looked for at every baud '
        'rate.'
    )
    parser.add_argument('old', type=int, metavar='OLD', help='id that the motor has')
    parser.add_argument(
        'new', metavar='NEW', help='id that it gets, or the name of a motor of the hand'
    )
    parser.set_defaults(action_main=run_set_id)


def add_reboot(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand reboot`."""
    parser.description = (
        'Restart motors. That clears hardware errors such as overload; torque is off afterwards, '
        'and the fingers open. Remove the cause first.'
    )
    parser.add_argument(
        'ids', type=int, nargs='*', metavar='ID', help='motors (default: those with an error)'
    )
    parser.set_defaults(action_main=run_reboot)


def run_scan(arguments: argparse.Namespace) -> int:
    """Tell who is on the bus; 0 when the motors are those of the hand, else 1."""
    path, description = _target(arguments)
    names = {motor.id: name for name, motor in description.motors.items()}
    rate = description.bus.baud_rate
    here = scan(path, rate, sorted(names))
    print(f'{path} at {rate} bit/s, hand {description.name}')
    if here.motors:
        print_rows(
            ('id', 'motor', 'model', 'firmware', 'error'),
            [
                (
                    reply.identifier,
                    names.get(reply.identifier, '-'),
                    reply.model_name,
                    reply.firmware,
                    'yes' if reply.alert else '-',
                )
                for reply in here.motors
            ],
        )
    problems = complaints(here, description)
    for sentence in problems:
        print(sentence)
    if not here.stranger and (arguments.all_rates or not here.motors):
        elsewhere = scan_other_rates(path, rate)
        for other in elsewhere:
            ids = ', '.join(str(reply.identifier) for reply in other.motors) or 'garbled answers'
            print(
                f'At {other.baud_rate} bit/s: ids {ids}. `deft hand set-id` brings a motor to '
                f'{rate} bit/s.'
            )
        if not here.motors and not elsewhere:
            print('No motor answers at any baud rate: check supply and cable.')
    if not problems:
        print(f'All {len(names)} motors of the hand are there.')
    return _NOT_WELL if problems else 0


def run_status(arguments: argparse.Namespace) -> int:
    """Read every motor and leave torque as it is; 0 when all answer without an error, else 1."""
    path, description = _target(arguments)
    rows: list[Sequence[object]] = []
    well = True
    with DynamixelBus.open(path, description.bus.baud_rate) as bus:
        for name in description.motor_names:
            motor = description.motors[name]
            try:
                row = _status_row(bus, motor)
            except NoReplyError:
                row = _SILENT
            well = well and row is not _SILENT and row[-1] == '-'
            rows.append((motor.id, name, *row))
    print(f'{path} at {description.bus.baud_rate} bit/s, hand {description.name}')
    print_rows(_STATUS_HEAD, rows)
    if all(row[2] == _SILENT[0] for row in rows):
        print('No motor answers; `deft hand scan` looks at the other baud rates.')
    return 0 if well else _NOT_WELL


def run_set_id(arguments: argparse.Namespace) -> int:
    """Give a motor its id and the baud rate of the hand."""
    path, description = _target(arguments)
    old = _checked(arguments.old)
    motor = description.motors.get(arguments.new)
    new = motor.id if motor is not None else _number(arguments.new, list(description.motors))
    rate = description.bus.baud_rate
    found_at = find_motor(path, old, rate)
    if new != old:
        _require_free(path, new, {rate, found_at})
    with DynamixelBus.open(path, found_at) as bus:
        reply = bus.ping(old)
        model = MODELS_BY_NUMBER.get(reply.model_number)
        if model is None:
            raise BusError(
                f'Motor {old} is of {reply.model_name}, which this driver does not know.'
            )
        if motor is not None and model.name != motor.model:
            raise BusError(
                f'Motor {old} is a {model.name}, but {arguments.new} is to be a {motor.model}.'
            )
        table = model.control_table(reply.firmware)
        bus.write(old, table, 'torque_enable', 0)
        bus.write(old, table, 'return_delay_time', 0)
        bus.write(old, table, 'id', new)
        if found_at != rate:
            bus.write(new, table, 'baud_rate', BAUD_RATES.index(rate))
    with DynamixelBus.open(path, rate) as bus:
        bus.wait_for(new, _SETTLING_TIME)
    print(f'The {model.name} with id {old} at {found_at} bit/s has id {new} at {rate} bit/s now.')
    return 0


def run_reboot(arguments: argparse.Namespace) -> int:
    """Restart the chosen motors, or those with an error."""
    path, description = _target(arguments)
    chosen = list(arguments.ids)
    with DynamixelBus.open(path, description.bus.baud_rate) as bus:
        if not chosen:
            everyone = [motor.id for motor in description.ordered_motors()]
            chosen = [number for number in everyone if bus.ping(number).alert]
        for number in chosen:
            bus.reboot(number)
        for number in chosen:
            reply = bus.wait_for(number, REBOOT_TIME)
            state = 'has still an error' if reply.alert else 'is back without errors'
            print(f'Motor {number} ({reply.model_name}) {state}.')
    if not chosen:
        print('No motor has an error; name ids to restart motors anyway.')
    return 0


def _target(arguments: argparse.Namespace) -> tuple[str, HandDescription]:
    return choose_port(arguments.port), load_hand_description(arguments.hand)


def _status_row(bus: DynamixelBus, motor: MotorDescription) -> tuple[object, ...]:
    """Torque, mode, position, current, limit, voltage, temperature, watchdog, error."""
    model = motor_model(motor.model)
    table = model.control_table(bus.ping(motor.id).firmware)

    def read(field: str) -> int:
        return bus.read(motor.id, table, field)

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


def _number(text: str, names: list[str]) -> int:
    if not text.isdecimal():
        raise InvalidInputError(
            f'The new id must be 0 to {MAX_ID} or one of {", ".join(names)}, got {text!r}.'
        )
    return _checked(int(text))


def _checked(identifier: int) -> int:
    if not 0 <= identifier <= MAX_ID:
        raise InvalidInputError(f'A motor id must be 0 to {MAX_ID}, got {identifier}.')
    return identifier


def _require_free(path: str, identifier: int, rates: set[int]) -> None:
    for rate in rates:
        with DynamixelBus.open(path, rate) as bus:
            if any(bus.look_for(identifier)):
                raise BusError(
                    bus.stranger()
                    or f'A motor with id {identifier} is on the bus already; connect one motor '
                    'at a time, or choose another id.'
                )
