# SPDX-License-Identifier: Apache-2.0
"""Pairs of motor angles and observed joint angles, and their file (paper, appendix B).

Every pair is on the disk before the next motion: a run that was broken off leaves a file that can
be fitted. It says what of the hand the pairs depend on, so that no other hand uses them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.configuration import bounds, build
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.files import LARGEST_RECORDING, read_json, write_atomically
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import HandDescription

_SCHEMA: Final = 'deft_tendon_pairs/3'
_REMEDY: Final = 'record new pairs with `deft hand calibrate map`'
_ANGLE: Final = bounds(-100.0, 100.0, 'rad')
_SHOWN: Final = 3  # differences that a message names


@dataclass(frozen=True, eq=False)
class TendonPairs:
    """What was commanded, measured and observed in n settled postures of one hand with m motors.

    Attributes:
        sweeps: Number of the sweep that each posture belongs to. Shape (n,).
        commands: Motor commands that were really sent. Shape (n, m). [rad].
        motors: Measured motor positions. Shape (n, m). [rad].
        joints: Observed joint positions. Shape (n, 16). [rad].
    """

    source: str
    date: str
    sweeps: npt.NDArray[np.int64]
    commands: FloatArray
    motors: FloatArray
    joints: FloatArray

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
class _Document:
    """What the file holds: `TendonPairs`, and the hand they belong to."""

    schema: str
    date: str
    source: str
    joint_names: tuple[str, ...]
    motor_names: tuple[str, ...]
    hand: dict[str, Any]
    sweeps: list[int] = field(metadata=bounds(0, 1_000_000))
    commands: list[list[float]] = field(metadata=_ANGLE)
    motors: list[list[float]] = field(metadata=_ANGLE)
    joints: list[list[float]] = field(metadata=_ANGLE)


class PairsFile:
    """A file of pairs that grows; after every pair it is written whole."""

    def __init__(self, path: Path, description: HandDescription, source: str) -> None:
        """Begin a file that does not exist."""
        if path.exists():
            raise RecordingError(f'{path} exists; name another file for the pairs.')
        self.path = path
        self._document = _Document(
            schema=_SCHEMA,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            source=source,
            joint_names=HAND_JOINT_NAMES,
            motor_names=description.motor_names,
            hand=hand_identity(description),
            sweeps=[],
            commands=[],
            motors=[],
            joints=[],
        )
        self._write()

    @property
    def count(self) -> int:
        """Pairs in it."""
        return len(self._document.sweeps)

    def append(
        self, sweep: int, commands: FloatArray, motors: FloatArray, joints: FloatArray
    ) -> None:
        """Add a pair as in `TendonPairs`; it is on the disk afterwards; raises RecordingError."""
        self._document.sweeps.append(sweep)
        self._document.commands.append(commands.tolist())
        self._document.motors.append(motors.tolist())
        self._document.joints.append(joints.tolist())
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, json.dumps(asdict(self._document), allow_nan=False) + '\n')


def load_pairs(path: Path, description: HandDescription) -> TendonPairs:
    """Read a file of pairs.

    Raises:
        ConfigurationError: The file is missing, broken, of another hand, or holds no pair.
    """
    values = read_json(path, LARGEST_RECORDING)
    if values.get('schema') != _SCHEMA:
        raise ConfigurationError(
            f'{path} holds {values.get("schema")!r}, expected {_SCHEMA!r}; {_REMEDY}.'
        )
    document = build(_Document, values, str(path))
    require_identity(str(path), document.hand, description, _REMEDY)
    for found, expected in (
        (document.joint_names, HAND_JOINT_NAMES),
        (document.motor_names, description.motor_names),
    ):
        if found != expected:
            raise ConfigurationError(f'{path}: the names must be {list(expected)}.')
    count, width = len(document.sweeps), len(document.motor_names)
    if not count:
        raise ConfigurationError(f'{path} holds no pair; {_REMEDY}.')
    try:
        return TendonPairs(
            source=document.source,
            date=document.date,
            sweeps=np.array(document.sweeps, dtype=np.int64),
            commands=finite_array('commands', document.commands, (count, width)),
            motors=finite_array('motors', document.motors, (count, width)),
            joints=finite_array('joints', document.joints, (count, len(HAND_JOINT_NAMES))),
        )
    except InvalidInputError as error:
        raise ConfigurationError(f'{path}: {error}') from error


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
    """Refuse a measurement of another hand, or of this one before its file was changed."""
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
