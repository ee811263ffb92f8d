# SPDX-License-Identifier: Apache-2.0
"""Who is on a bus: ports, baud rates, ids that are missing, shared or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deft_hand_driver.description import HandDescription
from deft_hand_driver.dynamixel.bus import DynamixelBus, PingReply
from deft_hand_driver.dynamixel.port import BusError, NoReplyError, PortError, serial_ports
from dynamixel_simulator.motor_models import BAUD_RATES, motor_model
from dynamixel_simulator.packet import MAX_ID

# The rates that motors of a hand are usually set to come first: factory, common, fast.
SCAN_RATES: Final = (57600, 1_000_000, 4_000_000, 3_000_000, 2_000_000, 115200, 9600)
_SWEEP_MARGIN: Final = 0.02  # [s] for each of all ids
_ALL_IDS: Final = range(MAX_ID + 1)
assert set(SCAN_RATES) <= set(BAUD_RATES)


@dataclass(frozen=True)
class Scan:
    """What answered at one baud rate.

    Attributes:
        baud_rate: [bit/s].
        garbled: Ids whose answers make no packet, as when motors share them.
        stranger: What is there in place of motors, else empty.
    """

    baud_rate: int
    motors: tuple[PingReply, ...]
    garbled: tuple[int, ...]
    stranger: str = ''


def choose_port(given: str | None) -> str:
    """The port that was given, or the only serial adapter there is."""
    if given is not None:
        return given
    found = serial_ports()
    if len(found) == 1:
        return found[0]
    if not found:
        raise PortError(
            'No serial adapter is plugged in (/dev/serial/by-id is empty); name a port with '
            '--port.'
        )
    raise PortError(f'Choose one of these serial adapters with --port: {", ".join(found)}.')


def scan(path: str, baud_rate: int, expected: Sequence[int] = ()) -> Scan:
    """Ask who is there at one baud rate.

    Args:
        path: Of the port.
        baud_rate: [bit/s].
        expected: Ids that are asked one by one where the common question brings no answer.
    """
    with DynamixelBus.open(path, baud_rate) as bus:
        skipped = bus.port.reader.skipped_bytes
        found = {reply.identifier: reply for reply in bus.broadcast_ping()}
        noisy = bus.port.reader.skipped_bytes > skipped or bool(bus.port.reader.pending)
        # Where all motors of a hand are silent, somebody else may speak.
        doubtful = noisy or (expected and not found)
        if doubtful and (stranger := bus.stranger()):
            return Scan(baud_rate, (), (), stranger)
        garbled = []
        # Motors that share an id garble each other; then every id is asked alone.
        for identifier in _ALL_IDS if noisy else expected:
            if identifier in found:
                continue
            answers, noise = bus.look_for(identifier, _SWEEP_MARGIN)
            if noise:  # once is no proof
                answers, noise = bus.look_for(identifier, _SWEEP_MARGIN)
            if answers:
                found[identifier] = answers[0]
            elif noise:
                garbled.append(identifier)
    return Scan(baud_rate, tuple(sorted(found.values())), tuple(garbled))


def scan_other_rates(path: str, but: int) -> list[Scan]:
    """Baud rates at which motors answer, other than one."""
    found = [scan(path, rate) for rate in SCAN_RATES if rate != but]
    return [result for result in found if result.motors or result.garbled]


def find_motor(path: str, identifier: int, first_rate: int) -> int:
    """Baud rate at which one motor answers.

    Args:
        path: Of the port.
        identifier: Its id.
        first_rate: Rate to try first. [bit/s].

    Raises:
        NoReplyError: It answers at none.
        BusError: Several motors answer to the id.
    """
    for rate in (first_rate, *(rate for rate in SCAN_RATES if rate != first_rate)):
        with DynamixelBus.open(path, rate) as bus:
            answers, garbled = bus.look_for(identifier)
            if not answers:
                answers, garbled = bus.look_for(identifier)
            if len(answers) == 1:
                return rate
            if answers or garbled:
                raise BusError(
                    bus.stranger()
                    or f'Several motors answer to id {identifier}; connect them one at a time.'
                )
    raise NoReplyError(
        f'No motor answers to id {identifier} at any baud rate; check supply and cable, or look '
        'for it with `deft hand scan --all-rates`.'
    )


def complaints(result: Scan, description: HandDescription) -> list[str]:
    """What is wrong with the motors of a hand, one sentence each; empty where all is well."""
    if result.stranger:
        return [result.stranger]
    found = {reply.identifier: reply for reply in result.motors}
    names = {motor.id: name for name, motor in description.motors.items()}
    sentences = [
        f'Id {identifier} gives garbled answers: motors share it. Connect them one at a time and '
        'use `deft hand set-id`.'
        for identifier in result.garbled
    ]
    missing = [
        f'{name} (id {number})'
        for number, name in sorted(names.items())
        if number not in found and number not in result.garbled
    ]
    if missing:
        sentences.append(
            f'{len(missing)} of {len(names)} motors do not answer: {", ".join(missing)}. Check '
            'supply and cables from the first missing one on.'
        )
    for number, reply in found.items():
        if number not in names:
            sentences.append(f'Id {number} ({reply.model_name}) is not in the file of the hand.')
            continue
        wanted = description.motors[names[number]].model
        if reply.model_number != motor_model(wanted).number:
            sentences.append(
                f'{names[number]} (id {number}) is a {reply.model_name}, the file of the hand '
                f'says {wanted}.'
            )
        if reply.alert:
            sentences.append(
                f'{names[number]} (id {number}) has a hardware error: `deft hand status` names '
                'it, `deft hand reboot` clears it.'
            )
    return sentences
