# SPDX-License-Identifier: Apache-2.0
"""A servo's memory: its fields, all in raw counts, and the bytes with indirect addresses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deft_core.errors import InvalidInputError
from dynamixel_simulator.packet import StatusError

RAM_START: Final = 64
_INDIRECT_ADDRESS: Final = 'indirect_address_'
_INDIRECT_DATA: Final = 'indirect_data_'


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
        """Bytes of raw counts."""
        try:
            return value.to_bytes(self.size, 'little', signed=self.signed)
        except OverflowError:
            raise InvalidInputError(
                f'{self.name} has {self.size} byte(s), {"" if self.signed else "un"}signed; '
                f'{value} does not fit.'
            ) from None

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        """Raw counts of bytes."""
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
        """Field of a name."""
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


class Registers:
    """Bytes of a control table, read and written as a client does."""

    def __init__(self, table: ControlTable) -> None:
        """Fill in the factory values of all fields of a table."""
        self.table = table  # fields of the motor
        self.content = bytearray(table.size)  # all bytes
        self._place = list(range(table.size))  # where an access to an address really goes
        for field in table:
            self.store(field, field.default)

    def __getitem__(self, name: str) -> int:
        """Raw value of a field."""
        field = self.table[name]
        data = self.content[field.address : field.address + field.size]
        return int.from_bytes(data, 'little', signed=field.signed)

    def __setitem__(self, name: str, value: int) -> None:
        """Set a field past all rules of the firmware."""
        self.store(self.table[name], value)

    def store(self, field: Field, value: int) -> None:
        """Set a field of this table past all rules of the firmware."""
        self.content[field.address : field.end] = field.encode(value)
        if field.name.startswith(_INDIRECT_ADDRESS):
            slot = self.table[field.name.replace(_INDIRECT_ADDRESS, _INDIRECT_DATA)]
            self._place[slot.address] = value

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes as a client reads them; None where the table ends before, gaps read 0."""
        places = self._place[address : address + size]
        if size < 1 or len(places) < size:
            return None
        return bytes(map(self.content.__getitem__, places))

    def split_write(
        self, address: int, data: bytes
    ) -> tuple[StatusError, Sequence[tuple[Field, int]]]:
        """Take a write of a client apart, without doing it.

        Returns:
            Why it is refused, and the fields with their new raw values.
        """
        places = self._place[address : address + len(data)]
        if not data:
            return StatusError.DATA_LENGTH, ()
        if len(places) < len(data):
            return StatusError.ACCESS, ()
        sources = dict(zip(places, data, strict=True))
        fields = [self.table.field_at(place) for place in sources]
        values = []
        for field in dict.fromkeys(fields):
            if field is None or not field.writable:
                return StatusError.ACCESS, ()
            written = range(field.address, field.end)
            if any(place not in sources for place in written):
                return StatusError.DATA_LENGTH, ()
            values.append((field, field.decode(bytes(sources[place] for place in written))))
        return StatusError.NONE, values
