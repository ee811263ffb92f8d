# SPDX-License-Identifier: Apache-2.0
"""Fields of a servo's memory: where they are and what they may hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from deft_core.errors import InvalidInputError

RAM_START: Final = 64


@dataclass(frozen=True)
class Field:
    """One entry of a control table; all numbers are raw counts.

    Attributes:
        name: e-Manual name in lower case with underscores.
        address: Of the first byte.
        size: 1, 2 or 4 bytes, little-endian.
        writable: Whether writes are taken at all.
        default: Factory value, and the value after a reboot for RAM; None where it depends on the
            servo's state.
        minimum: Lowest value that a write may carry; None for read-only fields.
        maximum: Highest value; None for read-only fields.
        limit: Name of the field that bounds the magnitude of this one, such as `current_limit`.
        unit: SI unit of a scaled value; empty for codes and counts.
        scale: Unit per count.
        signed: Two's complement.
    """

    name: str
    address: int
    size: int
    writable: bool = False
    default: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    limit: str = ''
    unit: str = ''
    scale: float = 1.0
    signed: bool = False

    @property
    def end(self) -> int:
        """First address behind the field."""
        return self.address + self.size

    @property
    def eeprom(self) -> bool:
        """Whether it survives a power cycle, and needs torque off to be written."""
        return self.address < RAM_START

    def encode(self, value: int) -> bytes:
        """Bytes of a raw value.

        Args:
            value: Raw counts.

        Returns:
            Little-endian, `size` bytes.

        Raises:
            InvalidInputError: It does not fit into the field.
        """
        try:
            return value.to_bytes(self.size, 'little', signed=self.signed)
        except OverflowError:
            raise InvalidInputError(
                f'{self.name} has {self.size} byte(s), {"" if self.signed else "un"}signed; '
                f'{value} does not fit.'
            ) from None

    def decode(self, data: bytes | bytearray | memoryview) -> int:
        """Raw value of bytes.

        Args:
            data: `size` bytes.

        Returns:
            Raw counts.

        Raises:
            InvalidInputError: Another number of bytes.
        """
        if len(data) != self.size:
            raise InvalidInputError(f'{self.name} has {self.size} byte(s), got {len(data)}.')
        return int.from_bytes(data, 'little', signed=self.signed)

    def to_si(self, value: int) -> float:
        """Physical value of raw counts. [unit]."""
        return value * self.scale

    def from_si(self, value: float) -> int:
        """Nearest raw counts of a physical value [unit]."""
        return round(value / self.scale)


class ControlTable:
    """The fields of one motor model.

    Args:
        fields: In any order.

    Raises:
        InvalidInputError: Two fields share a name or a byte.
    """

    def __init__(self, fields: Iterable[Field]) -> None:
        """Index the fields by name and by address."""
        self._fields = tuple(sorted(fields, key=lambda field: field.address))
        self._by_name = {field.name: field for field in self._fields}
        if len(self._by_name) != len(self._fields):
            raise InvalidInputError('Two fields of a control table have the same name.')
        self._by_byte: dict[int, Field] = {}
        for field in self._fields:
            for address in range(field.address, field.end):
                other = self._by_byte.setdefault(address, field)
                if other is not field:
                    raise InvalidInputError(
                        f'Fields {other.name} and {field.name} share address {address}.'
                    )

    def __iter__(self) -> Iterator[Field]:
        """Fields by rising address."""
        return iter(self._fields)

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

    def __contains__(self, name: str) -> bool:
        """Whether there is a field of that name."""
        return name in self._by_name

    @property
    def size(self) -> int:
        """First address behind the last field."""
        return self._fields[-1].end

    def field_at(self, address: int) -> Field | None:
        """Field that holds the byte at an address, None in a gap."""
        return self._by_byte.get(address)

    def covering(self, address: int, size: int) -> tuple[Field, ...]:
        """Fields that lie wholly or partly in a range.

        Args:
            address: First byte.
            size: Number of bytes.

        Returns:
            By rising address.
        """
        found: list[Field] = []
        for byte in range(address, address + size):
            field = self._by_byte.get(byte)
            if field is not None and (not found or found[-1] is not field):
                found.append(field)
        return tuple(found)
