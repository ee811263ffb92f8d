# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node `arm`."""

from __future__ import annotations

from dataclasses import dataclass, field

from deft_arm.execution import ExecutionSettings
from deft_arm.nodes.xarm_parameters import XArmParameters
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

ROS2_CONTROL = 'ros2_control'
XARM_API = 'xarm_api'
_HANDS = ('hold', 'open')


@dataclass(frozen=True)
class ArmParameters(ExecutionSettings, XArmParameters):
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
    ready_timeout: float = field(
        default=60.0,
        metadata={
            'minimum': 0.1,
            'maximum': 120.0,
            'unit': 's',
            'doc': 'that a goal waits for a controller or a hand that is being made ready',
        },
    )
    clearance_wait: float = field(
        default=0.0,
        metadata={
            'minimum': 0.0,
            'maximum': 600.0,
            'unit': 's',
            'doc': 'that a goal waits for a person to clear a fault; 0 on a robot, where motion '
            'must not begin with the clearing',
        },
    )

    def __post_init__(self) -> None:
        """Refuse names that do not exist."""
        for name, known in (
            ('arm_interface', (ROS2_CONTROL, XARM_API)),
            ('hand_after_collision', _HANDS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ConfigurationError(f'{name} is {value!r}; {nearest(value, known)}')
