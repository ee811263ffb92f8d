# SPDX-License-Identifier: Apache-2.0
"""Pairs of motor angles and observed joint angles, and their file (paper, appendix B).

The file has one JSON object a line: what was measured, then one line per pair, each on the disk
before the next motion. A run that was broken off leaves a file that can be fitted. It says what of
the hand the pairs depend on, so that they are never used with another one.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.configuration import build
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.files import read_text
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import MEASURED

_SCHEMA: Final = 'deft_tendon_pairs/1'
_REMEDY: Final = 'record new pairs with `deft hand calibrate map`'
_LARGEST_FILE: Final = 50_000_000  # bytes
_SHOWN: Final = 3  # differences that a message names


@dataclass(frozen=True, eq=False)
class TendonPairs:
    """What was commanded, measured and observed in n settled postures of one hand with m motors.

    Attributes:
        measured: What a measured motor position is, one of `joint_map.MEASURED`.
        source: Who observed the joints.
        date: Day of the recording, ISO 8601.
        sweeps: Number of the sweep that each posture belongs to. Shape (n,).
        commands: Motor commands that were really sent. Shape (n, m). [rad].
        motors: Measured motor positions. Shape (n, m). [rad].
        joints: Observed joint positions. Shape (n, 16). [rad].
    """

    measured: str
    source: str
    date: str
    sweeps: npt.NDArray[np.int64]
    commands: FloatArray
    motors: FloatArray
    joints: FloatArray

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            InvalidInputError: Shapes differ, numbers are not finite, or `measured` is unknown.
        """
        if self.measured not in MEASURED:
            raise InvalidInputError(
                f'Measured motor positions are of {" or ".join(MEASURED)}, got {self.measured!r}.'
            )
        shape = (len(self.sweeps), np.shape(self.commands)[-1])
        finite_array('commands', self.commands, shape)
        finite_array('motor positions', self.motors, shape)
        finite_array('observed joints', self.joints, (shape[0], len(HAND_JOINT_NAMES)))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sweeps)

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> TendonPairs:
        """Some of the pairs."""
        return replace(
            self,
            sweeps=self.sweeps[rows],
            commands=self.commands[rows],
            motors=self.motors[rows],
            joints=self.joints[rows],
        )


@dataclass(frozen=True)
class _Head:
    """First line of the file."""

    schema: str
    date: str
    measured: str
    source: str
    joint_names: list[str]
    motor_names: list[str]
    hand: dict[str, Any]


@dataclass(frozen=True)
class _Pair:
    """Every other line."""

    sweep: int
    commands: list[float]
    motors: list[float]
    joints: list[float]


class PairsFile:
    """A file of pairs that grows.

    Attributes:
        path: The file.
        count: Pairs in it.
    """

    def __init__(
        self, path: Path, description: HandDescription, measured: str, source: str
    ) -> None:
        """Begin a file that does not exist.

        Args:
            path: The file.
            description: The hand.
            measured: One of `joint_map.MEASURED`.
            source: Who observes the joints.

        Raises:
            RecordingError: It exists, or cannot be written.
        """
        self.path = path
        self.count = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open('x', encoding='utf-8')
        except FileExistsError as error:
            raise RecordingError(f'{path} exists; name another file for the pairs.') from error
        except OSError as error:
            raise RecordingError(f'Cannot write the pairs to {path}: {error}') from error
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        names = list(HAND_JOINT_NAMES), list(description.motor_names)
        self._write(_Head(_SCHEMA, today, measured, source, *names, hand_identity(description)))

    def append(
        self, sweep: int, commands: FloatArray, motors: FloatArray, joints: FloatArray
    ) -> None:
        """Add a pair as in `TendonPairs`; it is on the disk afterwards.

        Raises:
            RecordingError: The file cannot be written.
        """
        self._write(_Pair(sweep, commands.tolist(), motors.tolist(), joints.tolist()))
        self.count += 1

    def close(self) -> None:
        """End the file."""
        self._stream.close()

    def _write(self, line: _Head | _Pair) -> None:
        try:
            self._stream.write(json.dumps(asdict(line), allow_nan=False) + '\n')
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise RecordingError(f'Cannot write the pairs to {self.path}: {error}') from error


def load_pairs(path: Path, description: HandDescription) -> TendonPairs:
    """Read a file of pairs; a last line that was cut off is left out.

    Args:
        path: The file.
        description: The hand they must belong to.

    Raises:
        ConfigurationError: The file is missing, broken, of another hand, or holds no pair.
    """
    lines = read_text(path, _LARGEST_FILE).splitlines(keepends=True)
    if lines and not lines[-1].endswith('\n'):
        lines.pop()
    if not lines:
        raise ConfigurationError(f'{path} is empty; {_REMEDY}.')
    values = _parse(lines[0], f'{path}, line 1')
    if values.get('schema') != _SCHEMA:
        raise ConfigurationError(
            f'{path} holds {values.get("schema")!r}, expected {_SCHEMA!r}; {_REMEDY}.'
        )
    head = build(_Head, values, f'{path}, line 1')
    require_identity(str(path), head.hand, description, _REMEDY)
    for found, expected in (
        (head.joint_names, HAND_JOINT_NAMES),
        (head.motor_names, description.motor_names),
    ):
        if found != list(expected):
            raise ConfigurationError(f'{path}, line 1: the names must be {list(expected)}.')
    pairs = []
    for place, line in enumerate(lines[1:], start=2):
        where = f'{path}, line {place}'
        pair = build(_Pair, _parse(line, where), where)
        sizes = [len(row) for row in (pair.commands, pair.motors, pair.joints)]
        wanted = [len(head.motor_names), len(head.motor_names), len(head.joint_names)]
        if sizes != wanted:
            raise ConfigurationError(f'{where} holds {sizes} numbers, expected {wanted}.')
        pairs.append(pair)
    if not pairs:
        raise ConfigurationError(f'{path} holds no pair; {_REMEDY}.')
    try:
        return TendonPairs(
            measured=head.measured,
            source=head.source,
            date=head.date,
            sweeps=np.array([pair.sweep for pair in pairs], dtype=np.int64),
            commands=np.array([pair.commands for pair in pairs]),
            motors=np.array([pair.motors for pair in pairs]),
            joints=np.array([pair.joints for pair in pairs]),
        )
    except InvalidInputError as error:
        raise ConfigurationError(f'{path}: {error}') from error


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f'{where} is not JSON: {error}') from error
    if not isinstance(found, dict):
        raise ConfigurationError(f'{where} must be a JSON object.')
    return found


def hand_identity(description: HandDescription) -> dict[str, Any]:
    """Everything of a hand that changes its map between motors and joints, flat.

    Current limits, speeds, gains and motor limits may change without a new measurement.

    Returns:
        Entry to value, such as `motors.index_curl.zero`.
    """
    tendons = description.tendons
    joints = [joint for finger in description.fingers.values() for joint in finger.joints()]
    entries = {
        'name': description.name,
        'transmission': description.transmission,
        'tendons': asdict(tendons) if tendons is not None else {},
        'joints': {
            name: asdict(joint) for name, joint in zip(HAND_JOINT_NAMES, joints, strict=True)
        },
        'motors': {
            name: {
                key: getattr(motor, key) for key in ('id', 'model', 'sign', 'gear', 'zero')
            }
            for name, motor in description.motors.items()
        },
    }  # fmt: skip
    return dict(_flat(entries, ''))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{key}.')
        elif value is not None:
            yield f'{prefix}{key}', value


def require_identity(
    what: str, found: Mapping[str, Any], description: HandDescription, remedy: str
) -> None:
    """Refuse a measurement of another hand, or of this one before its file was changed.

    Args:
        what: What was measured, for the message.
        found: Identity that came with it.
        description: The hand in use.
        remedy: What to do about it, a clause.

    Raises:
        ConfigurationError: They differ.
    """
    expected = hand_identity(description)
    if found.get('name') != description.name:
        raise ConfigurationError(
            f'{what} belongs to hand {found.get("name")!r}, not to {description.name!r}; {remedy}.'
        )
    differing = [
        f'{key} is {found.get(key, "missing")} there and {expected.get(key, "missing")} here'
        for key in sorted({*expected, *found})
        if found.get(key) != expected.get(key)
    ]
    if differing:
        more = len(differing) - _SHOWN
        rest = f', and {more} more entries differ' if more > 0 else ''
        raise ConfigurationError(
            f'{what} was measured before the description of hand {description.name} was changed: '
            f'{"; ".join(differing[:_SHOWN])}{rest}; {remedy}.'
        )
