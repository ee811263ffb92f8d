# SPDX-License-Identifier: Apache-2.0
"""What the session knows of the recorder: where it records and what is on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node

from deft_core.clock import Deadline
from deft_core.errors import DeftError
from deft_core.nodes.qos import LATCHED
from deft_msgs.msg import RecorderStatus


class RecorderWatch:
    """Follows `/recorder/status`; does something once an episode is on the disk."""

    def __init__(
        self,
        node: Node,
        timeout: float,
        fail: Callable[[str], None],
        on_recorded: Callable[[str], None],
    ) -> None:
        """Subscribe.

        Args:
            node: The session node.
            timeout: Monotonic time an episode may take to the disk. [s].
            fail: Takes the reason when the recorder stopped or did not confirm in time.
            on_recorded: Takes the name of the newest episode on the disk.
        """
        self._timeout = timeout
        self._fail = fail
        self._on_recorded = on_recorded
        self._status: RecorderStatus | None = None
        self._waiting: tuple[str, Deadline, Callable[[], None]] | None = None
        node.create_subscription(RecorderStatus, '/recorder/status', self._on_status, LATCHED)

    def records(self, bag: Path) -> bool:
        """Whether the recorder writes to that bag now."""
        status = self._status
        return status is not None and status.recording and status.uri == str(bag)

    def when_recorded(self, episode_id: str, then: Callable[[], None]) -> None:
        """Call `then` as soon as the episode is on the disk; its DeftError becomes a failure."""
        self._waiting = (episode_id, Deadline(self._timeout), then)
        self.look()

    def drop(self) -> None:
        """Wait for nothing any more."""
        self._waiting = None

    def look(self) -> None:
        """See whether the wait is over; called now and then."""
        if self._waiting is None:
            return
        episode_id, deadline, then = self._waiting
        if self._status is not None and self._status.last_episode_id == episode_id:
            self._waiting = None
            try:
                then()
            except DeftError as error:
                self._fail(str(error))
        elif deadline.passed:
            self._waiting = None
            self._fail(f'/recorder/status did not confirm episode {episode_id!r} in time')

    def _on_status(self, message: RecorderStatus) -> None:
        self._status = message
        if message.error:
            self._fail(f'the recorder stopped: {message.error}')
        if message.last_episode_id:
            self._on_recorded(message.last_episode_id)
        self.look()
