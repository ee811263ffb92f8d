# SPDX-License-Identifier: Apache-2.0
"""Parameters of the arm node that concern xarm_ros2's driver."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class XArmParameters:
    """How the services of the driver are used."""

    xarm_namespace: str = field(
        default='/xarm', metadata={'doc': 'namespace of the topics and services of the driver'}
    )
    controller_settings: bool = field(
        default=True,
        metadata={'doc': 'whether load, sensitivity and boundary are set on the controller'},
    )
    queue_depth: int = field(
        default=10,
        metadata={'minimum': 2, 'maximum': 100, 'doc': 'most commands ahead of the arm'},
    )
    acceleration: float = field(
        default=6.0,
        metadata={
            'minimum': 0.1,
            'maximum': 20.0,
            'unit': 'rad/s^2',
            'doc': 'of motion commands',
        },
    )
    call_timeout: float = field(
        default=5.0,
        metadata={'minimum': 0.1, 'maximum': 60.0, 'unit': 's', 'doc': 'of a service call'},
    )
    error_delay: float = field(
        default=0.5,
        metadata={
            'minimum': 0.0,
            'maximum': 5.0,
            'unit': 's',
            'doc': 'until an error code is reported after the stop that it explains',
        },
    )
    pose_tolerance: float = field(
        default=0.015,
        metadata={
            'minimum': 0.001,
            'maximum': 0.1,
            'unit': 'm',
            'doc': 'between reported and computed flange',
        },
    )
