# SPDX-License-Identifier: Apache-2.0
"""Measured zeros and limits of the motors, in a file beside that of the hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deft_core.errors import RecordingError
from deft_core.files import read_yaml
from deft_hand_driver.calibration.tension import TensionFit
from deft_hand_driver.description import HandDescription, measured_motors_file
from deft_hand_driver.motors import MotorDescription

LIMIT_MARGIN: Final = 0.1  # [rad] beyond a stop, so that a finger can be pulled against it


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
    """Write what was measured beside the file of the hand, which stays as it is.

    Motors that were measured before and are not among these keep their entries.

    Args:
        path: File of the hand.
        description: As it is read from there.
        limits: New entries by motor.

    Returns:
        The file that was written.

    Raises:
        RecordingError: It cannot be written.
        ConfigurationError: What is there already is broken.
    """
    target = measured_motors_file(path)
    part = target.with_name(f'{target.name}.part')
    try:
        entries = read_yaml(target) if target.exists() else {}
        for name, measured in limits.items():
            motor = description.motors[name]
            entries[name] = {
                'id': motor.id, 'sign': motor.sign, 'gear': motor.gear, **asdict(measured)
            }  # fmt: skip
        part.write_text(json.dumps(entries, indent=1, allow_nan=False) + '\n', encoding='utf-8')
        part.replace(target)
    except OSError as error:
        raise RecordingError(f'Cannot write {target}: {error}') from error
    return target
