# SPDX-License-Identifier: Apache-2.0
"""Notices when the sender of a topic dies, without waiting for its next message.

A sender that offers a lease asserts by its middleware that it lives, also while its callbacks are
busy; after SIGKILL or SIGSTOP the lease runs out. Senders without a lease are not watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile


class PeerWatch:
    """Counts the living senders of one topic.

    Attributes:
        alive: How many there are now.
        seen: Whether there ever was one.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        topic: str,
        leased: QoSProfile,
        guard: Callable[..., None],
    ) -> None:
        """Listen.

        Args:
            node: Owner of the subscription.
            kind: Message type of the topic.
            topic: Its name.
            leased: Profile with the lease that is asked for.
            guard: Runs callbacks.
        """
        self.alive = 0
        self.seen = False
        self._lost_at: float | None = None
        # The defaults would warn of every sender without a lease, which is allowed.
        callbacks = SubscriptionEventCallbacks(
            liveliness=lambda info: guard(self._on_change, info), use_default_callbacks=False
        )
        node.create_subscription(kind, topic, _ignore, leased, event_callbacks=callbacks)

    @property
    def missing_for(self) -> float:
        """Time since the last sender was lost; 0 while there is one, or never was. [s]."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    @property
    def lost(self) -> bool:
        """Whether there was a sender and there is none now."""
        return self._lost_at is not None

    def _on_change(self, info: QoSLivelinessChangedInfo) -> None:
        self.alive = info.alive_count
        if self.alive > 0:
            self.seen = True
            self._lost_at = None
        elif self.seen and self._lost_at is None:
            self._lost_at = time.monotonic()


def _ignore(_: Any) -> None:
    """Messages are taken by another subscription, which also hears senders without a lease."""
