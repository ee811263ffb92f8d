# SPDX-License-Identifier: Apache-2.0
"""Commands for a running bus, one a line, as they come on the standard input of its process."""

from __future__ import annotations

from typing import Final

from deft_core.errors import DeftError, InvalidInputError
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.server import BusServer

HELP: Final = """\
fault ID|all KIND [N]     switch a fault on; N answers, or N seconds for delay
fault bus echo
clear ID|all              switch faults off; latched errors stay until a reboot
load ID TORQUE            torque on the horn [N m]
port gone|back            pull the adapter out, or put it back
help
kinds: {kinds}
"""


def obey(server: BusServer, line: str) -> str:
    """Do what a line of `HELP` says; ``ok``, the help, or ``error: `` and why."""
    try:
        return _obey(server, line.split())
    except DeftError as error:
        return f'error: {error}'


def _obey(server: BusServer, words: list[str]) -> str:
    match words:
        case []:
            return 'ok'
        case ['help']:
            return HELP.format(kinds=', '.join(fault.value for fault in Fault))
        case ['port', 'gone']:
            server.unplug_port()
        case ['port', 'back']:
            server.plug_port()
        case ['fault', 'bus', 'echo']:
            server.bus.inject(Fault.ECHO)
        case ['fault', who, kind, *rest] if len(rest) <= 1:
            _inject(server, who, kind, rest)
        case ['clear', who]:
            server.bus.clear(_identifier(who))
        case ['load', who, torque]:
            with server.bus.lock:
                server.bus.servo(_integer(who)).motor.load_torque = _number(torque)
        case _:
            raise InvalidInputError(f'unknown command {" ".join(words)!r}; try help')
    return 'ok'


def _inject(server: BusServer, who: str, kind: str, rest: list[str]) -> None:
    try:
        fault = Fault(kind)
    except ValueError:
        kinds = ', '.join(fault.value for fault in Fault)
        raise InvalidInputError(f'a fault must be one of {kinds}, got {kind!r}') from None
    if not rest:
        server.bus.inject(fault, _identifier(who))
    elif fault is Fault.DELAY:
        server.bus.inject(fault, _identifier(who), lateness=_number(rest[0]))
    else:
        server.bus.inject(fault, _identifier(who), answers=_integer(rest[0]))


def _identifier(word: str) -> int | None:
    return None if word == 'all' else _integer(word)


def _integer(word: str) -> int:
    if not word.isdecimal():
        raise InvalidInputError(f'expected a whole number, got {word!r}')
    return int(word)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InvalidInputError(f'expected a number, got {word!r}') from None
