# SPDX-License-Identifier: Apache-2.0
"""The learned map of a hand on disk: plain numbers in JSON, with their error and their origin."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from deft_core.errors import ConfigurationError, RecordingError
from deft_core.grasp import FINGERS, HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.families import FAMILIES
from deft_hand_driver.calibration.finger_layout import finger_layouts
from deft_hand_driver.calibration.identity import hand_identity, require_identity
from deft_hand_driver.calibration.learned_map import ForwardModel, LearnedMap
from deft_hand_driver.calibration.plain_json import (
    number,
    numbers,
    parse_object,
    plain,
    read_text,
    text,
)
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import MEASURED, JointMap, closed_form_map

CLOSED_FORM: Final = 'closed form'
"""What `choose_map` says of the map that needs no file; `/diagnostics` shows it."""

MAP_SCHEMA: Final = 'deft_tendon_map/1'
_REMEDY: Final = 'calibrate again with `deft hand calibrate map`, or leave hand_map empty'


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
        return (
            f'learned, {self.learned.from_commands.family}, {self.joint_rmse:.4f} rad on '
            f'held-out pairs, {self.date}'
        )


def save_map(record: MapRecord, path: Path) -> None:
    """Write a map; an old file is replaced in one step.

    Args:
        record: What to write.
        path: The file.

    Raises:
        RecordingError: It cannot be written.
    """
    learned = record.learned
    document = {
        'schema': MAP_SCHEMA,
        'written': datetime.datetime.now(datetime.UTC).date().isoformat(),
        'date': record.date,
        'source': record.source,
        'pairs': record.pairs,
        'measured': record.measured,
        'family': learned.from_commands.family,
        'joint_rmse_rad': record.joint_rmse,
        'command_rmse_rad': record.command_rmse,
        'closed_form_joint_rmse_rad': record.closed_form_joint_rmse,
        'joint_rmse_by_joint_rad': dict(
            zip(HAND_JOINT_NAMES, plain(record.joint_rmse_by_joint), strict=True)
        ),
        'from_commands': _forward_to_plain(learned.from_commands),
        'from_motors': _forward_to_plain(learned.from_motors),
        'hand': hand_identity(learned.description),
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
    family = text(values, 'family', where)
    if family not in FAMILIES:
        raise ConfigurationError(
            f'{where}: family must be one of {", ".join(FAMILIES)}, got {family!r}.'
        )
    by_joint = values.get('joint_rmse_by_joint_rad')
    if not isinstance(by_joint, Mapping):
        raise ConfigurationError(f'{where}: entry joint_rmse_by_joint_rad must be an object.')
    try:
        learned = LearnedMap(
            description,
            _forward_from_plain(values, 'from_commands', family, description, where),
            _forward_from_plain(values, 'from_motors', family, description, where),
        )
    except ConfigurationError as error:
        if str(error).startswith(where):
            raise
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
    """The map of a file, or the closed form where none is named.

    Args:
        path: The file, or an empty text.
        description: The hand in use.
        measured: What measured motor positions are there, one of `joint_map.MEASURED`.

    Returns:
        The map, and one line about it.

    Raises:
        ConfigurationError: See `load_map`.
    """
    if not path:
        return closed_form_map(description, measured), CLOSED_FORM
    record = load_map(Path(path), description, measured)
    return record.learned, record.summary


def _forward_to_plain(model: ForwardModel) -> dict[str, Any]:
    return {
        'lower': plain(model.lower),
        'upper': plain(model.upper),
        'fingers': {
            name: finger.to_plain() for name, finger in zip(FINGERS, model.fingers, strict=True)
        },
    }


def _forward_from_plain(
    values: Mapping[str, Any], key: str, family: str, description: HandDescription, where: str
) -> ForwardModel:
    where = f'{where}: {key}'
    part = values.get(key)
    fingers = part.get('fingers') if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(fingers, Mapping):
        raise ConfigurationError(f'{where} must be an object with an object fingers.')
    count = len(description.motor_names)
    models = []
    for layout in finger_layouts(description):
        finger = fingers.get(layout.name)
        if not isinstance(finger, Mapping):
            raise ConfigurationError(f'{where}: the {layout.name} finger is missing.')
        models.append(FAMILIES[family].from_plain(finger, layout, f'{where}.{layout.name}'))
    return ForwardModel(
        numbers(part, 'lower', (count,), where),
        numbers(part, 'upper', (count,), where),
        tuple(models),
    )
