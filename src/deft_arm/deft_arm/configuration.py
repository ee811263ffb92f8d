# SPDX-License-Identifier: Apache-2.0
"""What is known and allowed about one kind of arm, from `config/arms/<name>.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from deft_arm.planning.geometry import Obstacle
from deft_arm.planning.paths import MotionLimits
from deft_arm.planning.plan import Phase
from deft_core.configuration import bounds, config_directory, load_named
from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES

Six: TypeAlias = tuple[float, float, float, float, float, float]
Three: TypeAlias = tuple[float, float, float]

_ANGLE: Final = bounds(-6.2832, 6.2832, 'rad')
_LENGTH: Final = bounds(-1.0, 1.0, 'm')
_BOX: Final = bounds(-1.5, 1.5, 'm')
_FASTEST_CAP: Final = 2.0  # [m/s] the controller stops faster tools by itself
_DURATION: Final = bounds(0.1, 30.0, 's')


@dataclass(frozen=True)
class ControllerSettings:
    """What is set on the controller of the arm before it moves."""

    collision_sensitivity: int = field(metadata=bounds(1, 5))
    tool_mass: float = field(metadata=bounds(0.0, 5.0, 'kg'))
    tool_centre_of_mass: Three = field(metadata=bounds(-0.5, 0.5, 'm'))
    fence_lower: Three = field(metadata=_BOX)
    fence_upper: Three = field(metadata=_BOX)


@dataclass(frozen=True)
class ArmConfiguration:
    """Limits, home pose and episode timing of an arm; every length is in the base frame.

    `config/arms/xarm6.yaml` explains the entries.
    """

    name: str
    joint_names: tuple[str, str, str, str, str, str]
    position_lower: Six = field(metadata=_ANGLE)
    position_upper: Six = field(metadata=_ANGLE)
    position_margin: float = field(metadata=bounds(0.0, 0.5, 'rad'))
    speed_limit: Six = field(metadata=bounds(0.01, 3.14, 'rad/s'))
    acceleration_limit: Six = field(metadata=bounds(0.01, 20.0, 'rad/s^2'))
    jerk_limit: Six = field(metadata=bounds(1.0, 500.0, 'rad/s^3'))
    speed_caps: dict[str, float]
    home: Six = field(metadata=_ANGLE)
    workspace_lower: Three = field(metadata=_LENGTH)
    workspace_upper: Three = field(metadata=_LENGTH)
    envelope_lower: Three = field(metadata=_BOX)
    envelope_upper: Three = field(metadata=_BOX)
    obstacles: tuple[Obstacle, ...]
    obstacle_clearance: float = field(metadata=bounds(0.0, 0.3, 'm'))
    table_height: float = field(metadata=_LENGTH)
    rigid_clearance: float = field(metadata=bounds(0.0, 0.1, 'm'))
    palm_clearance: float = field(metadata=bounds(-0.05, 0.1, 'm'))
    finger_clearance: float = field(metadata=bounds(-0.15, 0.1, 'm'))
    travel_clearance: float = field(metadata=bounds(0.0, 0.5, 'm'))
    fold_clearance: float = field(metadata=bounds(0.0, 0.1, 'm'))
    move_duration: float = field(metadata=_DURATION)
    lift_speed: float = field(metadata=bounds(0.01, 0.5, 'm/s'))
    approach_duration: float = field(metadata=_DURATION)
    approach_waypoints: int = field(metadata=bounds(2, 200))
    close_duration: float = field(metadata=_DURATION)
    settle_duration: float = field(metadata=bounds(0.0, 10.0, 's'))
    hold_duration: float = field(metadata=_DURATION)
    controller: ControllerSettings

    def __post_init__(self) -> None:
        """Check the entries against each other."""
        lower, upper = self.planning_limits()
        if np.any(lower >= upper):
            raise ConfigurationError(
                f'Arm {self.name}: position_lower must lie below position_upper by more than '
                'twice position_margin.'
            )
        if np.any(self.home < lower) or np.any(self.home > upper):
            raise ConfigurationError(
                f'Arm {self.name}: home {self.home} lies outside the joint limits '
                f'{lower.tolist()} to {upper.tolist()}; move it inside.'
            )
        for box in ('workspace', 'envelope'):
            corners = [np.asarray(getattr(self, f'{box}_{end}')) for end in ('lower', 'upper')]
            if np.any(corners[0] >= corners[1]):
                raise ConfigurationError(
                    f'Arm {self.name}: {box}_lower must lie below {box}_upper.'
                )
        fence = self.controller
        if np.any(np.asarray(fence.fence_lower) > self.envelope_lower) or np.any(
            np.asarray(fence.fence_upper) < self.envelope_upper
        ):
            raise ConfigurationError(
                f'Arm {self.name}: the controller stops hard at its fence {fence.fence_lower} to '
                f'{fence.fence_upper} m; it must contain the envelope {self.envelope_lower} to '
                f'{self.envelope_upper} m.'
            )
        for phase, cap in self.speed_caps.items():
            if phase not in set(Phase) or not 0.01 <= cap <= _FASTEST_CAP:
                raise ConfigurationError(
                    f'Arm {self.name}: speed_caps needs names of phases '
                    f'({", ".join(sorted(Phase))}) and speeds of 0.01 to {_FASTEST_CAP} m/s, '
                    f'got {phase}: {cap}.'
                )
        if self.joint_names != ARM_JOINT_NAMES:
            raise ConfigurationError(
                f'Arm {self.name}: joint_names must be those of the model in this order, '
                f'{", ".join(ARM_JOINT_NAMES)}; got {", ".join(self.joint_names)}.'
            )

    def planning_limits(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest joint positions of a plan, margin kept. Each shape (6,). [rad]."""
        lower = np.asarray(self.position_lower) + self.position_margin
        upper = np.asarray(self.position_upper) - self.position_margin
        return lower, upper

    def motion_limits(self) -> MotionLimits:
        """What every joint may do at most on a planned path."""
        return MotionLimits(
            np.asarray(self.speed_limit),
            np.asarray(self.acceleration_limit),
            np.asarray(self.jerk_limit),
        )


def load_arm_configuration(name: str, directory: Path | None = None) -> ArmConfiguration:
    """Read `arms/<name>.yaml` of a configuration folder, the installed one when None."""
    folder = config_directory() if directory is None else directory
    return load_named(ArmConfiguration, folder / 'arms', name)
