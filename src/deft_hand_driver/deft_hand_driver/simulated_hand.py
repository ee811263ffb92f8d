# SPDX-License-Identifier: Apache-2.0
"""A hand of simulated servos: ``python -m deft_hand_driver.simulated_hand --hand dash``.

`build_hand_bus` makes the servos as someone has set them up: ids and baud rate, nothing else.
`HandMounting` is how a hand that was put together differs from its file, what calibration has to
find; `attach_tendons` hangs such tendons on the servos where no simulated world pulls at them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np

from deft_core.errors import ConfigurationError, DeftError, InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription, MotorDescription, load_hand_description
from dynamixel_simulator.__main__ import serve, server_parser
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.motor_models import BAUD_RATES, motor_model
from dynamixel_simulator.servo import DEFAULT_FIRMWARE, SimulatedServo


@dataclass(frozen=True)
class MountingErrors:
    """Largest errors; every hand draws its own.

    Attributes:
        zero: Half width of the spool angle at which a tendon is just taut. [rad].
        moment_arm_share: Half width of the factor on every moment arm. [-].
        friction: Largest dry friction of a joint, with its tendon. [N m].
    """

    zero: float = field(default=0.1, metadata={'minimum': 0.0, 'maximum': 1.0, 'unit': 'rad'})
    moment_arm_share: float = field(default=0.1, metadata={'minimum': 0.0, 'maximum': 0.5})
    friction: float = field(
        default=0.005, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'N m'}
    )


@dataclass(frozen=True, eq=False)
class HandMounting:
    """What one hand drew, with m motors.

    Attributes:
        zeros: Motor positions at which the tendons are just taut. Shape (m,). [rad].
        arm_factors: Real moment arms as a share of those in the file. Shape (16,).
        frictions: Dry friction of the joints. Shape (16,). [N m].
    """

    zeros: FloatArray
    arm_factors: FloatArray
    frictions: FloatArray

    @classmethod
    def nominal(cls, description: HandDescription) -> HandMounting:
        """A hand exactly as in its file."""
        joints = len(HAND_JOINT_NAMES)
        return cls(np.zeros(len(description.motor_names)), np.ones(joints), np.zeros(joints))

    @classmethod
    def draw(
        cls, description: HandDescription, errors: MountingErrors, rng: np.random.Generator
    ) -> HandMounting:
        """A hand that differs from its file by at most the errors."""
        joints = len(HAND_JOINT_NAMES)
        return cls(
            errors.zero * rng.uniform(-1.0, 1.0, len(description.motor_names)),
            1.0 + errors.moment_arm_share * rng.uniform(-1.0, 1.0, joints),
            errors.friction * rng.uniform(0.0, 1.0, joints),
        )


@dataclass(frozen=True)
class Tendon:
    """A load of a servo: a tendon that bends flexures, until its finger meets a stop.

    Attributes:
        zero: Position of the horn where it is just taut. [rad].
        stiffness: Torque per angle of the flexures. [N m/rad].
        lower_stop: Lowest position of the horn before the lower stop. [rad].
        upper_stop: Highest position of the horn before the upper stop. [rad].
        stop_stiffness: Torque per angle against a stop, in addition. [N m/rad].
        winds: 1 when only larger positions wind it up, -1 when only smaller ones do, and it is
            slack on the other side; 0 when it runs around its spool and pulls both ways.
    """

    zero: float
    stiffness: float
    lower_stop: float
    upper_stop: float
    stop_stiffness: float
    winds: int = 0

    def __post_init__(self) -> None:
        """Refuse stops on one side."""
        if not self.lower_stop <= self.zero <= self.upper_stop:
            raise InvalidInputError(
                f'The zero of a tendon must lie between its stops, got {self.zero} and '
                f'{self.lower_stop} to {self.upper_stop} rad.'
            )

    def __call__(self, position: float, velocity: float) -> float:
        """Torque on the horn. [N m]."""
        del velocity
        stretch = position - self.zero
        if self.winds * stretch < 0.0:
            return 0.0
        beyond = max(0.0, position - self.upper_stop) - max(0.0, self.lower_stop - position)
        return -self.stiffness * stretch - self.stop_stiffness * beyond


def servo_angle(motor: MotorDescription, position: float) -> float:
    """Angle of a servo, as `ServoMotor.position` counts, at a position of its motor. [rad]."""
    return motor.zero + motor.sign * motor.gear * position


def motor_position(motor: MotorDescription, angle: float) -> float:
    """Position of a motor, as the driver counts, at an angle of its servo. [rad]."""
    return (angle - motor.zero) / (motor.sign * motor.gear)


def build_hand_bus(description: HandDescription, firmware: int = DEFAULT_FIRMWARE) -> SimulatedBus:
    """Servos of a hand on one wire, every motor at position 0, all other registers as delivered.

    Returns:
        In the order of `HandDescription.motor_names`.
    """
    servos = []
    for name in description.motor_names:
        motor = description.motors[name]
        servo = SimulatedServo(motor_model(motor.model), motor.id, firmware)
        servo.memory['baud_rate'] = BAUD_RATES.index(description.bus.baud_rate)
        servo.place(servo_angle(motor, 0.0))
        servos.append(servo)
    return SimulatedBus(servos)


def attach_tendons(
    bus: SimulatedBus, description: HandDescription, mounting: HandMounting
) -> None:
    """Give every servo of a hand, in the order of its motors, the pull of its free finger.

    Raises:
        ConfigurationError: The hand has no tendons.
    """
    tendons = description.tendons
    if tendons is None:
        raise ConfigurationError(f'Hand {description.name} has no tendons.')
    radius, servo_stiffness = tendons.spool_radius, tendons.servo_stiffness
    arms = description.moment_arms() * mounting.arm_factors
    stiffnesses = description.stiffnesses()
    lower, upper = description.joint_limits()
    for number, (motor, weights) in enumerate(
        zip(description.ordered_motors(), description.motor_weights(), strict=True)
    ):
        joints = np.flatnonzero(weights)
        # Flexures and tendon in series, seen at the spool; then through the gear.
        compliance = float(np.sum(arms[joints] ** 2 / stiffnesses[joints]))
        flexures = radius**2 / (compliance + 1.0 / servo_stiffness) / motor.gear**2
        stop = servo_stiffness * radius**2 / motor.gear**2
        taut = float(mounting.zeros[number])
        ends = [
            servo_angle(motor, taut + float(arms[joints] @ limits[joints]) / radius)
            for limits in (lower, upper)
        ]
        zero = servo_angle(motor, taut)
        both_ways = bool(np.any(lower[joints] < 0.0))
        stops = ends if both_ways else [zero, ends[1]]
        bus.servos[number].motor.load = Tendon(
            zero, flexures, min(stops), max(stops), stop, 0 if both_ways else motor.sign
        )


def main(arguments: list[str] | None = None) -> int:
    """Serve the servos of a hand until told to stop; exit status 2 when there is no such hand."""
    parser = server_parser('deft_hand_driver.simulated_hand')
    parser.add_argument('--hand', required=True, help='name of a file in config/hands')
    parser.add_argument(
        '--tendons',
        type=int,
        metavar='SEED',
        help='hang tendons on the servos whose zeros and moment arms differ from the file by this '
        'seed',
    )
    options = parser.parse_args(arguments)
    try:
        description = load_hand_description(options.hand)
        bus = build_hand_bus(description, options.firmware)
        if options.tendons is not None:
            rng = np.random.default_rng(options.tendons)
            attach_tendons(bus, description, HandMounting.draw(description, MountingErrors(), rng))
    except DeftError as error:
        sys.stderr.write(f'{error}\n')
        return 2
    return serve(bus, options)


if __name__ == '__main__':
    sys.exit(main())
