# SPDX-License-Identifier: Apache-2.0
"""Who holds the emergency stop pressed, as every node that moves something hears it.

Everybody may press, with any quality of service. A press stays until the one who pressed
releases. A sender with a liveliness lease (`qos.LEASED_LATCHED`) is a station: one that was there
and is gone counts as pressed, because its button would not be heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.node import Node

from deft_core.nodes.qos import EMERGENCY_STOP, LEASED_LATCHED
from deft_msgs.msg import EmergencyStop

TOPIC: Final = '/emergency_stop'


class EmergencyStopMonitor:
    """The state of every sender on `/emergency_stop`.

    Args:
        node: Owner of the subscriptions.
        changed: Called as soon as something has changed.
        require_station: Whether nothing may move until a station is there.
    """

    def __init__(
        self, node: Node, changed: Callable[[], None], *, require_station: bool = False
    ) -> None:
        """Start released, with no station known."""
        self._changed = changed
        self._require_station = require_station
        self._pressed: dict[str, str] = {}  # source: reason
        self._expected = 0
        self._alive = 0
        for profile in EMERGENCY_STOP:
            node.create_subscription(EmergencyStop, TOPIC, self._on_message, profile)
        # Hears stations alone: what it is for is their lease.
        node.create_subscription(
            EmergencyStop,
            TOPIC,
            lambda _: None,
            LEASED_LATCHED,
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=self._on_stations, use_default_callbacks=False
            ),
        )

    @property
    def stations(self) -> int:
        """Stations that are there now."""
        return self._alive

    def problem(self) -> str:
        """Why nothing may move, for a person; empty where nothing is pressed or lost."""
        if self._pressed:
            pressed = ', '.join(f'{who} ({why})' for who, why in sorted(self._pressed.items()))
            return f'Emergency stop by {pressed}.'
        lost = self._expected - self._alive
        if lost:
            return (
                f'{lost} of {self._expected} emergency stop stations are gone, which counts '
                'as a press; start them again.'
            )
        return ''

    def missing(self) -> str:
        """Why nothing may move yet; a station that has not come is no press to be cleared."""
        if self._require_station and not self._alive:
            return 'No emergency stop station is there; start one or set require_station: false.'
        return ''

    def accept_loss(self) -> None:
        """A person says that the lost stations are gone for good."""
        self._expected = self._alive

    def _on_message(self, message: EmergencyStop) -> None:
        if message.pressed:
            self._pressed[message.source] = message.reason
        else:
            self._pressed.pop(message.source, None)
        self._changed()

    def _on_stations(self, info: QoSLivelinessChangedInfo) -> None:
        self._alive = info.alive_count
        self._expected = max(self._expected, self._alive)
        self._changed()
