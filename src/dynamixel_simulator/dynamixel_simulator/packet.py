# SPDX-License-Identifier: Apache-2.0
"""Instruction and status packets of Dynamixel protocol 2.0, stuffed and checked.

Source: e-Manual, "DYNAMIXEL Protocol 2.0". Layout of both, numbers little-endian:
``FF FF FD 00 | id | length (2) | instruction | parameters | CRC (2)``; a status packet is the
instruction 0x55 whose first parameter is the error byte. The packets are ours because those of
`dynamixel_sdk` 4.1.0 are not stuffed when sent and wrongly unstuffed when received.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from fastcrc import crc16 as checksums

from deft_core.errors import InvalidInputError

HEADER: Final = b'\xff\xff\xfd\x00'
BROADCAST_ID: Final = 0xFE
MAX_ID: Final = 252
ALERT_BIT: Final = 0x80
# Header, id and length before the instruction; the CRC behind the parameters.
PREFIX_SIZE: Final = 7
CRC_SIZE: Final = 2

# After every FF FF FD from instruction to last parameter goes an FD: nothing there looks like a
# header.
_PATTERN: Final = b'\xff\xff\xfd'
_STUFFED: Final = b'\xff\xff\xfd\xfd'
_PREFIX: Final = struct.Struct('<4sBH')
# The longest packet that one bus of servos needs; a longer one is a broken length.
_LONGEST_LENGTH: Final = 4096
_SHORTEST_LENGTH: Final = 1 + CRC_SIZE


class Instruction(enum.IntEnum):
    """What a packet asks for."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REBOOT = 0x08
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A


class StatusError(enum.IntEnum):
    """Error number of a status packet, bits 0 to 6 of its error byte."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


class Packet(NamedTuple):
    """A packet whose checksum was right."""

    identifier: int  # 0 to 252, or 254 for all
    instruction: int  # a value of `Instruction`, or an unknown one
    # without stuffing; of a status packet with the error byte first. The reply to a fast read
    # keeps the checksums between its parts: see `split_fast_status`
    parameters: bytes
    raw: bytes  # the whole packet as it was on the wire


class Status(NamedTuple):
    """What one servo answered; the error byte is a `StatusError`, plus `ALERT_BIT`."""

    identifier: int
    error: int
    parameters: bytes

    @property
    def alert(self) -> bool:
        """Whether the servo has a hardware error; its field `hardware_error_status` says which."""
        return bool(self.error & ALERT_BIT)


def crc16(data: bytes | bytearray, start: int = 0) -> int:
    """Checksum from the header to the last parameter, going on from that of what came before."""
    return checksums.umts(bytes(data), start)


def build_packet(identifier: int, instruction: int, parameters: bytes = b'') -> bytes:
    """Bytes of a packet with stuffing and checksum.

    Raises:
        InvalidInputError: No such id.
    """
    if not 0 <= identifier <= MAX_ID and identifier != BROADCAST_ID:
        raise InvalidInputError(
            f'A servo id must be 0 to {MAX_ID}, or {BROADCAST_ID} for all, got {identifier}.'
        )
    body = (bytes((instruction,)) + parameters).replace(_PATTERN, _STUFFED)
    packet = _PREFIX.pack(HEADER, identifier, len(body) + CRC_SIZE) + body
    return packet + crc16(packet).to_bytes(CRC_SIZE, 'little')


def build_status(identifier: int, error: int = 0, parameters: bytes = b'') -> bytes:
    """Bytes of a status packet; see `build_packet`."""
    return build_packet(identifier, Instruction.STATUS, bytes((error,)) + parameters)


def fast_status_prefix(sizes: Sequence[int]) -> bytes:
    """Beginning of the common reply to a fast sync read.

    ``FF FF FD 00 FE length 55``, then per servo ``error id data CRC``; each checksum covers
    everything before it. Nothing is stuffed: the first servo writes the length before it knows
    what the others will say.
    """
    length = 1 + sum(2 + size + CRC_SIZE for size in sizes)
    return _PREFIX.pack(HEADER, BROADCAST_ID, length) + bytes((Instruction.STATUS,))


def split_fast_status(raw: bytes, sizes: Sequence[int]) -> list[Status]:
    """Take the common reply to a fast sync read apart.

    Returns:
        The leading parts that are complete and whose checksum is right; as many as `sizes` has
        entries if all went well.
    """
    prefix = fast_status_prefix(sizes)
    if not raw.startswith(prefix):
        return []
    parts = []
    crc, done, start = 0, 0, len(prefix)
    for size in sizes:
        end = start + 2 + size
        if len(raw) < end + CRC_SIZE:
            break
        crc = crc16(raw[done:end], crc)
        if raw[end : end + CRC_SIZE] != crc.to_bytes(CRC_SIZE, 'little'):
            break
        parts.append(Status(raw[start + 1], raw[start], raw[start + 2 : end]))
        done, start = end, end + CRC_SIZE
    return parts


def status_of(packet: Packet) -> Status | None:
    """Status of one servo; None for an instruction, such as an echo, or without an error byte."""
    if packet.instruction != Instruction.STATUS or not packet.parameters:
        return None
    return Status(packet.identifier, packet.parameters[0], packet.parameters[1:])


class PacketReader:
    """Collects bytes and gives back whole packets whose checksum is right.

    Garbage, half packets and wrong checksums are skipped; reading goes on at the next header.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray()
        self.wrong_checksums = 0  # packets that were dropped for their checksum since the start
        self.skipped_bytes = 0  # bytes that belonged to no good packet since the start

    @property
    def pending(self) -> bytes:
        """Bytes of a packet that is not complete yet."""
        return bytes(self._buffer)

    def clear(self) -> None:
        """Forget a packet that is not complete."""
        self._skip(len(self._buffer))

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes as they came; the packets that are complete now, oldest first."""
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
    body = raw[PREFIX_SIZE:-CRC_SIZE]
    if not (identifier == BROADCAST_ID and instruction == Instruction.STATUS):
        body = body.replace(_STUFFED, _PATTERN)
    return Packet(identifier, instruction, body[1:], raw)
