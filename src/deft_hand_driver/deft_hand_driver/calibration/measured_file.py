# SPDX-License-Identifier: Apache-2.0
"""Files of measurements: JSON that somebody may have edited, and the hand it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.description import HandDescription

_LARGEST_FILE: Final = 50_000_000  # bytes
_SHOWN: Final = 3  # differences that a message names


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        ConfigurationError: It is missing, too large or no text.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f'{path} is too large for {what} (50 MB).')
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'Cannot read {what} {path}: {error}') from error


def parse_object(text: str, where: str) -> Mapping[str, Any]:
    """A JSON object.

    Args:
        text: One JSON document.
        where: File or line, for the message.

    Raises:
        ConfigurationError: It is no JSON object.
    """
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f'{where} is not JSON: {error}') from error
    if not isinstance(found, dict):
        raise ConfigurationError(f'{where} must be a JSON object.')
    return found


def numbers(values: Mapping[str, Any], key: str, shape: tuple[int, ...], where: str) -> FloatArray:
    """An array of finite numbers.

    Args:
        values: A JSON object.
        key: Entry of it.
        shape: Expected; -1 matches any length.
        where: File or line, for the message.

    Raises:
        ConfigurationError: The entry is missing, of another shape or not finite.
    """
    if key not in values:
        raise ConfigurationError(f'{where}: entry {key!r} is missing.')
    try:
        return finite_array(f'{where}: {key}', values[key], shape)
    except InvalidInputError as error:
        raise ConfigurationError(str(error)) from error


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """One finite number; see `numbers`."""
    return float(numbers(values, key, (), where))


def text(values: Mapping[str, Any], key: str, where: str) -> str:
    """A text.

    Raises:
        ConfigurationError: The entry is missing or no text.
    """
    found = values.get(key)
    if not isinstance(found, str):
        raise ConfigurationError(f'{where}: entry {key!r} must be text, got {found!r}.')
    return found


def plain(array: FloatArray) -> Any:
    """Nested lists of plain numbers."""
    return np.asarray(array).tolist()


def hand_identity(description: HandDescription) -> dict[str, str | float]:
    """Everything of a hand that changes its map between motors and joints, flat.

    Current limits, speeds, gains and motor limits may change without a new measurement.

    Args:
        description: The hand.

    Returns:
        Entry to value, such as `motors.index_curl.zero`.
    """
    entries: dict[str, str | float] = {
        'name': description.name,
        'transmission': description.transmission,
    }
    if description.tendons is not None:
        entries['tendons.spool_radius'] = description.tendons.spool_radius
        entries['tendons.servo_stiffness'] = description.tendons.servo_stiffness
    joints = [joint for finger in description.fingers.values() for joint in finger.joints()]
    for name, joint in zip(HAND_JOINT_NAMES, joints, strict=True):
        entries[f'joints.{name}.lower'] = joint.lower
        entries[f'joints.{name}.upper'] = joint.upper
        for key, value in (('moment_arm', joint.moment_arm), ('stiffness', joint.stiffness)):
            if value is not None:
                entries[f'joints.{name}.{key}'] = value
    for name, motor in zip(description.motor_names, description.ordered_motors(), strict=True):
        entries[f'motors.{name}.id'] = motor.id
        entries[f'motors.{name}.model'] = motor.model
        entries[f'motors.{name}.sign'] = motor.sign
        entries[f'motors.{name}.gear'] = motor.gear
        entries[f'motors.{name}.zero'] = motor.zero
    return entries


def require_identity(what: str, found: Any, description: HandDescription, remedy: str) -> None:
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
    if not isinstance(found, Mapping):
        raise ConfigurationError(f'{what} does not say which hand it belongs to; {remedy}.')
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
            f'{what} was measured before config/hands/{description.name}.yaml was changed: '
            f'{"; ".join(differing[:_SHOWN])}{rest}; {remedy}.'
        )
