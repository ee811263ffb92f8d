# SPDX-License-Identifier: Apache-2.0
"""Fields of a servo's memory: where they are and what they may hold, all in raw counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from deft_core.errors import InvalidInputError

RAM_START: Final = 64


@dataclass(frozen=True)
class Field:
    """One entry of a control table."""

    name: str  # e-Manual name in lower case with underscores
    address: int  # of the first byte
    size: int  # 1, 2 or 4 bytes, little-endian
    writable: bool = False  # whether writes are taken at all
    default: int = 0  # factory value, and the value after a reboot for RAM
    minimum: int = 0  # lowest value that a write may carry
    maximum: int = 0  # highest value that a write may carry
    signed: bool = False  # two's complement

    @property
    def end(self) -> int:
        """First address behind the field."""
        return self.address + self.size

    @property
    def eeprom(self) -> bool:
        """Whether it survives a power cycle, and needs torque off to be written."""
        return self.address < RAM_START

    def encode(self, value: int) -> bytes:
        """Bytes of raw counts.

        Raises:
            InvalidInputError: They do not fit into the field.
        """
        try:
            return value.to_bytes(self.size, 'little', signed=self.signed)
        except OverflowError:
            raise InvalidInputError(
                f'{self.name} has {self.size} byte(s), {"" if self.signed else "un"}signed; '
                f'{value} does not fit.'
            ) from None

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        """Raw counts of bytes.

        Raises:
            InvalidInputError: Another number of bytes than the field has.
        """
        if len(data) != self.size:
            raise InvalidInputError(f'{self.name} has {self.size} byte(s), got {len(data)}.')
        return int.from_bytes(data, 'little', signed=self.signed)


class ControlTable:
    """The fields of one motor model; iterating goes by rising address."""

    def __init__(self, fields: Iterable[Field]) -> None:
        """Index the fields by name and by address."""
        self._by_name = {
            field.name: field for field in sorted(fields, key=lambda field: field.address)
        }
        self._by_byte = {
            address: field for field in self for address in range(field.address, field.end)
        }

    def __iter__(self) -> Iterator[Field]:
        """Fields by rising address."""
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Field:
        """Field of a name.

        Raises:
            InvalidInputError: There is none; the nearest names are told.
        """
        try:
            return self._by_name[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._by_name) or ['model_number']
            raise InvalidInputError(
                f'This motor has no field {name!r}; did you mean {" or ".join(near)}?'
            ) from None

    @property
    def size(self) -> int:
        """First address behind the last field."""
        return max(self._by_byte) + 1

    def field_at(self, address: int) -> Field | None:
        """Field that holds the byte at an address, None in a gap."""
        return self._by_byte.get(address)
