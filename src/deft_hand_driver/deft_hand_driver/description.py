# SPDX-License-Identifier: Apache-2.0
"""What a tendon hand is made of, from `config/hands/<name>.yaml` (paper, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from deft_core.configuration import config_directory, load_yaml
from deft_core.errors import ConfigurationError
from deft_core.grasp import FINGERS
from deft_core.validation import FloatArray

MOTORS_PER_FINGER: Final = ('side', 'forward', 'curl')
MOTOR_NAMES: Final = tuple(
    f'{finger}_{motor}' for finger in FINGERS for motor in MOTORS_PER_FINGER
)

_ANGLE: Final = {'minimum': -3.1416, 'maximum': 3.1416, 'unit': 'rad'}


@dataclass(frozen=True)
class JointDescription:
    """One flexure joint and the tendon that bends it.

    Attributes:
        lower: Lowest position. [rad].
        upper: Highest position. [rad].
        moment_arm: Tendon excursion per joint angle. [m/rad].
        stiffness: Of the flexure, which rests at 0. [N m/rad].
    """

    lower: float = field(metadata=_ANGLE)
    upper: float = field(metadata=_ANGLE)
    moment_arm: float = field(metadata={'minimum': 1e-4, 'maximum': 0.1, 'unit': 'm/rad'})
    stiffness: float = field(metadata={'minimum': 1e-4, 'maximum': 10.0, 'unit': 'N m/rad'})

    def __post_init__(self) -> None:
        """Refuse an empty range and one without the rest position."""
        if not self.lower <= 0.0 <= self.upper or self.lower == self.upper:
            raise ConfigurationError(
                'A hand joint must have lower <= 0 <= upper and some travel, '
                f'got {self.lower} to {self.upper} rad.'
            )


@dataclass(frozen=True)
class FingerDescription:
    """Four joints; PIP and DIP hang on one tendon."""

    side: JointDescription
    forward: JointDescription
    pip: JointDescription
    dip: JointDescription

    def joints(self) -> tuple[JointDescription, ...]:
        """The joints in `JOINTS_PER_FINGER` order."""
        return (self.side, self.forward, self.pip, self.dip)


@dataclass(frozen=True)
class HandDescription:
    """A hand with the fingers and joints that grasp parameters name.

    Attributes:
        name: Name of the hand.
        grasp_centre: Point in the flange frame that the position of a grasp places. [m].
        spool_radius: Tendon excursion per motor angle. [m/rad].
        servo_stiffness: Tendon force per position error of the motors. [N/m].
        motor_speed_limit: Largest commanded motor speed. [rad/s].
        motor_step_limit: Largest change of a motor command in one cycle. [rad].
        duration_limit: Longest ramp of a command. [s].
        fingers: Description of each finger in `FINGERS`.
    """

    name: str
    grasp_centre: tuple[float, float, float] = field(
        metadata={'minimum': -0.5, 'maximum': 0.5, 'unit': 'm'}
    )
    spool_radius: float = field(metadata={'minimum': 0.001, 'maximum': 0.1, 'unit': 'm'})
    servo_stiffness: float = field(metadata={'minimum': 100.0, 'maximum': 1e7, 'unit': 'N/m'})
    motor_speed_limit: float = field(metadata={'minimum': 0.1, 'maximum': 20.0, 'unit': 'rad/s'})
    motor_step_limit: float = field(metadata={'minimum': 0.001, 'maximum': 1.0, 'unit': 'rad'})
    duration_limit: float = field(metadata={'minimum': 0.1, 'maximum': 60.0, 'unit': 's'})
    fingers: dict[str, FingerDescription]

    def __post_init__(self) -> None:
        """Refuse missing and unknown fingers."""
        if set(self.fingers) != set(FINGERS):
            raise ConfigurationError(
                f'Hand {self.name} must have the fingers {list(FINGERS)}, '
                f'got {list(self.fingers)}.'
            )

    def joint_limits(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest joint positions in `HAND_JOINT_NAMES` order. Each (16,). [rad]."""
        joints = [joint for finger in FINGERS for joint in self.fingers[finger].joints()]
        lower = np.array([joint.lower for joint in joints])
        upper = np.array([joint.upper for joint in joints])
        return lower, upper


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
    return load_yaml(folder / f'{name}.yaml', HandDescription)
