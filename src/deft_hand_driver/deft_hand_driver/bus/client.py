# SPDX-License-Identifier: Apache-2.0
"""Single motors: ping, registers by name, reboot."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from deft_hand_driver.bus.errors import NoReplyError, RefusedError
from deft_hand_driver.bus.port import PATIENT_MARGIN, SUCCESS, PacketHandler, SerialPort
from dynamixel_simulator.control_table import ControlTable
from dynamixel_simulator.motor_models import MODELS_BY_NUMBER
from dynamixel_simulator.packet import (
    ALERT_BIT,
    BROADCAST_ID,
    Instruction,
    Status,
    StatusError,
    build_packet,
    status_of,
)

REPLY_MARGIN: Final = 0.005  # [s] of a USB adapter with 1 ms latency on a machine with other work
_PING_REPLY_SIZE: Final = 14
_SECOND_ANSWER_TIME: Final = 0.002  # [s] in which a motor with the same id has answered too
# A servo waits for its turn after a broadcast ping, about 3 ms per id before it (SDK 4.1.0).
_BROADCAST_PING_TIME: Final = 253 * 0.003 + 0.016  # [s]
_WRITE_TEXTS: Final[Mapping[int, str]] = {
    StatusError.RESULT_FAIL: 'it could not carry out the instruction',
    StatusError.INSTRUCTION: 'it does not know the instruction',
    StatusError.CRC: 'the instruction reached it broken',
    StatusError.DATA_RANGE: 'the value is out of range, or its bus watchdog has expired',
    StatusError.DATA_LENGTH: 'the value has the wrong size',
    StatusError.DATA_LIMIT: 'the value is beyond a limit register',
    StatusError.ACCESS: 'the register is read-only, or needs torque off',
}


class PingReply(NamedTuple):
    """What answered a ping.

    Attributes:
        identifier: Id of the motor.
        model_number: As in its control table.
        firmware: Version.
        alert: Whether it has a hardware error.
    """

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
        requests: Instructions that wanted a reply.
        dropped: Replies of single motors that did not come or were broken.
        retries: Requests that were sent again.
    """

    requests: int = 0
    dropped: int = 0
    retries: int = 0


@dataclass
class BusClient:
    """Talks to motors on one port; use it from one thread.

    Attributes:
        port: The open port.
        attempts: How often an instruction to a single motor is sent before it counts as lost.
        statistics: Counters.
    """

    port: SerialPort
    attempts: int = 2
    statistics: BusStatistics = field(default_factory=BusStatistics)
    _handler: PacketHandler = field(default_factory=PacketHandler)

    @classmethod
    def open(cls, path: str, baud_rate: int, reply_margin: float = REPLY_MARGIN) -> BusClient:
        """Open a port.

        Args:
            path: Of the serial device.
            baud_rate: [bit/s].
            reply_margin: Time that a reply may take beyond that on the wire. [s].

        Raises:
            PortError: See `SerialPort`.
        """
        return cls(SerialPort(path, baud_rate, reply_margin))

    def close(self) -> None:
        """Close the port."""
        self.port.close()

    def __enter__(self) -> BusClient:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        self.close()

    def ping(self, identifier: int) -> PingReply:
        """Ask a motor whether it is there.

        Args:
            identifier: Id.

        Raises:
            NoReplyError: Nothing, or nothing intelligible, came back.
            PortError: The port has gone.
        """
        replies = self.ping_all_answers(identifier)
        if not replies:
            raise NoReplyError(f'Motor {identifier} does not answer a ping.')
        return replies[0]

    def ping_all_answers(self, identifier: int, margin: float | None = None) -> list[PingReply]:
        """Every answer to a ping: more than one means that motors share the id.

        Args:
            identifier: Id.
            margin: Time that the answer may take beyond that on the wire; that of an instruction
                outside of the cycle when None. [s].

        Returns:
            Answers with that id, in order of arrival; empty when none came in time.

        Raises:
            PortError: The port has gone.
        """
        found = self._ping_once(identifier, margin)
        if len(found) > 1:
            # One of them may have been late for an earlier ping.
            found = self._ping_once(identifier, margin)
        if not found:
            self.statistics.dropped += 1
        return found

    def _ping_once(self, identifier: int, margin: float | None) -> list[PingReply]:
        if margin is None:
            margin = max(self.port.reply_margin, PATIENT_MARGIN)
        self.statistics.requests += 1
        self.port.send(build_packet(identifier, Instruction.PING))
        self.port.expect(_PING_REPLY_SIZE, margin=margin)
        found: list[PingReply] = []
        while (reply := self._next_ping_reply()) is not None:
            if reply.identifier == identifier:
                found.append(reply)
                self.port.expect(_PING_REPLY_SIZE, _SECOND_ANSWER_TIME)
        return found

    def answers_garbled(self, identifier: int) -> bool:
        """Whether a ping brings bytes that make no packet, as when motors share an id.

        Raises:
            PortError: The port has gone.
        """
        return self.look_for(identifier)[1]

    def look_for(
        self, identifier: int, margin: float | None = None
    ) -> tuple[PingReply | None, bool]:
        """Ping once.

        Args:
            identifier: Id.
            margin: See `ping_all_answers`. [s].

        Returns:
            The answer, None where none came, and whether other bytes came instead.

        Raises:
            PortError: The port has gone.
        """
        reader = self.port.reader
        before = reader.skipped_bytes
        answers = self.ping_all_answers(identifier, margin)
        if answers:
            return answers[0], False
        return None, reader.skipped_bytes > before or bool(reader.pending)

    def broadcast_ping(self, duration: float = _BROADCAST_PING_TIME) -> list[PingReply]:
        """Ask all motors at this baud rate whether they are there.

        Args:
            duration: How long to listen: every motor waits for its turn. [s].

        Returns:
            Answers by rising id; motors that share an id usually garble each other's.

        Raises:
            PortError: The port has gone.
        """
        self.port.send(build_packet(BROADCAST_ID, Instruction.PING))
        self.port.setPacketTimeoutMillis(1e3 * duration)
        found = []
        while (reply := self._next_ping_reply()) is not None:
            found.append(reply)
        return sorted(found)

    def read(self, identifier: int, table: ControlTable, name: str) -> int:
        """Read a register.

        Args:
            identifier: Id.
            table: Control table of the motor.
            name: Of the register.

        Returns:
            Raw counts.

        Raises:
            NoReplyError: No intelligible reply.
            RefusedError: The motor has no such register.
            PortError: The port has gone.
        """
        register = table[name]
        data = self.read_bytes(identifier, register.address, register.size)
        return register.decode(data)

    def read_bytes(self, identifier: int, address: int, size: int) -> bytes:
        """Read a range of registers; see `read`."""

        def attempt() -> tuple[int, int, bytes]:
            data, result, error = self._handler.read(self.port, identifier, address, size)
            return result, error, data

        return self._ask(identifier, f'reading address {address}', attempt)

    def write(self, identifier: int, table: ControlTable, name: str, value: int) -> None:
        """Write a register and wait for the motor's answer.

        Args:
            identifier: Id.
            table: Control table of the motor.
            name: Of the register.
            value: Raw counts.

        Raises:
            InvalidInputError: The value does not fit into the register.
            NoReplyError: No intelligible reply; the motor may have taken the value.
            RefusedError: The motor did not take the value.
            PortError: The port has gone.
        """
        register = table[name]
        what = f'{value} to {name}'
        self.write_bytes(identifier, register.address, register.encode(value), what)

    def write_bytes(self, identifier: int, address: int, data: bytes, what: str) -> None:
        """Write a range of registers; `what` it is goes into the message. See `write`."""

        def attempt() -> tuple[int, int, bytes]:
            return (*self._handler.write(self.port, identifier, address, data), b'')

        self._ask(identifier, f'writing {what}', attempt)

    def reboot(self, identifier: int) -> None:
        """Restart a motor; it answers first, then forgets everything in its RAM.

        Raises:
            NoReplyError: No intelligible reply.
            PortError: The port has gone.
        """

        def attempt() -> tuple[int, int, bytes]:
            result, error = self._handler.reboot(self.port, identifier)
            return int(result), int(error), b''

        self._ask(identifier, 'rebooting', attempt)

    def wait_for(self, identifier: int, duration: float) -> PingReply:
        """Ping until a motor answers, as after a reboot.

        Args:
            identifier: Id.
            duration: How long to try. [s].

        Raises:
            NoReplyError: It stayed silent.
            PortError: The port has gone.
        """
        end = time.monotonic() + duration
        while True:
            try:
                return self.ping(identifier)
            except NoReplyError:
                if time.monotonic() > end:
                    raise

    def _next_ping_reply(self) -> PingReply | None:
        """Listen until an answer or the time-out."""
        while (packet := self.port.receive_packet()) is not None:
            status = status_of(packet)
            if status is not None and len(status.parameters) == 3:
                return _ping_reply(status)
        return None

    def _ask(
        self, identifier: int, what: str, attempt: Callable[[], tuple[int, int, bytes]]
    ) -> bytes:
        """Send an instruction to one motor until it answers."""
        result = SUCCESS
        for number in range(self.attempts):
            self.statistics.requests += 1
            self.statistics.retries += number > 0
            result, error, data = attempt()
            if result == SUCCESS:
                refusal = error & ~ALERT_BIT
                if refusal:
                    raise RefusedError(
                        f'Motor {identifier} refused {what}: '
                        f'{_WRITE_TEXTS.get(refusal, f"error {refusal}")}.',
                        refusal,
                    )
                return data
            self.statistics.dropped += 1
        raise NoReplyError(
            f'Motor {identifier}, {what}: {self._handler.describe(result)}, {self.attempts} times.'
        )


def _ping_reply(status: Status) -> PingReply:
    model = status.parameters[0] | status.parameters[1] << 8
    return PingReply(status.identifier, model, status.parameters[2], status.alert)
