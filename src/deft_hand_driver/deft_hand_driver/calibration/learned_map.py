# SPDX-License-Identifier: Apache-2.0
"""Joints to motors and back as fitted to one hand (paper, appendix B), and its file.

The form is that of `TendonMap` with fitted numbers: every joint is affine in its motor, and where
PIP or DIP meets its stop the other one takes the rest of the tendon. What a motor chooses of the
joints (`HandDescription.motor_weights`) is then affine in it as well: the way back is a division.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.configuration import bounds, build
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import read_json, write_atomically
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.calibration.pairs import require_identity
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import JointMap, closed_form_map

CLOSED_FORM: Final = 'closed form'
"""What `choose_map` says of the map that needs no file; `/diagnostics` shows it."""

_SCHEMA: Final = 'deft_tendon_map/3'
_REMEDY: Final = 'calibrate again with `deft hand calibrate map`, or leave hand_map empty'
_ANGLE: Final = bounds(-100.0, 100.0, 'rad')
_SMALLEST_SLOPE: Final = 0.02  # of a joint per motor angle: below it a command could jump
_JOINTS: Final = len(HAND_JOINT_NAMES)


@dataclass(frozen=True)
class AffineModel:
    """Joints from m motor positions.

    Attributes:
        lower: Below it tendons are slack or joints at their stop. Shape (m,). [rad].
        upper: Likewise above it. Shape (m,). [rad].
        slopes: Joint per angle of its motor. Shape (16,).
        intercepts: Joint at motor angle 0. Shape (16,). [rad].
    """

    lower: tuple[float, ...] = field(metadata=_ANGLE)
    upper: tuple[float, ...] = field(metadata=_ANGLE)
    slopes: tuple[float, ...] = field(metadata=bounds(-100.0, 100.0))
    intercepts: tuple[float, ...] = field(metadata=_ANGLE)

    def joints(self, description: HandDescription, motors: FloatArray) -> FloatArray:
        """Joint positions, within the travel, of motor positions (n, m). Shape (n, 16). [rad]."""
        weights = description.motor_weights()
        lower, upper = description.joint_limits()
        own = np.argmax(weights > 0.0, axis=0)
        joints = np.clip(motors, self.lower, self.upper)[:, own] * self.slopes + self.intercepts
        # What PIP or DIP lacks beyond its stop, the other one takes.
        lacking = np.maximum(0.0, joints - upper)
        taken = (lacking @ weights.T)[:, own] / weights[own, np.arange(_JOINTS)] - lacking
        return np.asarray(np.clip(joints - lacking + taken, lower, upper), dtype=np.float64)


@dataclass(frozen=True)
class MapRecord:
    """What the file of a learned map holds.

    Attributes:
        date: Day on which the pairs were recorded, ISO 8601.
        joint_rmse: From measured motors to observed joints, on sweeps left out of the fit. [rad].
        command_rmse: Likewise, from commands. [rad].
        closed_form_joint_rmse: As `joint_rmse`, of the closed form. [rad].
        joint_rmse_by_joint: As `joint_rmse`, of each joint. [rad].
        from_motors: Where it is at measured motor positions.
        hand: What it depends on, by `hand_identity`.
    """

    date: str
    source: str
    pairs: int
    joint_rmse: float
    command_rmse: float
    closed_form_joint_rmse: float
    joint_rmse_by_joint: dict[str, float]
    from_commands: AffineModel
    from_motors: AffineModel
    hand: dict[str, Any]
    schema: str = _SCHEMA

    @property
    def summary(self) -> str:
        """One line for people."""
        return f'learned, {self.joint_rmse:.4f} rad on held-out pairs, {self.date}'


class LearnedMap:
    """Joints to motor commands and back for one hand, as it was observed; a `JointMap`."""

    def __init__(
        self, description: HandDescription, from_commands: AffineModel, from_motors: AffineModel
    ) -> None:
        """Take fitted models."""
        self.description = description
        self._from_commands, self._from_motors = from_commands, from_motors
        count = len(description.motor_names)
        for model in (from_commands, from_motors):
            try:
                for name, size in (
                    ('lower', count), ('upper', count), ('slopes', _JOINTS),
                    ('intercepts', _JOINTS),
                ):  # fmt: skip
                    finite_array(name, getattr(model, name), (size,))
            except InvalidInputError as error:
                raise ConfigurationError(f'The learned map is broken: {error}') from error
            place = int(np.argmin(model.slopes))
            if model.slopes[place] < _SMALLEST_SLOPE:
                raise ConfigurationError(
                    f'The learned map is not monotone: {HAND_JOINT_NAMES[place]} does not rise '
                    'with its motor. Record new pairs.'
                )
        limits = description.motor_limits()
        self.lower = np.clip(from_commands.lower, *limits)
        self.upper = np.clip(from_commands.upper, *limits)
        for lower, upper in (
            (self.lower, self.upper),
            (np.array(from_motors.lower), np.array(from_motors.upper)),
        ):
            lower.setflags(write=False)
            upper.setflags(write=False)
            place = int(np.argmin(upper - lower))
            if lower[place] >= upper[place]:
                raise ConfigurationError(
                    f'The learned map leaves motor {description.motor_names[place]} no range: '
                    f'{lower[place]:.3f} to {upper[place]:.3f} rad.'
                )
        self._weights = description.motor_weights()
        self._slope = self._weights @ from_commands.slopes
        self._offset = self._weights @ from_commands.intercepts

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`; commands outside of the range end at it. Shape (m,). [rad]."""
        joints = finite_array('hand joint positions', joint_positions, (_JOINTS,))
        commands = (self._weights @ joints - self._offset) / self._slope
        return np.asarray(np.clip(commands, self.lower, self.upper), dtype=np.float64)

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        checked = finite_array('motor commands', commands, self.lower.shape)
        return np.asarray(self._from_commands.joints(self.description, checked[np.newaxis])[0])

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        checked = finite_array('motor positions', motor_positions, self.lower.shape)
        return np.asarray(self._from_motors.joints(self.description, checked[np.newaxis])[0])


def save_map(record: MapRecord, path: Path) -> None:
    """Write a map, whole or not at all; raises RecordingError."""
    write_atomically(path, json.dumps(asdict(record), indent=1, allow_nan=False) + '\n')


def load_map(path: Path, description: HandDescription) -> tuple[LearnedMap, MapRecord]:
    """Read a map and check that it belongs to the hand in use.

    Raises:
        ConfigurationError: The file is missing or broken, belongs to another hand, or to this one
            before it was changed.
    """
    values = read_json(path)
    if values.get('schema') != _SCHEMA:
        raise ConfigurationError(
            f'{path} holds {values.get("schema")!r}, expected {_SCHEMA!r}; {_REMEDY}.'
        )
    record = build(MapRecord, values, str(path))
    require_identity(str(path), record.hand, description, _REMEDY)
    try:
        return LearnedMap(description, record.from_commands, record.from_motors), record
    except ConfigurationError as error:
        raise ConfigurationError(f'{path}: {error}') from error


def choose_map(path: str, description: HandDescription) -> tuple[JointMap, str]:
    """The map of a file, or the closed form where the path is empty; and one line about it."""
    if not path:
        return closed_form_map(description), CLOSED_FORM
    learned, record = load_map(Path(path), description)
    return learned, record.summary
