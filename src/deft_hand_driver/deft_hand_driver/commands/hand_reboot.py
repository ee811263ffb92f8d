# SPDX-License-Identifier: Apache-2.0
"""`deft hand reboot`: restart motors, which clears hardware errors."""

from __future__ import annotations

import argparse

from deft_hand_driver.bus.client import BusClient
from deft_hand_driver.bus.discovery import choose_port
from deft_hand_driver.bus.hand_motors import REBOOT_TIME
from deft_hand_driver.description import load_hand_description


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand reboot`."""
    parser.description = (
        'Restart motors. That clears hardware errors such as overload; torque is off afterwards, '
        'and the fingers open. Remove the cause first.'
    )
    parser.add_argument(
        'ids', type=int, nargs='*', metavar='ID', help='motors (default: those with an error)'
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand reboot`."""
    path = choose_port(arguments.port)
    description = load_hand_description(arguments.hand)
    chosen = list(arguments.ids)
    with BusClient.open(path, description.bus.baud_rate) as client:
        if not chosen:
            everyone = [motor.id for motor in description.ordered_motors()]
            chosen = [number for number in everyone if client.ping(number).alert]
        for number in chosen:
            client.reboot(number)
        for number in chosen:
            reply = client.wait_for(number, REBOOT_TIME)
            state = 'has still an error' if reply.alert else 'is back without errors'
            print(f'Motor {number} ({reply.model_name}) {state}.')
    if not chosen:
        print('No motor has an error; name ids to restart motors anyway.')
    return 0
