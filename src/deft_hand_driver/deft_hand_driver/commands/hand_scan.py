# SPDX-License-Identifier: Apache-2.0
"""`deft hand scan`: who is on the bus."""

from __future__ import annotations

import argparse

from deft_hand_driver.bus.discovery import choose_port, complaints, scan, scan_other_rates
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import load_hand_description

_INCOMPLETE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand scan`."""
    parser.add_argument(
        '--all-rates',
        action='store_true',
        help='look at every baud rate, even if motors answer at that of the hand',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand scan`.

    Returns:
        0 when the motors are those of the hand, else 1.
    """
    path = choose_port(arguments.port)
    description = load_hand_description(arguments.hand)
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
    if arguments.all_rates or not here.motors:
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
    return _INCOMPLETE if problems else 0
