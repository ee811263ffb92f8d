# SPDX-License-Identifier: Apache-2.0
"""Writes measured zeros and limits into the file of a hand; its comments stay."""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deft_core.errors import ConfigurationError, RecordingError
from deft_hand_driver.calibration.tension import TensionFit
from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.motors import MotorDescription

LIMIT_MARGIN: Final = 0.1  # [rad] beyond a stop, so that a finger can be pulled against it
_NUMBER: Final = r'[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?'


@dataclass(frozen=True)
class MotorLimits:
    """Entries of one motor in the file of a hand, rounded as they are written.

    Attributes:
        zero: Servo angle at motor position 0. [rad].
        lower: Lowest motor position. [rad].
        upper: Highest motor position. [rad].
    """

    zero: float
    lower: float
    upper: float


def measured_limits(motor: MotorDescription, fit: TensionFit) -> MotorLimits:
    """What the file of the hand should say.

    Where a stop was met, the limit lies a margin beyond it; where the gentle current was too weak
    to meet it, the limit is where the motor came to.

    Args:
        motor: As the file describes it now.
        fit: Measured in its positions.
    """
    upper = fit.highest if fit.upper_end is None else fit.upper_end + LIMIT_MARGIN
    if fit.lower_end is not None:
        lower = fit.lower_end - LIMIT_MARGIN
    elif fit.both_ways:
        lower = fit.lowest
    else:
        # A tendon that only pulls has no business far below where it is taut.
        lower = max(fit.lowest, fit.taut - LIMIT_MARGIN)
    return MotorLimits(
        zero=round(motor.zero + motor.sign * motor.gear * fit.taut, 3),
        lower=round(lower - fit.taut, 3),
        upper=round(upper - fit.taut, 3),
    )


def write_limits(
    path: Path, description: HandDescription, limits: Mapping[str, MotorLimits]
) -> Path:
    """Change zero, lower and upper of some motors in the file of a hand; the old file is kept.

    Args:
        path: File of the hand.
        description: As it is read from there.
        limits: New entries by motor.

    Returns:
        Where the old file is now.

    Raises:
        ConfigurationError: The file is written in a way that cannot be changed line by line.
        RecordingError: It cannot be written.
    """
    path = path.resolve()
    try:
        old = path.read_text(encoding='utf-8')
        new = old
        for name, entries in limits.items():
            new = _changed(new, name, entries)
        _require_meaning(new, description, limits)
        kept = _unused(path)
        kept.write_text(old, encoding='utf-8')
        part = path.with_name(f'{path.name}.part')
        part.write_text(new, encoding='utf-8')
        part.replace(path)
    except OSError as error:
        raise RecordingError(f'Cannot write {path}: {error}') from error
    return kept


def _changed(text: str, name: str, entries: MotorLimits) -> str:
    """The text with the line of one motor changed."""
    found = re.search(rf'^[ \t]+{re.escape(name)}:[ \t]*\{{[^}}]*\}}', text, re.MULTILINE)
    if found is None:
        raise ConfigurationError(
            f'The file of the hand has no line `{name}: {{...}}` to change; write the entries '
            'above into it yourself.'
        )
    line = found.group()
    for key in ('zero', 'lower', 'upper'):
        line, count = re.subn(rf'\b{key}:\s*{_NUMBER}', f'{key}: {getattr(entries, key)}', line)
        if count != 1:
            raise ConfigurationError(
                f'The line of motor {name} in the file of the hand has {count} entries {key}, '
                'expected one; write the entries above into it yourself.'
            )
    return text[: found.start()] + line + text[found.end() :]


def _require_meaning(
    text: str, description: HandDescription, limits: Mapping[str, MotorLimits]
) -> None:
    """The new text must say exactly what was measured, and nothing else may differ."""
    motors = {
        name: replace(
            motor, zero=limits[name].zero, lower=limits[name].lower, upper=limits[name].upper
        )
        if name in limits
        else motor
        for name, motor in description.motors.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        hands = Path(folder) / 'hands'
        hands.mkdir()
        (hands / f'{description.name}.yaml').write_text(text, encoding='utf-8')
        found = load_hand_description(description.name, Path(folder))
    if found != replace(description, motors=motors):
        raise ConfigurationError(
            'Changing the file of the hand line by line would change more than the measured '
            'entries; write them into it yourself.'
        )


def _unused(path: Path) -> Path:
    """A name beside the file that is no hand, with the date."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    number = 1
    while (kept := path.with_name(f'{path.name}.{today}.{number}')).exists():
        number += 1
    return kept
