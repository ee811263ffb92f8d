# SPDX-License-Identifier: Apache-2.0
"""What a hand is made of, from `config/hands/<name>.yaml` (paper, appendix B)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from deft_core.configuration import config_directory, load_yaml, nearest
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import read_yaml
from deft_core.grasp import FINGERS, HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.motors import BusDescription, MotorDescription, check_motors

MOTORS_PER_FINGER: Final = ('side', 'forward', 'curl')
MOTOR_NAMES: Final = tuple(
    f'{finger}_{motor}' for finger in FINGERS for motor in MOTORS_PER_FINGER
)
TENDON: Final = 'tendon'
DIRECT: Final = 'direct'
# What the motors are called and their order everywhere, per kind of transmission.
_MOTOR_NAMES_OF: Final = {TENDON: MOTOR_NAMES, DIRECT: HAND_JOINT_NAMES}

_MEASURED_ENTRIES: Final = {'id', 'sign', 'gear', 'zero', 'lower', 'upper'}
_ANGLE: Final = {'minimum': -3.1416, 'maximum': 3.1416, 'unit': 'rad'}


@dataclass(frozen=True)
class JointDescription:
    """One joint, and the tendon that bends it where there is one.

    Attributes:
        lower: Lowest position. [rad].
        upper: Highest position. [rad].
        moment_arm: Tendon excursion per joint angle; None without tendons. [m/rad].
        stiffness: Of the flexure, which rests at 0; None without tendons. [N m/rad].
    """

    lower: float = field(metadata=_ANGLE)
    upper: float = field(metadata=_ANGLE)
    moment_arm: float | None = field(
        default=None, metadata={'minimum': 1e-4, 'maximum': 0.1, 'unit': 'm/rad'}
    )
    stiffness: float | None = field(
        default=None, metadata={'minimum': 1e-4, 'maximum': 10.0, 'unit': 'N m/rad'}
    )

    def __post_init__(self) -> None:
        """Refuse an empty range and one without the rest position."""
        if not self.lower <= 0.0 <= self.upper or self.lower == self.upper:
            raise ConfigurationError(
                'A hand joint must have lower <= 0 <= upper and some travel, '
                f'got {self.lower} to {self.upper} rad.'
            )


@dataclass(frozen=True)
class FingerDescription:
    """Four joints; in a tendon hand PIP and DIP hang on one tendon."""

    side: JointDescription
    forward: JointDescription
    pip: JointDescription
    dip: JointDescription

    def joints(self) -> tuple[JointDescription, ...]:
        """The joints in `JOINTS_PER_FINGER` order."""
        return (self.side, self.forward, self.pip, self.dip)


@dataclass(frozen=True)
class TendonDescription:
    """What lies between the motors and the joints of a tendon hand.

    Attributes:
        spool_radius: Tendon excursion per motor position. [m/rad].
        servo_stiffness: Tendon force per position error of the motors. [N/m].
    """

    spool_radius: float = field(metadata={'minimum': 0.001, 'maximum': 0.1, 'unit': 'm'})
    servo_stiffness: float = field(metadata={'minimum': 100.0, 'maximum': 1e7, 'unit': 'N/m'})


@dataclass(frozen=True)
class HandDescription:
    """A hand with the fingers and joints that grasp parameters name.

    Attributes:
        name: Name of the hand.
        grasp_centre: Point in the flange frame that the position of a grasp places. [m].
        transmission: `tendon`, or `direct` for a motor on every joint.
        motor_speed_limit: Largest commanded motor speed. [rad/s].
        motor_step_limit: Largest change of a motor command in one cycle. [rad].
        motor_deceleration: With which a motion that is broken off comes to rest. [rad/s^2].
        duration_limit: Longest ramp of a command. [s].
        fingers: Description of each finger in `FINGERS`.
        bus: What all motors share.
        motors: Description of each motor in `motor_names`.
        poses: Joint positions by name, in `HAND_JOINT_NAMES` order. Each (16,). [rad].
        tendons: Spools and their servos; None for a direct hand.
    """

    name: str
    grasp_centre: tuple[float, float, float] = field(
        metadata={'minimum': -0.5, 'maximum': 0.5, 'unit': 'm'}
    )
    transmission: str
    motor_speed_limit: float = field(metadata={'minimum': 0.1, 'maximum': 20.0, 'unit': 'rad/s'})
    motor_step_limit: float = field(metadata={'minimum': 0.001, 'maximum': 1.0, 'unit': 'rad'})
    motor_deceleration: float = field(
        metadata={'minimum': 1.0, 'maximum': 1000.0, 'unit': 'rad/s^2'}
    )
    duration_limit: float = field(metadata={'minimum': 0.1, 'maximum': 60.0, 'unit': 's'})
    fingers: dict[str, FingerDescription]
    bus: BusDescription
    motors: dict[str, MotorDescription]
    poses: dict[str, tuple[float, ...]]
    tendons: TendonDescription | None = None

    def __post_init__(self) -> None:
        """Refuse a hand that does not fit together."""
        if set(self.fingers) != set(FINGERS):
            raise ConfigurationError(
                f'Hand {self.name} must have the fingers {list(FINGERS)}, '
                f'got {list(self.fingers)}.'
            )
        if self.transmission not in _MOTOR_NAMES_OF:
            raise ConfigurationError(
                f'Hand {self.name}: transmission must be {" or ".join(_MOTOR_NAMES_OF)}, '
                f'got {self.transmission!r}.'
            )
        if (self.transmission == TENDON) != (self.tendons is not None):
            raise ConfigurationError(
                f'Hand {self.name}: a {TENDON} hand has an entry tendons and no other hand has '
                f'one; the transmission is {self.transmission}.'
            )
        check_motors(self.name, self.motors, self.motor_names)
        for name, joints in self.poses.items():
            try:
                finite_array(f'pose {name}', joints, (len(HAND_JOINT_NAMES),))
            except InvalidInputError as error:
                raise ConfigurationError(f'Hand {self.name}: {error}') from error

    @property
    def motor_names(self) -> tuple[str, ...]:
        """Motors in the order of every motor array."""
        return _MOTOR_NAMES_OF[self.transmission]

    def ordered_motors(self) -> tuple[MotorDescription, ...]:
        """Motors in `motor_names` order."""
        return tuple(self.motors[name] for name in self.motor_names)

    def joint_limits(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest joint positions in `HAND_JOINT_NAMES` order. Each (16,). [rad]."""
        lower = np.array([joint.lower for joint in self._joints()])
        upper = np.array([joint.upper for joint in self._joints()])
        return lower, upper

    def motor_limits(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest motor positions in `motor_names` order. Each (n,). [rad]."""
        motors = self.ordered_motors()
        return np.array([m.lower for m in motors]), np.array([m.upper for m in motors])

    def moment_arms(self) -> FloatArray:
        """Tendon excursion per joint angle in `HAND_JOINT_NAMES` order. Shape (16,). [m/rad].

        Raises:
            ConfigurationError: A joint has none.
        """
        return self._of_each_joint('moment_arm', lambda joint: joint.moment_arm)

    def stiffnesses(self) -> FloatArray:
        """Flexure stiffness in `HAND_JOINT_NAMES` order. Shape (16,). [N m/rad].

        Raises:
            ConfigurationError: A joint has none.
        """
        return self._of_each_joint('stiffness', lambda joint: joint.stiffness)

    def pose(self, name: str) -> FloatArray:
        """Joint positions of a named pose in `HAND_JOINT_NAMES` order. Shape (16,). [rad].

        Raises:
            InvalidInputError: The hand has no such pose.
        """
        if name not in self.poses:
            raise InvalidInputError(
                f'Hand {self.name} has no pose {name!r}; {nearest(name, self.poses)}'
            )
        return np.array(self.poses[name])

    def _joints(self) -> list[JointDescription]:
        return [joint for finger in FINGERS for joint in self.fingers[finger].joints()]

    def _of_each_joint(
        self, entry: str, value: Callable[[JointDescription], float | None]
    ) -> FloatArray:
        numbers = []
        for name, joint in zip(HAND_JOINT_NAMES, self._joints(), strict=True):
            number = value(joint)
            if number is None:
                raise ConfigurationError(
                    f'Hand {self.name}: joint {name} needs the entry {entry!r}, because tendons '
                    'move it.'
                )
            numbers.append(number)
        return np.array(numbers)


def load_hand_description(name: str, directory: Path | None = None) -> HandDescription:
    """Read `hands/<name>.yaml`.

    Args:
        name: Name of the hand, such as `dash`.
        directory: Configuration folder; the installed one when None.

    Raises:
        ConfigurationError: No such hand, or the file is wrong.
    """
    folder = (config_directory() if directory is None else directory) / 'hands'
    known = sorted(path.stem for path in folder.glob('*.yaml'))
    if name not in known:
        raise ConfigurationError(f'Unknown hand {name!r}; {folder} has: {", ".join(known)}.')
    path = folder / f'{name}.yaml'
    description = load_yaml(path, HandDescription)
    measured = measured_motors_file(path)
    if not measured.exists():
        return description
    return replace(description, motors={**description.motors, **_measured(measured, description)})


def measured_motors_file(path: Path) -> Path:
    """Where `deft hand calibrate tension` writes zeros and limits of the hand of a file."""
    return path.resolve().with_suffix('.measured.json')


def _measured(path: Path, description: HandDescription) -> dict[str, MotorDescription]:
    """Motors with measured zero, lower and upper.

    Raises:
        ConfigurationError: The file is broken, or motors were changed since.
    """
    remedy = f'measure again with `deft hand calibrate tension --write`, or remove {path}'
    motors = {}
    for name, entries in read_yaml(path).items():
        motor = description.motors.get(name)
        if motor is None or not isinstance(entries, dict) or set(entries) != _MEASURED_ENTRIES:
            raise ConfigurationError(f'{path}: entry {name!r} is no measured motor; {remedy}.')
        if any(entries[key] != getattr(motor, key) for key in ('id', 'sign', 'gear')):
            raise ConfigurationError(
                f'{path}: motor {name} has another id, sign or gear in the file of the hand than '
                f'when it was measured; {remedy}.'
            )
        zero, lower, upper = (
            float(finite_array(f'{path}: {name}: {key}', entries[key], ()))
            for key in ('zero', 'lower', 'upper')
        )
        motors[name] = replace(motor, zero=zero, lower=lower, upper=upper)
    return motors
