# SPDX-License-Identifier: Apache-2.0
"""The Dynamixel bus: single motors by register name, and SyncRead and SyncWrite of many.

Other than with the group classes of the SDK, a motor that does not answer costs its own data only,
the error byte of every motor is kept, and a request is put together once.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from deft_hand_driver.dynamixel.port import (
    NoReplyError,
    RefusedError,
    SerialPort,
)
from dynamixel_simulator.control_table import ControlTable
from dynamixel_simulator.motor_models import MODELS_BY_NUMBER
from dynamixel_simulator.packet import (
    ALERT_BIT,
    BROADCAST_ID,
    CRC_SIZE,
    HEADER,
    MAX_ID,
    PREFIX_SIZE,
    Instruction,
    Packet,
    Status,
    StatusError,
    build_packet,
    split_fast_status,
    status_of,
)

REPLY_MARGIN: Final = 0.005  # [s] of a USB adapter with 1 ms latency on a machine with other work
# Outside of the cycle patience costs nothing unless a motor is missing, and a reply that is late
# for one instruction harms the next.
PATIENT_MARGIN: Final = 0.05  # [s]
_ATTEMPTS: Final = 2  # of an instruction to a single motor before it counts as lost
_SECOND_ANSWER_TIME: Final = 0.002  # [s] in which a motor with the same id has answered too
# A servo waits for its turn after a broadcast ping, about 3 ms per id before it (SDK 4.1.0).
_LISTENING_TIME: Final = 1.2  # [s] in which a device that says something every second does
_SAMPLE_TIME: Final = 0.05  # [s] for what follows the first byte
_SAMPLE_SIZE: Final = 24  # bytes that are shown of it
_STRANGE_IDS: Final = (MAX_ID, MAX_ID - 1, MAX_ID - 2)  # nobody gives motors all of these
_BROADCAST_PING_TIME: Final = 253 * 0.003 + 0.016  # [s]
_RANGE: Final = struct.Struct('<HH')
_STATUS_OVERHEAD: Final = PREFIX_SIZE + 2 + CRC_SIZE
_PING_REPLY_SIZE: Final = _STATUS_OVERHEAD + 3
_FAST_OVERHEAD: Final = 2 + CRC_SIZE
_SHORTEST_RETRY: Final = 0.001  # [s] in which a motor may still answer
_REFUSALS: Final[Mapping[int, str]] = {
    StatusError.RESULT_FAIL: 'it could not carry out the instruction',
    StatusError.INSTRUCTION: 'it does not know the instruction',
    StatusError.CRC: 'the instruction reached it broken',
    StatusError.DATA_RANGE: 'the value is out of range, or its bus watchdog has expired',
    StatusError.DATA_LENGTH: 'the value has the wrong size',
    StatusError.DATA_LIMIT: 'the value is beyond a limit register',
    StatusError.ACCESS: 'the register is read-only, or needs torque off',
}


class PingReply(NamedTuple):
    """What answered a ping; `alert` says whether it has a hardware error."""

    identifier: int
    model_number: int
    firmware: int
    alert: bool

    @property
    def model_name(self) -> str:
        """Name of the model, or its number where this package does not know it."""
        model = MODELS_BY_NUMBER.get(self.model_number)
        return model.name if model is not None else f'model {self.model_number}'


@dataclass
class BusStatistics:
    """Counters since the port was opened.

    Attributes:
        dropped: Replies of single motors that did not come or were broken.
    """

    requests: int = 0
    dropped: int = 0
    retries: int = 0


@dataclass
class DynamixelBus:
    """Talks to the motors on one open port. Every method raises `PortError` when it has gone."""

    port: SerialPort
    statistics: BusStatistics = field(default_factory=BusStatistics)

    @classmethod
    def open(cls, path: str, baud_rate: int, reply_margin: float = REPLY_MARGIN) -> Self:
        """Open a port; `reply_margin` is what a reply may take beyond the wire. [s]."""
        return cls(SerialPort(path, baud_rate, reply_margin))

    def close(self) -> None:
        """Close the port; a second call does nothing."""
        self.port.close()

    def __enter__(self) -> Self:
        """The bus itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        self.close()

    def ping(self, identifier: int) -> PingReply:
        """Ask a motor whether it is there.

        Raises:
            NoReplyError: Nothing, or nothing intelligible, came back.
        """
        answers, _ = self.look_for(identifier)
        if not answers:
            raise NoReplyError(f'Motor {identifier} does not answer a ping.')
        return answers[0]

    def look_for(
        self, identifier: int, margin: float | None = None
    ) -> tuple[list[PingReply], bool]:
        """Ping, and hear everybody who answers.

        Args:
            identifier: Id.
            margin: Time that an answer may take beyond that on the wire; a patient one when None.
                [s].

        Returns:
            The answers with that id, more than one where motors share it; and whether bytes came
            that make no packet, as when such motors garble each other.
        """
        reader = self.port.reader
        before = reader.skipped_bytes
        answers = self._ping_once(identifier, margin)
        if len(answers) > 1:
            # One of them may have been late for an earlier ping.
            answers = self._ping_once(identifier, margin)
        if answers:
            return answers, False
        self.statistics.dropped += 1
        return [], reader.skipped_bytes > before or bool(reader.pending)

    def stranger(self) -> str:
        """What is on the port where answers are garbled: another device, or nothing that shows.

        Motors that share an id garble the answers of that id and are silent until they are asked.

        Returns:
            A sentence for a person; empty where it may be such motors.
        """
        port = self.port
        port.clearPort()
        port.expect(0, margin=_LISTENING_TIME)
        if heard := port.receive():
            port.expect(0, margin=_SAMPLE_TIME)
            while len(heard) < _SAMPLE_SIZE and (more := port.receive()):
                heard += more
            sample = heard[:_SAMPLE_SIZE].decode('ascii', 'backslashreplace')
            return (
                f'{port.port_name} sends {sample!r} without being asked: another device is there, '
                'or another program commands the motors. Choose the port of the hand.'
            )
        for identifier in _STRANGE_IDS:
            answers, garbled = self.look_for(identifier)
            if answers or not garbled:
                return ''
        return (
            f'What is on {port.port_name} answers to any id, and no motor does so: another device '
            'is there. Choose the port of the hand.'
        )

    def broadcast_ping(self, duration: float = _BROADCAST_PING_TIME) -> list[PingReply]:
        """Answers of all motors at this baud rate within a duration [s], by rising id."""
        self.port.send(build_packet(BROADCAST_ID, Instruction.PING))
        self.port.expect(0, margin=duration)
        found = []
        while (reply := self._next_ping_reply()) is not None:
            found.append(reply)
        return sorted(found)

    def read(self, identifier: int, table: ControlTable, name: str) -> int:
        """Raw counts of a register of a motor with a control table.

        Raises:
            RefusedError: The motor has no such register.
        """
        register = table[name]
        return register.decode(self.read_bytes(identifier, register.address, register.size))

    def read_bytes(self, identifier: int, address: int, size: int) -> bytes:
        """Read a range of registers; see `read`."""
        where = _RANGE.pack(address, size)
        return self._ask(identifier, Instruction.READ, where, size, f'reading address {address}')

    def write(self, identifier: int, table: ControlTable, name: str, value: int) -> None:
        """Write raw counts to a register and wait for the motor's answer.

        Raises:
            InvalidInputError: The value does not fit into the register.
            NoReplyError: No intelligible reply; the motor may have taken the value.
            RefusedError: The motor did not take the value.
        """
        register = table[name]
        what = f'{value} to {name}'
        self.write_bytes(identifier, register.address, register.encode(value), what)

    def write_bytes(self, identifier: int, address: int, data: bytes, what: str) -> None:
        """Write a range of registers; `what` it is goes into the message. See `write`."""
        content = address.to_bytes(2, 'little') + data
        self._ask(identifier, Instruction.WRITE, content, 0, f'writing {what}')

    def reboot(self, identifier: int) -> None:
        """Restart a motor; it answers first, then forgets everything in its RAM."""
        self._ask(identifier, Instruction.REBOOT, b'', 0, 'rebooting')

    def wait_for(self, identifier: int, duration: float) -> PingReply:
        """Ping until a motor answers, as after a reboot; `duration` is how long to try. [s]."""
        end = time.monotonic() + duration
        while True:
            try:
                return self.ping(identifier)
            except NoReplyError:
                if time.monotonic() > end:
                    raise

    def sync_write(self, identifiers: Sequence[int], address: int, size: int, data: bytes) -> None:
        """Write one range of several motors; no motor answers."""
        parts = [_RANGE.pack(address, size)]
        for place, identifier in enumerate(identifiers):
            parts += (bytes((identifier,)), data[place * size : (place + 1) * size])
        self.port.send(build_packet(BROADCAST_ID, Instruction.SYNC_WRITE, b''.join(parts)))

    def _ping_once(self, identifier: int, margin: float | None) -> list[PingReply]:
        self.statistics.requests += 1
        self.port.send(build_packet(identifier, Instruction.PING))
        self.port.expect(_PING_REPLY_SIZE, margin=self._patience() if margin is None else margin)
        found: list[PingReply] = []
        while (reply := self._next_ping_reply()) is not None:
            if reply.identifier == identifier:
                found.append(reply)
                self.port.expect(_PING_REPLY_SIZE, _SECOND_ANSWER_TIME)
        return found

    def _next_ping_reply(self) -> PingReply | None:
        """Listen until an answer or the time-out."""
        while (packet := self.port.receive_packet()) is not None:
            status = status_of(packet)
            if status is not None and len(status.parameters) == 3:
                number = int.from_bytes(status.parameters[:2], 'little')
                return PingReply(status.identifier, number, status.parameters[2], status.alert)
        return None

    def _patience(self) -> float:
        return max(self.port.reply_margin, PATIENT_MARGIN)

    def _ask(
        self, identifier: int, instruction: int, parameters: bytes, size: int, what: str
    ) -> bytes:
        """Send an instruction to one motor until it answers with so many bytes, or refuses."""
        request = build_packet(identifier, instruction, parameters)
        reader = self.port.reader
        wrong = (reader.wrong_checksums, reader.skipped_bytes)
        odd = False
        for number in range(_ATTEMPTS):
            self.statistics.requests += 1
            self.statistics.retries += number > 0
            self.port.send(request)
            self.port.expect(size + _STATUS_OVERHEAD, margin=self._patience())
            while (packet := self.port.receive_packet()) is not None:
                status = status_of(packet)
                if status is None or status.identifier != identifier:
                    continue
                refusal = status.error & ~ALERT_BIT
                if refusal:
                    text = _REFUSALS.get(refusal, f'error {refusal}')
                    raise RefusedError(f'Motor {identifier} refused {what}: {text}.', refusal)
                if len(status.parameters) == size:
                    return status.parameters
                odd = True
                break
            self.statistics.dropped += 1
        broken = odd or reader.pending or (reader.wrong_checksums, reader.skipped_bytes) != wrong
        answer = 'a broken reply' if broken else 'no reply'
        raise NoReplyError(f'Motor {identifier}, {what}: {answer}, {_ATTEMPTS} times.')


class SyncRead:
    """Reads one range of several motors at once, with fast sync read where they all know it."""

    def __init__(
        self, bus: DynamixelBus, identifiers: Sequence[int], address: int, size: int, *, fast: bool
    ) -> None:
        """Put the request together."""
        self._bus = bus
        self._identifiers = tuple(identifiers)
        self._fast = fast
        self._size = size
        self._place = {identifier: i for i, identifier in enumerate(self._identifiers)}
        self._where = _RANGE.pack(address, size)
        instruction = Instruction.FAST_SYNC_READ if fast else Instruction.SYNC_READ
        self._request = build_packet(
            BROADCAST_ID, instruction, self._where + bytes(self._identifiers)
        )
        count = len(self._identifiers)
        length = 1 + count * (size + _FAST_OVERHEAD)
        self._fast_size = PREFIX_SIZE + length
        self._fast_prefix = HEADER + struct.pack('<BHB', BROADCAST_ID, length, Instruction.STATUS)
        self._sizes = (size,) * count

    def read(self, deadline: float = 0.0) -> list[Status | None]:
        """Ask all motors at once, and those that did not answer once more while there is time.

        Args:
            deadline: Monotonic time until which retries may last. [s].

        Returns:
            Per motor its answer; None where none came that is whole.
        """
        statistics = self._bus.statistics
        statistics.requests += 1
        self._bus.port.send(self._request)
        found = self._read_fast() if self._fast else self._read_plain()
        statistics.dropped += found.count(None)
        for place, answer in enumerate(found):
            if answer is None:
                remaining = deadline - time.monotonic()
                if remaining < _SHORTEST_RETRY:
                    break
                found[place] = self._read_single(self._identifiers[place], remaining)
        return found

    def _read_single(self, identifier: int, remaining: float) -> Status | None:
        bus = self._bus
        bus.statistics.requests += 1
        bus.statistics.retries += 1
        bus.port.send(build_packet(identifier, Instruction.READ, self._where))
        bus.port.expect(self._size + _STATUS_OVERHEAD, remaining)
        while (packet := bus.port.receive_packet()) is not None:
            status = self._good(packet)
            if status is not None and status.identifier == identifier:
                return status
        bus.statistics.dropped += 1
        return None

    def _read_plain(self) -> list[Status | None]:
        """Collect one status packet per motor until the time-out."""
        port = self._bus.port
        count = len(self._identifiers)
        port.expect(count * (self._size + _STATUS_OVERHEAD))
        found: list[Status | None] = [None] * count
        missing = count
        while missing and (packet := port.receive_packet()) is not None:
            status = self._good(packet)
            if status is not None and status.identifier in self._place:
                place = self._place[status.identifier]
                missing -= found[place] is None
                found[place] = status
        return found

    def _read_fast(self) -> list[Status | None]:
        """Collect the common reply until the time-out; its leading good parts count."""
        port = self._bus.port
        port.expect(self._fast_size)
        buffer = port.receive()
        while not self._is_whole(buffer):
            data = port.receive()
            if not data:
                break
            buffer += data
        found: list[Status | None] = [None] * len(self._identifiers)
        # Where it starts: an echo of the request or a stray reply may come first.
        start = max(0, buffer.find(self._fast_prefix))
        for part in split_fast_status(buffer[start : start + self._fast_size], self._sizes):
            if part.identifier in self._place:
                found[self._place[part.identifier]] = part
        return found

    def _is_whole(self, buffer: bytes) -> bool:
        if len(buffer) < self._fast_size:
            return False
        start = buffer.find(self._fast_prefix)
        return start >= 0 and len(buffer) - start >= self._fast_size

    def _good(self, packet: Packet) -> Status | None:
        """The status of a packet that answers this request; an echo or a short one does not."""
        status = status_of(packet)
        if status is None or len(status.parameters) != self._size:
            return None
        return status
