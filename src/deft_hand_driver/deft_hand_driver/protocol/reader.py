# SPDX-License-Identifier: Apache-2.0
"""Finds packets in a stream of bytes that may be broken anywhere."""

from __future__ import annotations

from typing import Final

from deft_hand_driver.protocol.crc import crc16
from deft_hand_driver.protocol.packet import (
    BROADCAST_ID,
    CRC_SIZE,
    HEADER,
    PREFIX_SIZE,
    Instruction,
    Packet,
    unstuff,
)

# The longest packet that one bus of servos needs; a longer one is a broken length.
_LONGEST_LENGTH: Final = 4096
_SHORTEST_LENGTH: Final = 1 + CRC_SIZE


class PacketReader:
    """Collects bytes and gives back whole packets whose checksum is right.

    Garbage, half packets and wrong checksums are skipped; reading goes on at the next header.

    Attributes:
        wrong_checksums: Packets that were dropped for their checksum since the start.
        skipped_bytes: Bytes that belonged to no good packet since the start.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray()
        self.wrong_checksums = 0
        self.skipped_bytes = 0

    @property
    def pending(self) -> bytes:
        """Bytes of a packet that is not complete yet."""
        return bytes(self._buffer)

    def clear(self) -> None:
        """Forget a packet that is not complete."""
        self.skipped_bytes += len(self._buffer)
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes.

        Args:
            data: As they came from the port.

        Returns:
            The packets that are complete now, oldest first.
        """
        buffer = self._buffer
        buffer += data
        packets: list[Packet] = []
        while True:
            start = buffer.find(HEADER)
            if start != 0:
                self._skip(_length_of_garbage(buffer) if start < 0 else start)
            if start < 0 or len(buffer) < PREFIX_SIZE:
                return packets
            length = buffer[5] | buffer[6] << 8
            if not _SHORTEST_LENGTH <= length <= _LONGEST_LENGTH:
                self._skip(len(HEADER))
                continue
            end = PREFIX_SIZE + length
            if len(buffer) < end:
                cut = self._next_header(end)
                if cut < 0:
                    return packets
                self._skip(cut)
                continue
            raw = bytes(buffer[:end])
            if crc16(raw[:-CRC_SIZE]) != raw[-2] | raw[-1] << 8:
                self.wrong_checksums += 1
                self._skip(len(HEADER))
                continue
            del buffer[:end]
            packets.append(_packet(raw))

    def _next_header(self, end: int) -> int:
        """Where another packet begins inside one that is not complete, else -1.

        Stuffing keeps headers out of parameters, so the first packet was cut short. Only the reply
        to a fast read is not stuffed.
        """
        buffer = self._buffer
        fast = len(buffer) > PREFIX_SIZE and buffer[PREFIX_SIZE] == Instruction.STATUS
        if fast and buffer[4] == BROADCAST_ID:
            return -1
        return buffer.find(HEADER, 1, end - CRC_SIZE)

    def _skip(self, count: int) -> None:
        self.skipped_bytes += count
        del self._buffer[:count]


def _length_of_garbage(buffer: bytearray) -> int:
    """How many bytes cannot be the beginning of a header."""
    for kept in range(min(len(HEADER) - 1, len(buffer)), 0, -1):
        if HEADER.startswith(buffer[-kept:]):
            return len(buffer) - kept
    return len(buffer)


def _packet(raw: bytes) -> Packet:
    identifier, instruction = raw[4], raw[PREFIX_SIZE]
    body = raw[PREFIX_SIZE + 1 : -CRC_SIZE]
    if not (identifier == BROADCAST_ID and instruction == Instruction.STATUS):
        body = unstuff(raw[PREFIX_SIZE:-CRC_SIZE])[1:]
    return Packet(identifier, instruction, body, raw)
