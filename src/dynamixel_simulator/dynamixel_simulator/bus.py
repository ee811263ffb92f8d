# SPDX-License-Identifier: Apache-2.0
"""Servos on one wire: who hears an instruction, who answers, and in which order.

Group reads where a servo is missing: after a plain sync read the servos behind it still answer;
the common reply to a fast one ends before it, because every servo waits for the part of the one
before. The manual shows neither; drivers must survive both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from deft_core.errors import InvalidInputError
from dynamixel_simulator.faults import ANSWER_FAULTS, AnswerFaults, Fault, harm, heal
from dynamixel_simulator.packet import (
    BROADCAST_ID,
    CRC_SIZE,
    MAX_ID,
    Instruction,
    Packet,
    StatusError,
    build_status,
    crc16,
    fast_status_prefix,
)
from dynamixel_simulator.servo import SimulatedServo

_HEAD_SIZE: Final = 4  # bytes of address and size, at the start of reads and sync instructions
_ANSWERS_PINGS, _ANSWERS_READS, _ANSWERS_ALL = range(3)  # status return levels


class Answer(NamedTuple):
    """Bytes that one servo puts on the wire."""

    data: bytes  # they may be broken on purpose
    return_delay: float  # register of that name [s]
    lateness: float  # fault [s]


class SimulatedBus:
    """Servos on one wire.

    Every public method may be called from any thread; hold `lock` around more than one call, and
    around anything that is done to a servo itself.
    """

    def __init__(self, servos: Iterable[SimulatedServo]) -> None:
        """Connect servos; two may have the same id, their answers then collide."""
        self.lock = threading.RLock()  # guards the servos
        self._servos = list(servos)
        self._faults = {id(servo): AnswerFaults() for servo in self._servos}
        self._echo = False

    @property
    def servos(self) -> Sequence[SimulatedServo]:
        """All of them, also the ones that are unplugged."""
        return tuple(self._servos)

    def servo(self, identifier: int) -> SimulatedServo:
        """The first servo of an id."""
        for servo in self._servos:
            if servo.identifier == identifier:
                return servo
        known = ', '.join(str(servo.identifier) for servo in self._servos)
        raise InvalidInputError(f'There is no servo {identifier} on the bus; it has {known}.')

    def inject(
        self,
        fault: Fault,
        identifier: int | None = None,
        answers: int | None = None,
        lateness: float = 0.05,
    ) -> None:
        """Switch a fault on.

        Args:
            fault: Any.
            identifier: Of the servo; None for all, and for `Fault.ECHO`.
            answers: For faults of answers: how many suffer; None for all until cleared.
            lateness: Of `Fault.DELAY`. [s].
        """
        with self.lock:
            if fault is Fault.ECHO:
                self._echo = True
                return
            for servo in self._chosen(identifier):
                if fault in ANSWER_FAULTS:
                    self._faults[id(servo)].add(fault, answers, lateness)
                else:
                    harm(servo, fault)

    def clear(self, identifier: int | None = None) -> None:
        """Switch faults off, of the bus too where no servo is named; latched errors stay."""
        with self.lock:
            if identifier is None:
                self._echo = False
            for servo in self._chosen(identifier):
                self._faults[id(servo)].clear()
                heal(servo)

    def advance(self, duration: float) -> None:
        """Let time pass for all servos, more than none. [s]."""
        with self.lock:
            for servo in self._servos:
                servo.advance(duration)

    def handle(self, packet: Packet, baud_rate: int | None = None) -> list[Answer]:
        """Answers of the servos, or of those set to a baud rate [bit/s], in wire order."""
        if packet.instruction == Instruction.STATUS:
            return []
        with self.lock:
            awake = [
                servo
                for servo in self._servos
                if servo.listening and (baud_rate is None or servo.baud_rate == baud_rate)
            ]
            for servo in awake:
                servo.feed_watchdog()
            answers = [Answer(packet.raw, 0.0, 0.0)] if self._echo else []
            if packet.identifier == BROADCAST_ID:
                return answers + self._broadcast(awake, packet)
            return answers + self._address(awake, packet)

    def _chosen(self, identifier: int | None) -> list[SimulatedServo]:
        return self._servos if identifier is None else [self.servo(identifier)]

    def _address(self, awake: list[SimulatedServo], packet: Packet) -> list[Answer]:
        answers: list[Answer] = []
        for servo in awake:
            if servo.identifier == packet.identifier:
                level = servo.return_level  # the level counts that held when the packet came
                error, data = _execute(servo, packet)
                if level >= _level_needed(packet.instruction):
                    answers += self._answer(servo, packet.identifier, error, data)
        return _collide(answers)

    def _broadcast(self, awake: list[SimulatedServo], packet: Packet) -> list[Answer]:
        match packet.instruction:
            case Instruction.PING:
                present = sorted({servo.identifier for servo in awake})
                packets = [packet._replace(identifier=identifier) for identifier in present]
                return [answer for ping in packets for answer in self._address(awake, ping)]
            case Instruction.SYNC_READ if len(packet.parameters) >= _HEAD_SIZE:
                return self._sync_read(awake, packet.parameters)
            case Instruction.FAST_SYNC_READ if len(packet.parameters) >= _HEAD_SIZE:
                return self._fast_sync_read(awake, packet.parameters)
            case Instruction.SYNC_WRITE if len(packet.parameters) >= _HEAD_SIZE:
                _sync_write(awake, packet.parameters)
            case Instruction.WRITE | Instruction.REBOOT:
                for servo in awake:
                    _execute(servo, packet)
        return []

    def _sync_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        address, size = _head(parameters)
        answers: list[Answer] = []
        for identifier in parameters[_HEAD_SIZE:]:
            together: list[Answer] = []
            for servo in awake:
                if servo.identifier == identifier and servo.return_level >= _ANSWERS_READS:
                    error, data = servo.read(address, size)
                    together += self._answer(servo, identifier, error, data)
            answers += _collide(together)
        return answers

    def _fast_sync_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        """One reply of all, to which every servo adds its part and a checksum of all before."""
        address, size = _head(parameters)
        identifiers = parameters[_HEAD_SIZE:]
        by_id = {
            servo.identifier: servo
            for servo in awake
            if servo.knows_fast_reads and servo.return_level >= _ANSWERS_READS
        }
        prefix = fast_status_prefix([size] * len(identifiers))
        wire = bytearray(prefix)
        crc, done, lateness = 0, 0, 0.0
        for identifier in identifiers:
            servo = by_id.get(identifier)
            if servo is None or self._faults[id(servo)].take(Fault.SILENCE):
                break
            faults = self._faults[id(servo)]
            lateness += faults.take_lateness()
            error, data = servo.read(address, size)
            told = _other_id(identifier) if faults.take(Fault.WRONG_ID) else identifier
            part = bytes((servo.with_alert(error), told)) + (data or bytes(size))
            if faults.take(Fault.HALF_PACKET):
                wire += part[: len(part) // 2]
                break
            wire += part
            crc = crc16(wire[done:], crc)
            done = len(wire)
            wrong = faults.take(Fault.WRONG_CRC)
            wire += (crc ^ 0xFFFF if wrong else crc).to_bytes(CRC_SIZE, 'little')
        if wire == prefix:
            return []
        return [Answer(bytes(wire), by_id[identifiers[0]].return_delay, lateness)]

    def _answer(
        self, servo: SimulatedServo, identifier: int, error: int, data: bytes
    ) -> list[Answer]:
        """Status of one servo, broken as its faults say."""
        faults = self._faults[id(servo)]
        if faults.take(Fault.SILENCE):
            return []
        if faults.take(Fault.WRONG_ID):
            identifier = _other_id(identifier)
        raw = build_status(identifier, servo.with_alert(error), data)
        if faults.take(Fault.WRONG_CRC):
            raw = raw[:-1] + bytes((raw[-1] ^ 0xFF,))
        if faults.take(Fault.HALF_PACKET):
            raw = raw[: len(raw) // 2]
        return [Answer(raw, servo.return_delay, faults.take_lateness())]


def _sync_write(awake: list[SimulatedServo], parameters: bytes) -> None:
    address, size = _head(parameters)
    starts = range(_HEAD_SIZE, len(parameters) - size, size + 1)
    data = {parameters[start]: parameters[start + 1 : start + 1 + size] for start in starts}
    for servo in awake:
        if servo.identifier in data:
            servo.write(address, data[servo.identifier])


def _execute(servo: SimulatedServo, packet: Packet) -> tuple[int, bytes]:
    """Do what an instruction asks of one servo; error number and data of the answer."""
    parameters = packet.parameters
    match packet.instruction:
        case Instruction.PING:
            return StatusError.NONE, servo.identity()
        case Instruction.READ if len(parameters) == _HEAD_SIZE:
            return servo.read(*_head(parameters))
        case Instruction.WRITE if len(parameters) >= 2:
            return servo.write(int.from_bytes(parameters[:2], 'little'), parameters[2:]), b''
        case Instruction.READ | Instruction.WRITE:
            return StatusError.DATA_LENGTH, b''
        case Instruction.REBOOT:
            servo.reboot()
            return StatusError.NONE, b''
    return StatusError.INSTRUCTION, b''


def _level_needed(instruction: int) -> int:
    """Lowest status return level at which an instruction is answered."""
    if instruction == Instruction.PING:
        return _ANSWERS_PINGS
    return _ANSWERS_READS if instruction == Instruction.READ else _ANSWERS_ALL


def _head(parameters: bytes) -> tuple[int, int]:
    """Address and size."""
    return parameters[0] | parameters[1] << 8, parameters[2] | parameters[3] << 8


def _other_id(identifier: int) -> int:
    return (identifier + 1) % (MAX_ID + 1)


def _collide(answers: list[Answer]) -> list[Answer]:
    """Servos of one id drive the wire at the same time, a little apart: a low level wins."""
    if len(answers) < 2:
        return answers
    length = max(len(answer.data) for answer in answers) + len(answers) - 1
    wire = bytearray(b'\xff' * length)
    for offset, answer in enumerate(answers):
        for place, byte in enumerate(answer.data):
            wire[place + offset] &= byte
    return [Answer(bytes(wire), answers[0].return_delay, answers[0].lateness)]
