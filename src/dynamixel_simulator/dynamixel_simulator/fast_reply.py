# SPDX-License-Identifier: Apache-2.0
"""The common reply to a fast read, with the faults that a chain of servos can put into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dynamixel_simulator.packet import BROADCAST_ID, CRC_SIZE, HEADER, Instruction, crc16


class FastPart(NamedTuple):
    """What one servo adds.

    Attributes:
        identifier: Of the servo.
        error: Error byte.
        data: What was asked for.
        wrong_crc: Its checksum is wrong; those of the servos behind it are right again.
        half: It falls silent in the middle of its part.
    """

    identifier: int
    error: int
    data: bytes
    wrong_crc: bool
    half: bool


def fast_reply(parts: Sequence[FastPart], sizes: Sequence[int]) -> bytes:
    """Bytes on the wire.

    Args:
        parts: Of the servos that answer, in the order of the request; a chain may end early.
        sizes: Bytes of data that every servo was asked for, also those that do not answer: the
            first one announces the length of all.

    Returns:
        From the header on.
    """
    length = 1 + sum(2 + size + CRC_SIZE for size in sizes)
    wire = bytearray(HEADER)
    wire += bytes((BROADCAST_ID, length & 0xFF, length >> 8, Instruction.STATUS))
    crc, done = 0, 0
    for part in parts:
        content = bytes((part.error, part.identifier)) + part.data
        if part.half:
            wire += content[: len(content) // 2]
            break
        wire += content
        crc = crc16(wire[done:], crc)
        done = len(wire)
        wire += (crc ^ 0xFFFF if part.wrong_crc else crc).to_bytes(CRC_SIZE, 'little')
    return bytes(wire)
