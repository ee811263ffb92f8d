# SPDX-License-Identifier: Apache-2.0
"""Runs simulated servos in a process of their own: ``python -m dynamixel_simulator``.

Prints ``port PATH`` when clients can open it, then obeys `console.HELP` on its standard input
until SIGINT, SIGTERM or the word ``quit``. The end of the input does not end it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from deft_core.errors import DeftError, InvalidInputError
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.console import obey
from dynamixel_simulator.motor_models import BAUD_RATES, MODELS, motor_model
from dynamixel_simulator.packet import MAX_ID
from dynamixel_simulator.server import BusServer
from dynamixel_simulator.servo import DEFAULT_FIRMWARE, SimulatedServo


def main(arguments: list[str] | None = None) -> int:
    """Serve motors of one model until told to stop; exit status 2 when the arguments make none."""
    parser = server_parser('dynamixel_simulator')
    parser.add_argument('--model', required=True, help=', '.join(MODELS))
    parser.add_argument('--ids', type=_ids, default=[1], help='such as 1-12 or 1,5,7')
    parser.add_argument('--baud-rate', type=int, default=57600, help='[bit/s]')
    options = parser.parse_args(arguments)
    try:
        return serve(_bus(options), options)
    except DeftError as error:
        sys.stderr.write(f'{error}\n')
        return 2


def server_parser(module: str) -> argparse.ArgumentParser:
    """Parser with the options of every process that serves motors, run by ``python -m module``."""
    parser = argparse.ArgumentParser(
        prog=f'python -m {module}', description='Simulated Dynamixel servos on a pseudo-terminal.'
    )
    parser.add_argument('--firmware', type=int, default=DEFAULT_FIRMWARE)
    parser.add_argument('--link', type=Path, help='symbolic link to the port')
    parser.add_argument('--paced', action='store_true', help='answers take their time on the wire')
    parser.add_argument(
        '--any-baud-rate', action='store_true', help='servos hear whatever rate the client sets'
    )
    return parser


def serve(bus: SimulatedBus, options: argparse.Namespace) -> int:
    """Answer clients until a signal or `quit`; exit status 2 when the port cannot be opened."""
    try:
        server = BusServer(
            bus, options.link, paced=options.paced, any_baud_rate=options.any_baud_rate
        )
    except DeftError as error:
        sys.stderr.write(f'{error}\n')
        return 2
    stop = threading.Event()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server:
        _say(f'port {server.path}')
        threading.Thread(target=_listen, args=(server, stop), daemon=True).start()
        while server.running and not stop.wait(0.5):
            pass
    return 0


def _listen(server: BusServer, stop: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == 'quit':
            stop.set()
            return
        _say(obey(server, line))


def _say(text: str) -> None:
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()


def _bus(options: argparse.Namespace) -> SimulatedBus:
    model = motor_model(options.model)
    rates = BAUD_RATES[: 1 + model.control_table(options.firmware)['baud_rate'].maximum]
    if options.baud_rate not in rates:
        known = ', '.join(str(rate) for rate in rates)
        raise InvalidInputError(
            f'The baud rate of {model.name} must be one of {known}, got {options.baud_rate}.'
        )
    servos = []
    for identifier in options.ids:
        servo = SimulatedServo(model, identifier, options.firmware)
        servo.memory['baud_rate'] = BAUD_RATES.index(options.baud_rate)
        servos.append(servo)
    return SimulatedBus(servos)


def _ids(text: str) -> list[int]:
    found: list[int] = []
    for piece in text.split(','):
        first, _, last = piece.partition('-')
        if not first.isdecimal() or not (last or first).isdecimal():
            raise argparse.ArgumentTypeError(f'expected ids such as 1-12 or 1,5,7, got {text!r}')
        found += range(int(first), int(last or first) + 1)
    if not found or max(found) > MAX_ID:
        raise argparse.ArgumentTypeError(f'ids must be 0 to {MAX_ID}, got {text!r}')
    return found


if __name__ == '__main__':
    sys.exit(main())
