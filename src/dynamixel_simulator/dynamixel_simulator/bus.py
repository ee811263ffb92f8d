# SPDX-License-Identifier: Apache-2.0
"""Servos on one wire: who hears an instruction, who answers, and in which order.

Group reads where a servo is missing: after a plain sync or bulk read the servos behind it still
answer; the common reply to a fast one ends before it, because every servo waits for the part of
the one before. The manual shows neither; drivers must survive both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final, NamedTuple

from deft_core.errors import InvalidInputError
from dynamixel_simulator.fast_reply import FastPart, fast_reply
from dynamixel_simulator.faults import (
    ANSWER_FAULTS,
    BUS_FAULTS,
    AnswerFaults,
    Fault,
    harm,
    heal,
)
from dynamixel_simulator.instructions import (
    HEAD_SIZE,
    bulk_requests,
    execute,
    level_needed,
    sync_requests,
    two_words,
)
from dynamixel_simulator.packet import (
    BROADCAST_ID,
    MAX_ID,
    Instruction,
    Packet,
    build_status,
)
from dynamixel_simulator.servo import SimulatedServo

_ANSWERS_READS: Final = 1  # status return level
_RESET_ALL: Final = b'\xff'


class Answer(NamedTuple):
    """Bytes that one servo puts on the wire.

    Attributes:
        data: They may be broken on purpose.
        return_delay: Register of that name. [s].
        lateness: Fault. [s].
    """

    data: bytes
    return_delay: float
    lateness: float


class SimulatedBus:
    """Servos on one wire.

    Every public method may be called from any thread; hold `lock` around more than one call, and
    around anything that is done to a servo itself.

    Attributes:
        lock: Guards the servos.
    """

    def __init__(self, servos: Iterable[SimulatedServo]) -> None:
        """Connect servos.

        Args:
            servos: Two may have the same id; their answers then collide.
        """
        self.lock = threading.RLock()
        self._servos = list(servos)
        self._faults = {id(servo): AnswerFaults() for servo in self._servos}
        self._echo = False

    @property
    def servos(self) -> Sequence[SimulatedServo]:
        """All of them, also the ones that are unplugged."""
        return tuple(self._servos)

    def servo(self, identifier: int) -> SimulatedServo:
        """The first servo of an id.

        Raises:
            InvalidInputError: There is none.
        """
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
            fault: Any but `Fault.PORT_GONE`, which is the server's.
            identifier: Of the servo; None for all, and for faults of the bus.
            answers: For faults of answers: how many suffer; None for all until cleared.
            lateness: Of `Fault.DELAY`. [s].

        Raises:
            InvalidInputError: No such servo, or the fault does not fit.
        """
        if fault is Fault.PORT_GONE:
            raise InvalidInputError('port_gone is a fault of the port: ask the server for it.')
        with self.lock:
            if fault in BUS_FAULTS:
                self._echo = True
                return
            for servo in self._chosen(identifier):
                if fault in ANSWER_FAULTS:
                    faults = self._faults[id(servo)]
                    faults.add(fault, answers)
                    if fault is Fault.DELAY:
                        faults.lateness = lateness
                else:
                    harm(servo, fault)

    def clear(self, identifier: int | None = None) -> None:
        """Switch faults off; what the firmware latched stays until a reboot.

        Args:
            identifier: Of the servo; None for all, and for the bus.

        Raises:
            InvalidInputError: No such servo.
        """
        with self.lock:
            if identifier is None:
                self._echo = False
            for servo in self._chosen(identifier):
                self._faults[id(servo)].clear()
                heal(servo)

    def advance(self, duration: float) -> None:
        """Let time pass for all servos.

        Args:
            duration: Positive. [s].
        """
        with self.lock:
            for servo in self._servos:
                servo.advance(duration)

    def handle(self, packet: Packet, baud_rate: int | None = None) -> list[Answer]:
        """Let the servos hear an instruction.

        Args:
            packet: Whose checksum is right.
            baud_rate: Only servos set to it hear the packet; all when None. [bit/s].

        Returns:
            What they answer, in the order on the wire.
        """
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
            group = self._GROUPS.get(packet.instruction)
            if group is not None:
                if packet.identifier == BROADCAST_ID:
                    answers += group(self, awake, packet.parameters)
            elif packet.identifier == BROADCAST_ID:
                answers += self._broadcast(awake, packet)
            else:
                answers += self._address(awake, packet)
            return answers

    def _chosen(self, identifier: int | None) -> list[SimulatedServo]:
        return self._servos if identifier is None else [self.servo(identifier)]

    def _address(self, awake: list[SimulatedServo], packet: Packet) -> list[Answer]:
        answers: list[Answer] = []
        for servo in awake:
            if servo.identifier == packet.identifier:
                level = servo.return_level  # the level counts that held when the packet came
                error, data = execute(servo, packet)
                if level >= level_needed(packet.instruction):
                    answers += self._answer(servo, packet.identifier, error, data)
            elif servo.secondary == packet.identifier <= MAX_ID:
                execute(servo, packet)
        return _collide(answers) if len(answers) > 1 else answers

    def _broadcast(self, awake: list[SimulatedServo], packet: Packet) -> list[Answer]:
        if packet.instruction == Instruction.PING:
            answers = []
            for identifier in sorted({servo.identifier for servo in awake}):
                answers += self._address(awake, packet._replace(identifier=identifier))
            return answers
        reset_all = packet.instruction == Instruction.FACTORY_RESET
        if reset_all and packet.parameters == _RESET_ALL:
            return []  # would give all servos the same id; the firmware does nothing
        if packet.instruction != Instruction.READ:
            for servo in awake:
                execute(servo, packet)
        return []

    def _read_group(
        self, awake: list[SimulatedServo], requests: list[tuple[int, int, int]]
    ) -> list[Answer]:
        """Plain sync or bulk read: (id, address, size) each."""
        answers: list[Answer] = []
        for identifier, address, size in requests:
            together: list[Answer] = []
            for servo in awake:
                if servo.identifier == identifier and servo.return_level >= _ANSWERS_READS:
                    error, data = servo.read(address, size)
                    together += self._answer(servo, identifier, error, data)
            answers += _collide(together) if len(together) > 1 else together
        return answers

    def _fast_read_group(
        self, awake: list[SimulatedServo], requests: list[tuple[int, int, int]]
    ) -> list[Answer]:
        """Fast sync or bulk read: one reply of all."""
        by_id = {
            servo.identifier: servo
            for servo in awake
            if servo.knows_fast_reads and servo.return_level >= _ANSWERS_READS
        }
        parts = []
        lateness, delay = 0.0, None
        for identifier, address, size in requests:
            servo = by_id.get(identifier)
            if servo is None:
                break
            faults = self._faults[id(servo)]
            if faults.take(Fault.SILENCE):
                break
            error, data = servo.read(address, size)
            delay = servo.return_delay if delay is None else delay
            lateness += faults.lateness if faults.take(Fault.DELAY) else 0.0
            part = FastPart(
                _other_id(identifier) if faults.take(Fault.WRONG_ID) else identifier,
                servo.with_alert(error),
                data or bytes(size),
                faults.take(Fault.WRONG_CRC),
                faults.take(Fault.HALF_PACKET),
            )
            parts.append(part)
            if part.half:
                break
        if delay is None:
            return []
        raw = fast_reply(parts, [size for _, _, size in requests])
        return [Answer(raw, delay, lateness)]

    def _sync_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        return self._read_group(awake, sync_requests(parameters))

    def _fast_sync_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        return self._fast_read_group(awake, sync_requests(parameters))

    def _bulk_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        return self._read_group(awake, bulk_requests(parameters))

    def _fast_bulk_read(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        return self._fast_read_group(awake, bulk_requests(parameters))

    def _sync_write(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        if len(parameters) >= HEAD_SIZE:
            address, size = two_words(parameters, 0)
            data = {
                parameters[place]: parameters[place + 1 : place + 1 + size]
                for place in range(HEAD_SIZE, len(parameters) - size, size + 1)
            }
            for servo in awake:
                for identifier in {servo.identifier, servo.secondary} & data.keys():
                    servo.write(address, data[identifier])
        return []

    def _bulk_write(self, awake: list[SimulatedServo], parameters: bytes) -> list[Answer]:
        place = 0
        while place + 5 <= len(parameters):
            identifier = parameters[place]
            address, size = two_words(parameters, place + 1)
            data = parameters[place + 5 : place + 5 + size]
            place += 5 + size
            for servo in awake:
                if identifier in (servo.identifier, servo.secondary) and len(data) == size:
                    servo.write(address, data)
        return []

    def _answer(
        self, servo: SimulatedServo, identifier: int, error: int, data: bytes
    ) -> list[Answer]:
        """Status of one servo, broken as its faults say."""
        faults = self._faults[id(servo)]
        if not faults:
            raw = build_status(identifier, servo.with_alert(error), data)
            return [Answer(raw, servo.return_delay, 0.0)]
        if faults.take(Fault.SILENCE):
            return []
        if faults.take(Fault.WRONG_ID):
            identifier = _other_id(identifier)
        raw = build_status(identifier, servo.with_alert(error), data)
        if faults.take(Fault.WRONG_CRC):
            raw = raw[:-1] + bytes((raw[-1] ^ 0xFF,))
        if faults.take(Fault.HALF_PACKET):
            raw = raw[: len(raw) // 2]
        lateness = faults.lateness if faults.take(Fault.DELAY) else 0.0
        return [Answer(raw, servo.return_delay, lateness)]

    _GROUPS: ClassVar[
        dict[int, Callable[[SimulatedBus, list[SimulatedServo], bytes], list[Answer]]]
    ] = {
        Instruction.SYNC_READ: _sync_read,
        Instruction.FAST_SYNC_READ: _fast_sync_read,
        Instruction.BULK_READ: _bulk_read,
        Instruction.FAST_BULK_READ: _fast_bulk_read,
        Instruction.SYNC_WRITE: _sync_write,
        Instruction.BULK_WRITE: _bulk_write,
    }


def _other_id(identifier: int) -> int:
    return (identifier + 1) % (MAX_ID + 1)


def _collide(answers: list[Answer]) -> list[Answer]:
    """Servos of one id drive the wire at the same time, a little apart: a low level wins."""
    length = max(len(answer.data) for answer in answers) + len(answers) - 1
    wire = bytearray(b'\xff' * length)
    for offset, answer in enumerate(answers):
        for place, byte in enumerate(answer.data):
            wire[place + offset] &= byte
    return [Answer(bytes(wire), answers[0].return_delay, answers[0].lateness)]
