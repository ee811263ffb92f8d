# SPDX-License-Identifier: Apache-2.0
"""Joints to motors and back as fitted to one hand (paper, appendix B), and the file of it.

The form is that of the closed form: every joint is affine in the motor that moves it, and where
PIP or DIP meets its stop the other one takes the rest of the tendon. What a motor can choose of
the joints (`FingerLayout.chosen`) is then affine in it as well, so the way back is a division.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import ConfigurationError, RecordingError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.calibration.finger_layout import finger_layouts
from deft_hand_driver.calibration.measured_file import (
    hand_identity,
    number,
    numbers,
    parse_object,
    plain,
    read_text,
    require_identity,
    text,
)
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import MEASURED, JointMap, closed_form_map

CLOSED_FORM: Final = 'closed form'
"""What `choose_map` says of the map that needs no file; `/diagnostics` shows it."""

MAP_SCHEMA: Final = 'deft_tendon_map/2'
_REMEDY: Final = 'calibrate again with `deft hand calibrate map`, or leave hand_map empty'
_SMALLEST_SLOPE: Final = 0.02  # of a joint per motor angle
_JOINTS: Final = len(HAND_JOINT_NAMES)


@dataclass(frozen=True, eq=False)
class ForwardModel:
    """Joints from m motor positions.

    Attributes:
        lower: Below it tendons are slack or joints at their stop. Shape (m,). [rad].
        upper: Likewise above it. Shape (m,). [rad].
        slopes: Joint per angle of its motor. Shape (16,).
        intercepts: Joint at motor angle 0. Shape (16,). [rad].
    """

    lower: FloatArray
    upper: FloatArray
    slopes: FloatArray
    intercepts: FloatArray

    def joints(self, description: HandDescription, motors: FloatArray) -> FloatArray:
        """Joint positions within the travel of motor positions (n, m). Shape (n, 16). [rad]."""
        inside = np.clip(motors, self.lower, self.upper)
        lower, upper = description.joint_limits()
        joints = np.empty((len(motors), _JOINTS))
        for layout in finger_layouts(description):
            own = inside[:, layout.motors][:, layout.own]
            found = self.slopes[layout.joints] * own + self.intercepts[layout.joints]
            for weights in layout.weights:
                moved = np.flatnonzero(weights)
                if len(moved) == 2:
                    rest = np.maximum(0.0, found[:, moved] - upper[layout.joints][moved])
                    passed_on = rest[:, ::-1] * weights[moved][::-1] / weights[moved]
                    found[:, moved] += passed_on - rest
            joints[:, layout.joints] = found
        return np.asarray(np.clip(joints, lower, upper), dtype=np.float64)


class LearnedMap:
    """Joints to motor commands and back for one hand, as it was observed; a `JointMap`.

    Attributes:
        description: The hand.
        lower: Motor commands at the lowest joint positions. Shape (m,). [rad].
        upper: Motor commands at the highest joint positions. Shape (m,). [rad].
        from_commands: Where the hand settles under commands.
        from_motors: Where it is at measured motor positions.
    """

    def __init__(
        self, description: HandDescription, from_commands: ForwardModel, from_motors: ForwardModel
    ) -> None:
        """Take fitted functions.

        Raises:
            ConfigurationError: The ranges are empty or leave the limits of the motors, or joints
                do not rise with their motors: a wanted joint would not belong to one command.
        """
        self.description = description
        self.from_commands = from_commands
        self.from_motors = from_motors
        self._layouts = finger_layouts(description)
        limits = description.motor_limits()
        self.lower = np.clip(from_commands.lower, *limits)
        self.upper = np.clip(from_commands.upper, *limits)
        for array in (self.lower, self.upper):
            array.setflags(write=False)
        for lower, upper in (
            (self.lower, self.upper),
            (from_motors.lower, from_motors.upper),
        ):
            if not np.all(lower < upper):
                place = int(np.argmin(upper - lower))
                raise ConfigurationError(
                    f'The learned map leaves motor {description.motor_names[place]} no range: '
                    f'{lower[place]:.3f} to {upper[place]:.3f} rad.'
                )
        for model in (from_commands, from_motors):
            place = int(np.argmin(model.slopes))
            if model.slopes[place] < _SMALLEST_SLOPE:
                raise ConfigurationError(
                    f'The learned map is not monotone: {HAND_JOINT_NAMES[place]} does not rise '
                    'with its motor. Record new pairs.'
                )

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`; commands outside of the range end at it. Shape (m,). [rad]."""
        joints = finite_array('hand joint positions', joint_positions, (_JOINTS,))
        model = self.from_commands
        found = np.empty(len(self.lower))
        for layout in self._layouts:
            slope = layout.chosen(model.slopes[layout.joints])
            offset = layout.chosen(model.intercepts[layout.joints])
            found[layout.motors] = (layout.chosen(joints[layout.joints]) - offset) / slope
        return np.asarray(np.clip(found, self.lower, self.upper), dtype=np.float64)

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        checked = finite_array('motor commands', commands, (len(self.lower),))
        return np.asarray(self.from_commands.joints(self.description, checked[np.newaxis])[0])

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        checked = finite_array('motor positions', motor_positions, (len(self.lower),))
        return np.asarray(self.from_motors.joints(self.description, checked[np.newaxis])[0])


@dataclass(frozen=True, eq=False)
class MapRecord:
    """A learned map and what is known about it.

    Attributes:
        learned: The map.
        measured: What its measured motor positions are, one of `joint_map.MEASURED`.
        date: Day on which the pairs were recorded, ISO 8601.
        source: Who observed the joints.
        pairs: Number of pairs behind it.
        joint_rmse: From measured motors to observed joints, on pairs left out of the fit. [rad].
        joint_rmse_by_joint: Likewise, of each joint. Shape (16,). [rad].
        command_rmse: Likewise, from commands. [rad].
        closed_form_joint_rmse: As `joint_rmse`, of the closed form. [rad].
    """

    learned: LearnedMap
    measured: str
    date: str
    source: str
    pairs: int
    joint_rmse: float
    joint_rmse_by_joint: FloatArray
    command_rmse: float
    closed_form_joint_rmse: float

    @property
    def summary(self) -> str:
        """One line for people."""
        return f'learned, {self.joint_rmse:.4f} rad on held-out pairs, {self.date}'


def save_map(record: MapRecord, path: Path) -> None:
    """Write a map; an old file is replaced in one step.

    Raises:
        RecordingError: It cannot be written.
    """
    document = {
        'schema': MAP_SCHEMA,
        'written': datetime.datetime.now(datetime.UTC).date().isoformat(),
        'date': record.date,
        'source': record.source,
        'pairs': record.pairs,
        'measured': record.measured,
        'joint_rmse_rad': record.joint_rmse,
        'command_rmse_rad': record.command_rmse,
        'closed_form_joint_rmse_rad': record.closed_form_joint_rmse,
        'joint_rmse_by_joint_rad': dict(
            zip(HAND_JOINT_NAMES, plain(record.joint_rmse_by_joint), strict=True)
        ),
        'from_commands': _to_plain(record.learned.from_commands),
        'from_motors': _to_plain(record.learned.from_motors),
        'hand': hand_identity(record.learned.description),
    }
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open('w', encoding='utf-8') as stream:
            stream.write(json.dumps(document, indent=1, allow_nan=False) + '\n')
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise RecordingError(f'Cannot write the map {path}: {error}') from error


def load_map(path: Path, description: HandDescription, measured: str) -> MapRecord:
    """Read a map and check that it belongs to the hand in use.

    Args:
        path: The file.
        description: The hand in use.
        measured: What measured motor positions are there, one of `joint_map.MEASURED`.

    Raises:
        ConfigurationError: The file is missing or broken, belongs to another hand or to this one
            before it was changed, or to other measurements.
    """
    where = str(path)
    values = parse_object(read_text(path, 'the map of the hand'), where)
    if values.get('schema') != MAP_SCHEMA:
        raise ConfigurationError(
            f'{where} holds {values.get("schema")!r}, expected {MAP_SCHEMA!r}; {_REMEDY}.'
        )
    require_identity(where, values.get('hand'), description, _REMEDY)
    found = text(values, 'measured', where)
    if found not in MEASURED or found != measured:
        raise ConfigurationError(
            f'{where} was fitted where motors measured the {found}, and these measure the '
            f'{measured}; {_REMEDY}.'
        )
    by_joint = values.get('joint_rmse_by_joint_rad')
    if not isinstance(by_joint, Mapping):
        raise ConfigurationError(f'{where}: entry joint_rmse_by_joint_rad must be an object.')
    models = [
        _from_plain(values, key, description, where) for key in ('from_commands', 'from_motors')
    ]
    try:
        learned = LearnedMap(description, *models)
    except ConfigurationError as error:
        raise ConfigurationError(f'{where}: {error}') from error
    return MapRecord(
        learned=learned,
        measured=found,
        date=text(values, 'date', where),
        source=text(values, 'source', where),
        pairs=int(number(values, 'pairs', where)),
        joint_rmse=number(values, 'joint_rmse_rad', where),
        joint_rmse_by_joint=np.array([number(by_joint, name, where) for name in HAND_JOINT_NAMES]),
        command_rmse=number(values, 'command_rmse_rad', where),
        closed_form_joint_rmse=number(values, 'closed_form_joint_rmse_rad', where),
    )


def choose_map(path: str, description: HandDescription, measured: str) -> tuple[JointMap, str]:
    """The map of a file, or the closed form where the path is empty; and one line about it.

    Raises:
        ConfigurationError: See `load_map`.
    """
    if not path:
        return closed_form_map(description, measured), CLOSED_FORM
    record = load_map(Path(path), description, measured)
    return record.learned, record.summary


def _to_plain(model: ForwardModel) -> dict[str, Any]:
    return {
        'lower': plain(model.lower),
        'upper': plain(model.upper),
        'slopes': plain(model.slopes),
        'intercepts': plain(model.intercepts),
    }


def _from_plain(
    values: Mapping[str, Any], key: str, description: HandDescription, where: str
) -> ForwardModel:
    where = f'{where}: {key}'
    part = values.get(key)
    if not isinstance(part, Mapping):
        raise ConfigurationError(f'{where} must be an object.')
    count = len(description.motor_names)
    return ForwardModel(
        numbers(part, 'lower', (count,), where),
        numbers(part, 'upper', (count,), where),
        numbers(part, 'slopes', (_JOINTS,), where),
        numbers(part, 'intercepts', (_JOINTS,), where),
    )
