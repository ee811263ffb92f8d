# SPDX-License-Identifier: Apache-2.0
"""The quality-of-service profiles of the graph; no node writes its own."""

from __future__ import annotations

from typing import Final

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

# REP-2003: drivers publish reliably, consumers of images take what they get. An image is hundreds
# of packets: on a busy machine best effort loses most of them, so reliable where it is offered.
IMAGE_PUBLISHER: Final = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
IMAGE: Final = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_AVAILABLE)
# Joint and motor states: the newest is what counts.
STATE: Final = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
STATE_PUBLISHER: Final = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
# Commands: the newest wins and an old one must never be replayed.
COMMAND: Final = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# As COMMAND, from a sender whose death the receiver must notice: SIGKILL and SIGSTOP included.
LEASED_COMMAND: Final = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(nanoseconds=500_000_000),
)
# Status, emergency stop, static transforms: late joiners see the current value.
LATCHED: Final = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# As LATCHED, from a sender whose death counts: an emergency stop without its button is pressed.
LEASED_LATCHED: Final = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(nanoseconds=1_000_000_000),
)
# An emergency stop is obeyed however it is sent, so it is subscribed to with all of these: who
# asks for latched values hears no sender that does not keep them, a reliable one no best effort.
# Each of several senders has a value of its own; a depth of 1 would keep one of them all.
EMERGENCY_STOP: Final = (
    QoSProfile(
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    ),
    QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE),
    QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT),
)
# Episodes and rewards: nothing may be lost.
RECORDS: Final = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
