# SPDX-License-Identifier: Apache-2.0
"""What is known and allowed about one kind of arm, from `config/arms/<name>.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from deft_arm.planning.geometry import Obstacle
from deft_arm.planning.paths import ARM_JOINTS, MotionLimits
from deft_arm.planning.plan import Phase
from deft_core.configuration import config_directory, load_yaml
from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray

Six: TypeAlias = tuple[float, float, float, float, float, float]
Three: TypeAlias = tuple[float, float, float]

_ANGLE: Final = {'minimum': -6.2832, 'maximum': 6.2832, 'unit': 'rad'}
_LENGTH: Final = {'minimum': -1.0, 'maximum': 1.0, 'unit': 'm'}
_BOX: Final = {'minimum': -1.5, 'maximum': 1.5, 'unit': 'm'}
_FASTEST_CAP: Final = 2.0  # [m/s] the controller stops faster tools by itself
_DURATION: Final = {'minimum': 0.1, 'maximum': 30.0, 'unit': 's'}


@dataclass(frozen=True)
class ControllerSettings:
    """What is set on the controller of the arm before it moves.

    Attributes:
        collision_sensitivity: 1 to 5, larger stops earlier; the vendor advises 3 or more.
        tool_mass: Hand with its mount. [kg].
        tool_centre_of_mass: In the flange frame. [m].
        fence_lower: Lowest corner of the box that the flange may not leave. [m].
        fence_upper: Highest corner of that box. [m].
    """

    collision_sensitivity: int = field(metadata={'minimum': 1, 'maximum': 5})
    tool_mass: float = field(metadata={'minimum': 0.0, 'maximum': 5.0, 'unit': 'kg'})
    tool_centre_of_mass: Three = field(metadata={'minimum': -0.5, 'maximum': 0.5, 'unit': 'm'})
    fence_lower: Three = field(metadata=_BOX)
    fence_upper: Three = field(metadata=_BOX)


@dataclass(frozen=True)
class ArmConfiguration:
    """Limits, home pose and episode timing of an arm; every length is in the base frame.

    Attributes:
        name: Name of the arm.
        joint_names: Joints from base to flange.
        position_lower: Lowest allowed joint positions. [rad].
        position_upper: Highest allowed joint positions. [rad].
        position_margin: Kept free at both ends of the travel when planning. [rad].
        speed_limit: Largest planned joint speeds. [rad/s].
        acceleration_limit: Largest planned joint accelerations. [rad/s^2].
        jerk_limit: Largest planned joint jerks. [rad/s^3].
        speed_caps: Largest speed of any part of arm and hand in a phase, by its name; a phase
            that is not named has none beyond the joints' own. [m/s].
        home: Pose in which the camera sees the table and the operator can reach it. [rad].
        workspace_lower: Lowest corner of the box that the grasp centre may enter. [m].
        workspace_upper: Highest corner of that box. [m].
        envelope_lower: Lowest corner of the box that no part of arm and hand may leave; its
            height is that of the table where it is lower. [m].
        envelope_upper: Highest corner of that box. [m].
        obstacles: What stands in the cell, such as the camera's stand.
        obstacle_clearance: Least distance of arm and hand from an obstacle. [m].
        table_height: Height of the table top. [m].
        rigid_clearance: Least height of arm links and motor housing over the table. [m].
        palm_clearance: Least planned height of the palm over the table. [m].
        finger_clearance: Least planned height of the fingers over the table. Negative values
            let the soft hand be pressed on it. [m].
        travel_clearance: Height over the table that everything keeps in joint moves, as far as
            the two ends of the move allow. [m].
        fold_clearance: Least distance of wrist and palm from base and upper arm. [m].
        move_duration: Shortest joint move between two rests. [s].
        lift_speed: Mean speed of straight moves up and down. [m/s].
        approach_duration: Shortest straight approach. [s].
        approach_waypoints: Poses that are solved along the approach.
        close_duration: Ramp of the hand, closing or opening. [s].
        settle_duration: Rest after that ramp. [s].
        hold_duration: Rest after the last displacement. [s].
        controller: What is set on the arm's own controller.
    """

    name: str
    joint_names: tuple[str, str, str, str, str, str]
    position_lower: Six = field(metadata=_ANGLE)
    position_upper: Six = field(metadata=_ANGLE)
    position_margin: float = field(metadata={'minimum': 0.0, 'maximum': 0.5, 'unit': 'rad'})
    speed_limit: Six = field(metadata={'minimum': 0.01, 'maximum': 3.14, 'unit': 'rad/s'})
    acceleration_limit: Six = field(metadata={'minimum': 0.01, 'maximum': 20.0, 'unit': 'rad/s^2'})
    jerk_limit: Six = field(metadata={'minimum': 1.0, 'maximum': 500.0, 'unit': 'rad/s^3'})
    speed_caps: dict[str, float]
    home: Six = field(metadata=_ANGLE)
    workspace_lower: Three = field(metadata=_LENGTH)
    workspace_upper: Three = field(metadata=_LENGTH)
    envelope_lower: Three = field(metadata=_BOX)
    envelope_upper: Three = field(metadata=_BOX)
    obstacles: tuple[Obstacle, ...]
    obstacle_clearance: float = field(metadata={'minimum': 0.0, 'maximum': 0.3, 'unit': 'm'})
    table_height: float = field(metadata=_LENGTH)
    rigid_clearance: float = field(metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'm'})
    palm_clearance: float = field(metadata={'minimum': -0.05, 'maximum': 0.1, 'unit': 'm'})
    finger_clearance: float = field(metadata={'minimum': -0.15, 'maximum': 0.1, 'unit': 'm'})
    travel_clearance: float = field(metadata={'minimum': 0.0, 'maximum': 0.5, 'unit': 'm'})
    fold_clearance: float = field(metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'm'})
    move_duration: float = field(metadata=_DURATION)
    lift_speed: float = field(metadata={'minimum': 0.01, 'maximum': 0.5, 'unit': 'm/s'})
    approach_duration: float = field(metadata=_DURATION)
    approach_waypoints: int = field(metadata={'minimum': 2, 'maximum': 200})
    close_duration: float = field(metadata=_DURATION)
    settle_duration: float = field(metadata={'minimum': 0.0, 'maximum': 10.0, 'unit': 's'})
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
        if len(set(self.joint_names)) != ARM_JOINTS:
            raise ConfigurationError(f'Arm {self.name}: joint_names must differ.')

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
    """Read `arms/<name>.yaml` of a configuration folder, the installed one when None.

    Raises:
        ConfigurationError: No such arm, or the file is wrong.
    """
    folder = (config_directory() if directory is None else directory) / 'arms'
    known = sorted(path.stem for path in folder.glob('*.yaml'))
    if name not in known:
        raise ConfigurationError(f'Unknown arm {name!r}; {folder} has: {", ".join(known)}.')
    return load_yaml(folder / f'{name}.yaml', ArmConfiguration)
