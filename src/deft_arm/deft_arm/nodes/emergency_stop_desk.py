# SPDX-License-Identifier: Apache-2.0
"""Hears every press of the emergency stop, and the loss of those who could press it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rclpy.event_handler import (
    PublisherEventCallbacks,
    QoSLivelinessChangedInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node

from deft_arm.emergency_stop import EmergencyStopLatch
from deft_core.nodes.encode import header
from deft_core.nodes.qos import LATCHED, LEASED_LATCHED
from deft_msgs.msg import EmergencyStop

TOPIC: Final = '/emergency_stop'
_SOURCE: Final = 'arm'  # under which this node presses


class EmergencyStopDesk:
    """The topic `/emergency_stop` as the arm sees it.

    A station that is lost is told to the other nodes as a press by the arm, because not all of
    them look for stations.

    Args:
        node: The arm node.
        require_station: Whether nothing moves until a station is there.
        changed: Called as soon as something has changed.
    """

    def __init__(self, node: Node, changed: Callable[[], None], *, require_station: bool) -> None:
        """Create publisher and subscriptions on `node`."""
        self._node = node
        self._changed = changed
        self._latch = EmergencyStopLatch(require_station=require_station)
        self._pressed_by_us = False
        # Without a lease: this node presses for others and is no station.
        self._publisher = node.create_publisher(
            EmergencyStop,
            TOPIC,
            LATCHED,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
        )
        node.create_subscription(EmergencyStop, TOPIC, self._on_message, LATCHED)
        # A second subscription, because one that asks for a lease hears no sender without one.
        node.create_subscription(
            EmergencyStop,
            TOPIC,
            lambda _: None,
            LEASED_LATCHED,
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=self._on_stations, use_default_callbacks=False
            ),
        )

    def problem(self) -> str:
        """Why nothing may move, for a person; empty where nothing is pressed or lost."""
        return self._latch.problem()

    def missing(self) -> str:
        """Why nothing may move yet; a station that has not come is no press to be cleared."""
        return self._latch.missing()

    def tell_of_loss(self) -> None:
        """Press for the other nodes where a station is lost."""
        if self._latch.lost and not self._pressed_by_us:
            self._press(True, self._latch.problem())

    def accept(self) -> str:
        """A person gives up lost stations; what still forbids motion, empty where nothing does."""
        self._latch.accept_loss()
        problem = self._latch.problem() or self._latch.missing()
        if not problem and self._pressed_by_us:
            self._press(False, 'cleared by a person')
        return problem

    def _on_message(self, message: EmergencyStop) -> None:
        if message.source == _SOURCE:
            return  # our own word, for the other nodes
        self._latch.set(message.source, message.pressed, message.reason)
        self._changed()

    def _on_stations(self, info: QoSLivelinessChangedInfo) -> None:
        self._latch.stations(info.alive_count)
        self._changed()

    def _press(self, pressed: bool, reason: str) -> None:
        self._pressed_by_us = pressed
        message = EmergencyStop(pressed=pressed, source=_SOURCE, reason=reason)
        message.header = header(self._node.get_clock().now().nanoseconds * 1e-9, '')
        self._publisher.publish(message)
