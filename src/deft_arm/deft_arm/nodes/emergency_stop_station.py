# SPDX-License-Identifier: Apache-2.0
"""A place to press the emergency stop from, whose loss stops the arm, too."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from deft_core.nodes.emergency_stop import TOPIC
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LEASED_LATCHED
from deft_core.nodes.runner import run_node
from deft_msgs.msg import EmergencyStop


@dataclass(frozen=True)
class StationParameters:
    """Parameters of the node `emergency_stop_station`."""

    station: str = field(
        default='operator station', metadata={'doc': 'name under which it presses and releases'}
    )


class EmergencyStopStation(Node):
    """Presses and releases for a person.

    Its middleware says all the time that it is there (a lease of 1 s); it ends without a word, and
    the arm takes its silence for a press.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; `options` go to `rclpy.node.Node`."""
        super().__init__('emergency_stop_station', **options)
        self._settings = declare_parameters(self, StationParameters)
        self._publisher = self.create_publisher(EmergencyStop, TOPIC, LEASED_LATCHED)
        for name, pressed in (('press', True), ('release', False)):
            self.create_service(
                Trigger,
                f'/emergency_stop_station/{name}',
                lambda _, response, pressed=pressed: self._set(pressed, response),
            )

    def _set(self, pressed: bool, response: Trigger.Response) -> Trigger.Response:
        message = EmergencyStop(
            pressed=pressed, source=self._settings.station, reason='by a person at the station'
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(message)
        response.success = True
        response.message = (
            'Pressed.' if pressed else 'Released; look at the arm, then call /arm/clear_fault.'
        )
        return response


def main() -> int:
    """Run the node."""
    return run_node(EmergencyStopStation, 'emergency_stop_station')


if __name__ == '__main__':
    sys.exit(main())
