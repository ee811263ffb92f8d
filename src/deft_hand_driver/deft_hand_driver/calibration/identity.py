# SPDX-License-Identifier: Apache-2.0
"""What a measurement of a hand depends on, so that it is never used with another hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_hand_driver.description import HandDescription

_SHOWN: Final = 3  # differences that a message names

Identity = Mapping[str, str | float]


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
