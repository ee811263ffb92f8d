# SPDX-License-Identifier: Apache-2.0
"""`deft hand set-id`: give a motor its id and the baud rate of the hand."""

from __future__ import annotations

import argparse

from deft_core.errors import InvalidInputError
from deft_hand_driver.bus.client import BusClient
from deft_hand_driver.bus.discovery import choose_port, find_motor
from deft_hand_driver.bus.errors import BusError
from deft_hand_driver.description import load_hand_description
from dynamixel_simulator.motor_models import BAUD_RATES, MODELS_BY_NUMBER
from dynamixel_simulator.packet import MAX_ID

_SETTLING_TIME = 1.0  # [s] after which a motor must answer at its new id and rate


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand set-id`."""
    path = choose_port(arguments.port)
    description = load_hand_description(arguments.hand)
    old = _checked(arguments.old)
    motor = description.motors.get(arguments.new)
    new = motor.id if motor is not None else _number(arguments.new, list(description.motors))
    rate = description.bus.baud_rate
    found_at = find_motor(path, old, rate)
    if new != old:
        _require_free(path, new, {rate, found_at})
    with BusClient.open(path, found_at) as client:
        reply = client.ping(old)
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
        client.write(old, table, 'torque_enable', 0)
        client.write(old, table, 'return_delay_time', 0)
        client.write(old, table, 'id', new)
        if found_at != rate:
            client.write(new, table, 'baud_rate', BAUD_RATES.index(rate))
    with BusClient.open(path, rate) as client:
        client.wait_for(new, _SETTLING_TIME)
    print(f'The {model.name} with id {old} at {found_at} bit/s has id {new} at {rate} bit/s now.')
    return 0


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
        with BusClient.open(path, rate) as client:
            if client.ping_all_answers(identifier) or client.answers_garbled(identifier):
                raise BusError(
                    f'A motor with id {identifier} is on the bus already; connect one motor at a '
                    'time, or choose another id.'
                )
