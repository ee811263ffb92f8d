# SPDX-License-Identifier: Apache-2.0
"""CRC-16 of Dynamixel protocol 2.0: polynomial 0x8005, start 0, not reflected, no final xor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_POLYNOMIAL: Final = 0x8005


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        remainder = byte << 8
        for _ in range(8):
            remainder = (remainder << 1) ^ (_POLYNOMIAL if remainder & 0x8000 else 0)
        entries.append(remainder & 0xFFFF)
    return tuple(entries)


_TABLE: Final = _table()


def crc16(data: Iterable[int], start: int = 0) -> int:
    """Checksum of a packet from its header to its last parameter.

    Args:
        data: Bytes.
        start: Checksum of what came before, to go on from it.

    Returns:
        0 to 65535; it travels low byte first.
    """
    table = _TABLE
    crc = start
    for byte in data:
        crc = ((crc << 8) & 0xFF00) ^ table[(crc >> 8) ^ byte]
    return crc
