# SPDX-License-Identifier: Apache-2.0
"""CRC-16 of Dynamixel protocol 2.0: polynomial 0x8005, start 0, not reflected, no final xor."""

from __future__ import annotations

from fastcrc import crc16 as variants


def crc16(data: bytes | bytearray, start: int = 0) -> int:
    """Checksum of a packet from its header to its last parameter.

    Args:
        data: Bytes.
        start: Checksum of what came before, to go on from it.

    Returns:
        0 to 65535; it travels low byte first.
    """
    return variants.umts(bytes(data), start)
