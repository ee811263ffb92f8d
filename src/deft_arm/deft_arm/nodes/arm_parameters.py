# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node `arm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from deft_arm.execution import ExecutionSettings, setting
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

ROS2_CONTROL: Final = 'ros2_control'
XARM_API: Final = 'xarm_api'


@dataclass(frozen=True)
class ArmParameters(ExecutionSettings):
    """Which arm, how it is driven, and what happens when something goes wrong."""

    arm: str = field(default='xarm6', metadata={'doc': 'name of a file in config/arms'})
    arm_interface: str = field(
        default=XARM_API,
        metadata={'doc': f'{XARM_API}: driver of xarm_ros2; {ROS2_CONTROL}: joint trajectories'},
    )
    require_station: bool = field(
        default=False, metadata={'doc': 'whether nothing moves until a stop station is there'}
    )
    hand_after_collision: str = field(
        default='hold', metadata={'doc': 'what the hand does after a collision: hold or open'}
    )
    ready_timeout: float = setting(
        60.0, 0.1, 120.0, 's', 'that a goal waits for a controller or a hand that is made ready'
    )
    clearance_wait: float = setting(
        0.0,
        0.0,
        600.0,
        's',
        'that a goal waits for a person to clear a fault; 0 on a robot, where motion must not '
        'begin with the clearing',
    )
    # What follows concerns the driver of xarm_ros2.
    xarm_namespace: str = field(
        default='/xarm', metadata={'doc': 'namespace of the topics and services of the driver'}
    )
    controller_settings: bool = field(
        default=True,
        metadata={'doc': 'whether load, sensitivity and boundary are set on the controller'},
    )
    queue_depth: int = setting(10, 2, 100, '', 'most commands ahead of the arm')
    acceleration: float = setting(6.0, 0.1, 20.0, 'rad/s^2', 'of motion commands')
    call_timeout: float = setting(5.0, 0.1, 60.0, 's', 'of a service call')
    error_delay: float = setting(
        0.5, 0.0, 5.0, 's', 'until an error code is reported after the stop that it explains'
    )
    pose_tolerance: float = setting(0.015, 0.001, 0.1, 'm', 'between reported and computed flange')

    def __post_init__(self) -> None:
        """Refuse names that do not exist."""
        for name, known in (
            ('arm_interface', (ROS2_CONTROL, XARM_API)),
            ('hand_after_collision', ('hold', 'open')),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ConfigurationError(f'{name} is {value!r}; {nearest(value, known)}')
