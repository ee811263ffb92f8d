# SPDX-License-Identifier: Apache-2.0
"""What a hand is made of, from `config/hands/<name>.yaml` (paper, appendix B).

A motor position is the angle of its spool (or of its joint, without tendons), counted from the
straight finger. The servo sees `centre + (zero + sign * gear * position)` in its own pulses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from deft_core.configuration import build, config_directory, load_yaml, nearest
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import read_json, write_atomically
from deft_core.grasp import FINGERS, HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from dynamixel_simulator.motor_models import BAUD_RATES, motor_model
from dynamixel_simulator.packet import MAX_ID

MOTORS_PER_FINGER: Final = ('side', 'forward', 'curl')
MOTOR_NAMES: Final = tuple(
    f'{finger}_{motor}' for finger in FINGERS for motor in MOTORS_PER_FINGER
)
TENDON: Final = 'tendon'
DIRECT: Final = 'direct'
MOTOR_OF_JOINT: Final = tuple(
    3 * finger + motor for finger in range(len(FINGERS)) for motor in (0, 1, 2, 2)
)
"""Motor of a tendon hand that pulls each joint: side, forward, curl, curl in every finger."""
# What the motors are called and their order everywhere, per kind of transmission.
_MOTOR_NAMES_OF: Final = {TENDON: MOTOR_NAMES, DIRECT: HAND_JOINT_NAMES}

_ANGLE: Final = {'minimum': -3.1416, 'maximum': 3.1416, 'unit': 'rad'}
_GAIN: Final = {'minimum': 0, 'maximum': 16383}
_CURRENT: Final = {'minimum': 0.01, 'maximum': 3.0, 'unit': 'A'}


@dataclass(frozen=True)
class MotorDescription:
    """One motor of a hand.

    Attributes:
        model: A name of `motor_models.MODELS`.
        sign: 1 or -1: which way the servo turns when the position rises.
        gear: Servo angle per motor position, where gears stand between them.
        zero: Servo angle at position 0. [rad].
        lower: Lowest position that may ever be commanded. [rad].
        upper: Highest position that may ever be commanded. [rad].
        current_limit: Largest current in normal operation: caps the tendon force. [A].
        hold_current: Largest current while the hand holds still in a fault. [A].
    """

    id: int = field(metadata={'minimum': 0, 'maximum': MAX_ID})
    model: str
    sign: int
    gear: float = field(metadata={'minimum': 0.01, 'maximum': 100.0})
    zero: float = field(metadata={'minimum': -100.0, 'maximum': 100.0, 'unit': 'rad'})
    lower: float = field(metadata={'minimum': -50.0, 'maximum': 50.0, 'unit': 'rad'})
    upper: float = field(metadata={'minimum': -50.0, 'maximum': 50.0, 'unit': 'rad'})
    current_limit: float = field(metadata=_CURRENT)
    hold_current: float = field(metadata=_CURRENT)

    def __post_init__(self) -> None:
        """Refuse what no motor can be."""
        try:
            specification = motor_model(self.model).specification
        except InvalidInputError as error:
            raise ConfigurationError(f'motor {self.id}: {error}') from error
        if self.sign not in (-1, 1):
            raise ConfigurationError(
                f'The sign of motor {self.id} must be 1 or -1, got {self.sign}.'
            )
        if self.lower >= self.upper:
            raise ConfigurationError(
                f'Motor {self.id} must have lower < upper, got {self.lower} to {self.upper} rad.'
            )
        if not self.hold_current <= self.current_limit <= specification.stall_current:
            raise ConfigurationError(
                f'Motor {self.id} needs hold_current <= current_limit <= '
                f'{specification.stall_current} A, the stall current of {self.model}; got '
                f'{self.hold_current} and {self.current_limit} A.'
            )


@dataclass(frozen=True)
class MeasuredMotor:
    """What a calibration measured of a motor, and what that depends on; as `MotorDescription`."""

    id: int
    sign: int
    gear: float
    zero: float
    lower: float
    upper: float


@dataclass(frozen=True)
class BusDescription:
    """How the motors are talked to, and what they are told before they move.

    Attributes:
        baud_rate: That every motor of the hand is set to. [bit/s].
        position_p: Gain of the position loop, in counts of the register.
        position_i: Gain of the position loop, in counts of the register.
        position_d: Gain of the position loop, in counts of the register.
        temperature_warning: Above it the current limit is lowered. [degC].
        temperature_limit: At it the hand stops. [degC].
        lowest_voltage: Below it the hand stops. [V].
    """

    baud_rate: int
    position_p: int = field(metadata=_GAIN)
    position_i: int = field(metadata=_GAIN)
    position_d: int = field(metadata=_GAIN)
    temperature_warning: float = field(metadata={'minimum': 20.0, 'maximum': 80.0, 'unit': 'degC'})
    temperature_limit: float = field(metadata={'minimum': 20.0, 'maximum': 80.0, 'unit': 'degC'})
    lowest_voltage: float = field(metadata={'minimum': 3.0, 'maximum': 14.0, 'unit': 'V'})

    def __post_init__(self) -> None:
        """Refuse a rate that no servo knows, and limits in the wrong order."""
        if self.baud_rate not in BAUD_RATES:
            known = ', '.join(str(rate) for rate in BAUD_RATES)
            raise ConfigurationError(f'The baud rate must be {known}, got {self.baud_rate}.')
        if self.temperature_warning >= self.temperature_limit:
            raise ConfigurationError(
                'temperature_warning must be below temperature_limit, got '
                f'{self.temperature_warning} and {self.temperature_limit} degC.'
            )


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
        grasp_centre: Point in the flange frame that the position of a grasp places. [m].
        transmission: `tendon`, or `direct` for a motor on every joint.
        motor_speed_limit: Largest commanded motor speed. [rad/s].
        motor_step_limit: Largest change of a motor command in one cycle. [rad].
        motor_deceleration: With which a motion that is broken off comes to rest. [rad/s^2].
        duration_limit: Longest ramp of a command. [s].
        fingers: Description of each finger in `FINGERS`.
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
        if set(self.motors) != set(self.motor_names):
            raise ConfigurationError(
                f'Hand {self.name} needs the motors {", ".join(self.motor_names)}; '
                f'differing: {sorted(set(self.motors) ^ set(self.motor_names))}.'
            )
        ids = Counter(motor.id for motor in self.motors.values())
        double = [number for number, count in ids.items() if count > 1]
        if double:
            raise ConfigurationError(
                f'Hand {self.name}: the motor ids {double} are given twice; every motor needs its '
                'own.'
            )
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
        """Tendon excursion per joint angle in `HAND_JOINT_NAMES` order. Shape (16,). [m/rad]."""
        return self._of_each_joint('moment_arm', lambda joint: joint.moment_arm)

    def motor_weights(self) -> FloatArray:
        """What each of the n motors chooses of the joints, as a weighted mean. Shape (n, 16).

        A motor that bends PIP and DIP chooses only the length of their tendon: the mean of both,
        weighted with their moment arms.
        """
        if self.transmission == DIRECT:
            return np.eye(len(HAND_JOINT_NAMES))
        weights = np.zeros((len(MOTOR_NAMES), len(HAND_JOINT_NAMES)))
        weights[MOTOR_OF_JOINT, np.arange(len(HAND_JOINT_NAMES))] = self.moment_arms()
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def stiffnesses(self) -> FloatArray:
        """Flexure stiffness in `HAND_JOINT_NAMES` order. Shape (16,). [N m/rad]."""
        return self._of_each_joint('stiffness', lambda joint: joint.stiffness)

    def pose(self, name: str) -> FloatArray:
        """Joint positions of a named pose in `HAND_JOINT_NAMES` order. Shape (16,). [rad]."""
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


@dataclass(frozen=True)
class HandMeasurements:
    """What `deft hand calibrate tension` measured of some motors of a hand, by name."""

    motors: dict[str, MeasuredMotor]


def load_hand_description(name: str, directory: Path | None = None) -> HandDescription:
    """Read `hands/<name>.yaml`, with zeros and limits from `hands/<name>.measured.json`.

    Raises:
        ConfigurationError: No such hand, a file is wrong, or a motor was changed since it was
            measured.
    """
    folder = (config_directory() if directory is None else directory) / 'hands'
    known = sorted(path.stem for path in folder.glob('*.yaml'))
    if name not in known:
        raise ConfigurationError(f'Unknown hand {name!r}; {folder} has: {", ".join(known)}.')
    description = load_yaml(folder / f'{name}.yaml', HandDescription)
    path = measurements_path(name, directory)
    remedy = f'measure again with `deft hand calibrate tension --write`, or remove {path}'
    motors = dict(description.motors)
    for motor_name, measured in _load_measurements(path).items():
        motor = motors.get(motor_name)
        if motor is None:
            raise ConfigurationError(f'{path}: the hand has no motor {motor_name!r}; {remedy}.')
        if (motor.id, motor.sign, motor.gear) != (measured.id, measured.sign, measured.gear):
            raise ConfigurationError(
                f'{path}: motor {motor_name} has another id, sign or gear in the file of the hand '
                f'than when it was measured; {remedy}.'
            )
        try:
            motors[motor_name] = replace(motor, **asdict(measured))
        except ConfigurationError as error:
            raise ConfigurationError(f'{path}: {error} Correct or remove it.') from error
    return replace(description, motors=motors)


def measurements_path(name: str, directory: Path | None = None) -> Path:
    """File of what was measured at a hand; it need not exist.

    It lies beside the file of the hand itself, not beside a link to that: an installed folder of
    links is made anew with every build.
    """
    folder = (config_directory() if directory is None else directory) / 'hands'
    return (folder / f'{name}.yaml').resolve().with_suffix('.measured.json')


def save_measurements(
    name: str, motors: Mapping[str, MeasuredMotor], directory: Path | None = None
) -> Path:
    """Write what was measured at some motors; what the file says of the others stays."""
    path = measurements_path(name, directory)
    document = HandMeasurements({**_load_measurements(path), **motors})
    write_atomically(path, json.dumps(asdict(document), indent=1, allow_nan=False) + '\n')
    return path


def _load_measurements(path: Path) -> dict[str, MeasuredMotor]:
    if not path.exists() and not path.is_symlink():  # a link to nowhere is no missing measurement
        return {}
    return build(HandMeasurements, read_json(path), str(path)).motors
