# SPDX-License-Identifier: Apache-2.0
"""Registers of a simulated servo as bytes, with indirect addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dynamixel_simulator.control_table import ControlTable, Field
from dynamixel_simulator.packet import StatusError

_INDIRECT_ADDRESS: Final = 'indirect_address_'
_INDIRECT_DATA: Final = 'indirect_data_'


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
