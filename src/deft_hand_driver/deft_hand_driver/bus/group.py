# SPDX-License-Identifier: Apache-2.0
"""One range of registers of many motors in one exchange.

Other than the group classes of the SDK, a motor that does not answer costs its own data only, the
error byte of every motor is kept, and the request is put together once.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Final

from deft_hand_driver.bus.client import BusClient
from dynamixel_simulator.packet import (
    BROADCAST_ID,
    CRC_SIZE,
    HEADER,
    PREFIX_SIZE,
    Instruction,
    Packet,
    Status,
    build_packet,
    split_fast_status,
    status_of,
)

_RANGE: Final = struct.Struct('<HH')
_STATUS_OVERHEAD: Final = PREFIX_SIZE + 2 + CRC_SIZE
_FAST_START: Final = PREFIX_SIZE + 1
_FAST_OVERHEAD: Final = 2 + CRC_SIZE
_SHORTEST_RETRY: Final = 0.001  # [s] in which a motor may still answer


class GroupRead:
    """Reads one range of several motors, with fast sync read where they all know it.

    Attributes:
        identifiers: Ids, in the order of the replies.
        fast: Whether fast sync read is used.
    """

    def __init__(
        self,
        client: BusClient,
        identifiers: Sequence[int],
        address: int,
        size: int,
        *,
        fast: bool,
    ) -> None:
        """Put the requests together.

        Args:
            client: The bus.
            identifiers: Ids, at least one.
            address: First register.
            size: Bytes per motor.
            fast: Whether every one of them knows fast sync read.
        """
        self._client = client
        self.identifiers = tuple(identifiers)
        self.fast = fast
        self._size = size
        self._index = {identifier: i for i, identifier in enumerate(self.identifiers)}
        where = _RANGE.pack(address, size)
        instruction = Instruction.FAST_SYNC_READ if fast else Instruction.SYNC_READ
        self._request = build_packet(BROADCAST_ID, instruction, where + bytes(self.identifiers))
        self._single = {
            identifier: build_packet(identifier, Instruction.READ, where)
            for identifier in self.identifiers
        }
        count = len(self.identifiers)
        length = 1 + count * (size + _FAST_OVERHEAD)
        self._fast_size = PREFIX_SIZE + length
        self._fast_prefix = HEADER + struct.pack('<BHB', BROADCAST_ID, length, Instruction.STATUS)
        self._sizes = (size,) * count

    def read(self) -> list[Status | None]:
        """Ask all motors at once.

        Returns:
            Per motor in the order of `identifiers` its answer; None where none came that is whole.

        Raises:
            PortError: The port has gone.
        """
        self._client.statistics.requests += 1
        self._client.port.send(self._request)
        found = self._read_fast() if self.fast else self._read_plain()
        self._client.statistics.dropped += found.count(None)
        return found

    def retry(self, found: list[Status | None], deadline: float) -> None:
        """Ask the motors that did not answer once more, one by one, while there is time.

        Args:
            found: Answers so far; completed in place.
            deadline: Until when, monotonic. [s].

        Raises:
            PortError: The port has gone.
        """
        for index, answer in enumerate(found):
            if answer is None:
                remaining = deadline - time.monotonic()
                if remaining < _SHORTEST_RETRY:
                    return
                found[index] = self._read_single(self.identifiers[index], remaining)

    def _read_single(self, identifier: int, remaining: float) -> Status | None:
        client = self._client
        client.statistics.requests += 1
        client.statistics.retries += 1
        client.port.send(self._single[identifier])
        client.port.expect(self._size + _STATUS_OVERHEAD, remaining)
        while (packet := client.port.receive_packet()) is not None:
            status = self._good(packet)
            if status is not None and status.identifier == identifier:
                return status
        client.statistics.dropped += 1
        return None

    def _read_plain(self) -> list[Status | None]:
        """Collect one status packet per motor until the time-out."""
        port = self._client.port
        count = len(self.identifiers)
        port.expect(count * (self._size + _STATUS_OVERHEAD))
        found: list[Status | None] = [None] * count
        missing = count
        while missing and (packet := port.receive_packet()) is not None:
            status = self._good(packet)
            if status is not None and status.identifier in self._index:
                index = self._index[status.identifier]
                missing -= found[index] is None
                found[index] = status
        return found

    def _read_fast(self) -> list[Status | None]:
        """Collect the common reply until the time-out; its leading good parts count."""
        port = self._client.port
        port.expect(self._fast_size)
        buffer = port.receive()
        while not self._is_whole(buffer):
            data = port.receive()
            if not data:
                break
            buffer += data
        found: list[Status | None] = [None] * len(self.identifiers)
        # Where it starts: an echo of the request or a stray reply may come first.
        start = max(0, buffer.find(self._fast_prefix))
        for part in split_fast_status(buffer[start : start + self._fast_size], self._sizes):
            if part.identifier in self._index:
                found[self._index[part.identifier]] = part
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


class GroupWrite:
    """Writes one range of several motors with sync write; no motor answers.

    Attributes:
        identifiers: Ids, in the order of the data.
    """

    def __init__(
        self, client: BusClient, identifiers: Sequence[int], address: int, size: int
    ) -> None:
        """Put the beginning of the instruction together.

        Args:
            client: The bus.
            identifiers: Ids, at least one.
            address: First register.
            size: Bytes per motor.
        """
        self._client = client
        self.identifiers = tuple(identifiers)
        self._size = size
        self._start = _RANGE.pack(address, size)
        self._ids = [bytes((identifier,)) for identifier in self.identifiers]

    def write(self, data: bytes) -> None:
        """Send.

        Args:
            data: Of all motors one after the other.

        Raises:
            PortError: The port has gone.
        """
        size = self._size
        parts = [self._start]
        for index, identifier in enumerate(self._ids):
            parts += (identifier, data[index * size : (index + 1) * size])
        packet = build_packet(BROADCAST_ID, Instruction.SYNC_WRITE, b''.join(parts))
        self._client.port.send(packet)
