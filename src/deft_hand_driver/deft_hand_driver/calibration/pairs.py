# SPDX-License-Identifier: Apache-2.0
"""Pairs of motor angles and observed joint angles, and their file (paper, appendix B).

The file has one JSON object a line: what was measured, then one line per pair, each on the disk
before the next motion. A run that was broken off leaves a file that can be fitted.
"""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

import numpy as np
import numpy.typing as npt

from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.calibration.measured_file import (
    hand_identity,
    numbers,
    parse_object,
    plain,
    read_text,
    require_identity,
    text,
)
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import MEASURED

PAIRS_SCHEMA: Final = 'deft_tendon_pairs/1'
_REMEDY: Final = 'record new pairs with `deft hand calibrate map`'


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
        count = len(self.sweeps)
        width = np.shape(self.commands)[-1]
        finite_array('commands', self.commands, (count, width))
        finite_array('motor positions', self.motors, (count, width))
        finite_array('observed joints', self.joints, (count, len(HAND_JOINT_NAMES)))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sweeps)

    def chosen(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> TendonPairs:
        """Some of the pairs."""
        return TendonPairs(
            self.measured,
            self.source,
            self.date,
            self.sweeps[rows],
            self.commands[rows],
            self.motors[rows],
            self.joints[rows],
        )


class PairsFile:
    """A file of pairs that grows.

    Example:
        >>> with PairsFile.create(path, description, 'spool', '/topic') as file:
        ...     file.append(0, commands, motors, joints)  # doctest: +SKIP
    """

    def __init__(self, path: Path, stream: TextIO) -> None:
        """Use `create`."""
        self.path = path
        self.count = 0
        self._stream = stream

    @classmethod
    def create(
        cls, path: Path, description: HandDescription, measured: str, source: str
    ) -> PairsFile:
        """Begin a file.

        Args:
            path: It must not exist.
            description: The hand.
            measured: One of `joint_map.MEASURED`.
            source: Who observes the joints.

        Raises:
            RecordingError: It exists, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open('x', encoding='utf-8')
        except FileExistsError as error:
            raise RecordingError(f'{path} exists; name another file for the pairs.') from error
        except OSError as error:
            raise RecordingError(f'Cannot write the pairs to {path}: {error}') from error
        file = cls(path, stream)
        file._write(
            {
                'schema': PAIRS_SCHEMA,
                'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
                'measured': measured,
                'source': source,
                'joint_names': list(HAND_JOINT_NAMES),
                'motor_names': list(description.motor_names),
                'hand': hand_identity(description),
            }
        )
        return file

    def append(
        self, sweep: int, commands: FloatArray, motors: FloatArray, joints: FloatArray
    ) -> None:
        """Add a pair; it is on the disk afterwards.

        Args:
            sweep: Number of the sweep.
            commands: Sent motor commands. Shape (m,). [rad].
            motors: Measured motor positions. Shape (m,). [rad].
            joints: Observed joint positions. Shape (16,). [rad].

        Raises:
            RecordingError: The file cannot be written.
        """
        self._write(
            {
                'sweep': sweep,
                'commands': plain(commands),
                'motors': plain(motors),
                'joints': plain(joints),
            }
        )
        self.count += 1

    def close(self) -> None:
        """End the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _write(self, values: dict[str, object]) -> None:
        try:
            self._stream.write(json.dumps(values, allow_nan=False) + '\n')
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
    lines = read_text(path, 'pairs').splitlines(keepends=True)
    if not lines:
        raise ConfigurationError(f'{path} is empty; {_REMEDY}.')
    if not lines[-1].endswith('\n'):
        lines.pop()
    head = parse_object(lines[0] if lines else '', f'{path}, line 1')
    if head.get('schema') != PAIRS_SCHEMA:
        raise ConfigurationError(
            f'{path} holds {head.get("schema")!r}, expected {PAIRS_SCHEMA!r}; {_REMEDY}.'
        )
    require_identity(f'{path}', head.get('hand'), description, _REMEDY)
    where = f'{path}, line 1'
    for key, expected in (
        ('joint_names', HAND_JOINT_NAMES),
        ('motor_names', description.motor_names),
    ):
        if head.get(key) != list(expected):
            raise ConfigurationError(f'{where}: {key} must be {list(expected)}.')
    width = len(description.motor_names)
    rows: dict[str, list[FloatArray]] = {'commands': [], 'motors': [], 'joints': []}
    sweeps = []
    for place, line in enumerate(lines[1:], start=2):
        where = f'{path}, line {place}'
        values = parse_object(line, where)
        sweeps.append(int(numbers(values, 'sweep', (), where)))
        for key, size in (('commands', width), ('motors', width), ('joints', 16)):
            rows[key].append(numbers(values, key, (size,), where))
    if not sweeps:
        raise ConfigurationError(f'{path} holds no pair; {_REMEDY}.')
    try:
        return TendonPairs(
            measured=text(head, 'measured', where),
            source=text(head, 'source', where),
            date=text(head, 'date', where),
            sweeps=np.array(sweeps, dtype=np.int64),
            commands=np.array(rows['commands']),
            motors=np.array(rows['motors']),
            joints=np.array(rows['joints']),
        )
    except InvalidInputError as error:
        raise ConfigurationError(f'{path}: {error}') from error
