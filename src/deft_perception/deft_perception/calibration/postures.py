# SPDX-License-Identifier: Apache-2.0
"""Arm postures from which the board is looked at, and the moves between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.configuration import bounds, load_named
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import write_atomically
from deft_core.validation import FloatArray, finite_array

_PEAK_SPEED: Final = 1.875  # of the minimum-jerk profile over its mean
_RATE: Final = 20.0  # [Hz] of the setpoints of a move
_HEADER: Final = (
    '# SPDX-License-Identifier: Apache-2.0\n'
    '# Arm postures for the calibration of the camera, in the order in which they are visited.\n'
    '# The arm moves straight in joint space between neighbours, and from home to the first.\n'
)


@dataclass(frozen=True)
class CalibrationPostures:
    """A file in `config/postures`."""

    name: str
    joint_names: tuple[str, ...]  # joints of the arm
    # one row per posture, in the order of `joint_names` [rad]
    positions: tuple[tuple[float, ...], ...] = field(metadata=bounds(-6.2832, 6.2832, 'rad'))

    def __post_init__(self) -> None:
        """Refuse rows of another length."""
        if not self.positions:
            raise ConfigurationError(f'Postures {self.name}: the list is empty.')
        for number, row in enumerate(self.positions):
            if len(row) != len(self.joint_names):
                raise ConfigurationError(
                    f'Postures {self.name}: row {number} has {len(row)} values for '
                    f'{len(self.joint_names)} joints.'
                )

    def matrix(self) -> FloatArray:
        """Shape (n, joints). [rad]."""
        return np.array(self.positions, dtype=np.float64)


def load_postures(name: str, directory: Path) -> CalibrationPostures:
    """Postures by name from the `postures` folder of a configuration folder."""
    return load_named(CalibrationPostures, directory / 'postures', name)


def save_postures(path: Path, joint_names: tuple[str, ...], positions: FloatArray) -> None:
    """Write postures (n, joints) [rad] to `<name>.yaml`."""
    checked = finite_array('postures', positions, (-1, len(joint_names)))
    rows = '\n'.join('  - [' + ', '.join(f'{v:.4f}' for v in row) + ']' for row in checked)
    text = (
        f'{_HEADER}name: {path.stem}\njoint_names: [{", ".join(joint_names)}]\n'
        f'positions:  # [rad]\n{rows}\n'
    )
    write_atomically(path, text)


def straight_joint_move(
    start: npt.ArrayLike, end: npt.ArrayLike, speed: float, shortest: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Minimum-jerk setpoints, s(t) = 10 t^3 - 15 t^4 + 6 t^5, between joint positions (n,) [rad].

    Args:
        start: Joint positions.
        end: Likewise.
        speed: Peak speed of the fastest joint. [rad/s].
        shortest: Least duration. [s].

    Returns:
        Times, shape (m,) [s], first 0; positions, shape (m, n) [rad].
    """
    first = finite_array('start of the move', start, (-1,))
    last = finite_array('end of the move', end, (len(first),))
    if not (speed > 0.0 and shortest > 0.0):
        raise InvalidInputError(
            f'Speed and duration of a move must be positive, got {speed} rad/s and {shortest} s.'
        )
    distance = float(np.abs(last - first).max(initial=0.0))
    duration = max(shortest, _PEAK_SPEED * distance / speed)
    share = np.linspace(0.0, 1.0, max(2, round(duration * _RATE)) + 1)
    profile = share**3 * (10.0 + share * (6.0 * share - 15.0))
    return share * duration, first + profile[:, None] * (last - first)
