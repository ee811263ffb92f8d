# SPDX-License-Identifier: Apache-2.0
"""Control table of a simulated servo as bytes, with indirect addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dynamixel_simulator.control_table import ControlTable, Field
from dynamixel_simulator.packet import StatusError

_INDIRECT_ADDRESS = 'indirect_address_'
_INDIRECT_DATA = 'indirect_data_'


@dataclass(frozen=True)
class _Write:
    """How the bytes of a write spread over fields; `error` when the write is refused."""

    error: StatusError
    fields: tuple[tuple[Field, tuple[int, ...]], ...] = ()


class ServoMemory:
    """Bytes of a control table, read and written as a client does.

    Plans of reads and writes are kept, because a client repeats the same few all the time.

    Attributes:
        table: Fields of the motor.
        content: All bytes.
        changes: Counts what was stored, for those who keep values of it.
    """

    def __init__(self, table: ControlTable) -> None:
        """Fill in the factory values; fields without one are 0.

        Args:
            table: Fields of the motor.
        """
        self.table = table
        self.content = bytearray(table.size)
        self.changes = 0
        self._reads: dict[tuple[int, int], tuple[int, ...] | None] = {}
        self._writes: dict[tuple[int, int], _Write] = {}
        for field in table:
            self.store(field, field.default or 0)
        self._slots = {
            table[name].address: table[name.replace(_INDIRECT_DATA, _INDIRECT_ADDRESS)]
            for name in (field.name for field in table)
            if name.startswith(_INDIRECT_DATA)
        }

    def __getitem__(self, name: str) -> int:
        """Raw value of a field."""
        field = self.table[name]
        return field.decode(self.content[field.address : field.end])

    def __setitem__(self, name: str, value: int) -> None:
        """Set a field past all rules of the firmware."""
        self.store(self.table[name], value)

    def store(self, field: Field, value: int) -> None:
        """Set a field past all rules of the firmware.

        Args:
            field: Of this table.
            value: Raw counts.
        """
        self.content[field.address : field.end] = field.encode(value)
        self.changes += 1
        if field.name.startswith(_INDIRECT_ADDRESS):
            self._reads = {}
            self._writes = {}

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes as a client reads them.

        Args:
            address: First byte.
            size: Number of bytes.

        Returns:
            None where the table ends before; gaps in the table read 0.
        """
        try:
            places = self._reads[address, size]
        except KeyError:
            places = self._reads[address, size] = self._plan_read(address, size)
        content = self.content
        if places is None:
            end = address + size
            return bytes(content[address:end]) if size > 0 and end <= len(content) else None
        return bytes([content[place] for place in places])

    def values(self, address: int, data: bytes) -> tuple[StatusError, Sequence[tuple[Field, int]]]:
        """Take a write of a client apart, without doing it.

        Args:
            address: First byte.
            data: Bytes to write.

        Returns:
            Why it is refused, and the fields with their new raw values.
        """
        key = address, len(data)
        plan = self._writes.get(key)
        if plan is None:
            plan = self._writes[key] = self._plan_write(address, len(data))
        if plan.error:
            return plan.error, ()
        return StatusError.NONE, [
            (field, field.decode(bytes([data[place] for place in places])))
            for field, places in plan.fields
        ]

    def _resolve(self, address: int) -> int:
        """Where an access to an address really goes."""
        slot = self._slots.get(address)
        if slot is None:
            return address
        return int.from_bytes(self.content[slot.address : slot.end], 'little')

    def _plan_read(self, address: int, size: int) -> tuple[int, ...] | None:
        """Bytes that are read; None when they are the range itself."""
        wanted = range(address, address + size)
        places = tuple(self._resolve(place) for place in wanted)
        if places == tuple(wanted) or max(places) >= len(self.content):
            return None
        return places

    def _plan_write(self, address: int, size: int) -> _Write:
        if size == 0:
            return _Write(StatusError.DATA_LENGTH)
        source: dict[int, int] = {}
        fields: list[Field] = []
        for index in range(size):
            place = self._resolve(address + index)
            field = self.table.field_at(place)
            if field is None or not field.writable:
                return _Write(StatusError.ACCESS)
            if field not in fields:
                fields.append(field)
            source[place] = index
        spread = []
        for field in fields:
            places = range(field.address, field.end)
            if any(place not in source for place in places):
                return _Write(StatusError.DATA_LENGTH)
            spread.append((field, tuple(source[place] for place in places)))
        return _Write(StatusError.NONE, tuple(spread))
