# SPDX-License-Identifier: Apache-2.0
"""Records a session to one MCAP bag; an episode is on the disk as soon as it ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from deft_bag.message_types import message_typestore
from deft_bag.nodes.message_class import message_class
from deft_bag.parts import BAG_FOLDER
from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE
from deft_bag.session_bag import SessionBag
from deft_core.errors import ConfigurationError, RecordingError
from deft_core.nodes.encode import header
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED, RECORDS, STATE
from deft_core.nodes.runner import run_node
from deft_msgs.msg import RecorderStatus, SessionStatus

_PROFILES: Final[dict[str, QoSProfile]] = {'latched': LATCHED, 'records': RECORDS, 'state': STATE}
_FLUSH_PERIOD: Final = 2.0  # [s] of real time; what a power cut may cost besides episodes


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the node `recorder`."""

    topics: tuple[str, ...] = field(
        default=(),
        metadata={'doc': "besides the episodes: 'topic type latched|records|state' each"},
    )


@dataclass(frozen=True)
class TopicToRecord:
    """One topic to record.

    Attributes:
        name: Topic name.
        type: Message type, for example 'sensor_msgs/msg/JointState'.
        profile: Key of the quality of service to subscribe with.
    """

    name: str
    type: str
    profile: str

    @classmethod
    def parse(cls, text: str) -> TopicToRecord:
        """Read an entry of the parameter `topics`.

        Raises:
            ConfigurationError: Not three words, or an unknown profile.
        """
        words = text.split()
        if len(words) != 3 or words[2] not in _PROFILES or not words[0].startswith('/'):
            raise ConfigurationError(
                f'recorder topic {text!r} must be a topic, a type and one of '
                f'{", ".join(_PROFILES)}'
            )
        return cls(*words)

    def load_class(self) -> Any:
        """The message class.

        Raises:
            ConfigurationError: There is no such type.
        """
        try:
            return message_class(self.type)
        except ConfigurationError as error:
            raise ConfigurationError(f'cannot record {self.name}: {error}') from error


class RecorderNode(Node):
    """Follows the session: a run folder in its status opens the bag there.

    Where the folder holds a bag already, the session goes on after an interruption: what is
    recorded stays as it is, and a further file begins.
    """

    def __init__(self, **options: Any) -> None:
        """Check the topics and wait for a session.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter is wrong.
        """
        super().__init__('recorder', **options)
        parameters = declare_parameters(self, RecorderParameters)
        self._topics = [TopicToRecord(EPISODE_TOPIC, EPISODE_TYPE, 'records')]
        self._topics += [TopicToRecord.parse(text) for text in parameters.topics]
        self._classes = [topic.load_class() for topic in self._topics]
        self._typestore = message_typestore()
        self._writer: SessionBag | None = None
        self._taps: list[Any] = []
        self._run_directory = ''
        self._bag = ''
        self._last_episode_id = ''
        self._episode_count = 0
        self._error = ''
        self._status = self.create_publisher(RecorderStatus, '/recorder/status', LATCHED)
        self.create_subscription(SessionStatus, '/session/status', self._on_session, LATCHED)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_FLUSH_PERIOD, self._flush, clock=steady)
        self._publish_status()

    def close(self) -> None:
        """Finish the bag."""
        if self._writer is not None:
            try:
                self._writer.close()
            except RecordingError as error:
                self.get_logger().error(str(error))
            self._writer = None

    def _on_session(self, message: SessionStatus) -> None:
        if message.run_directory in ('', self._run_directory):
            return
        self.close()
        self._run_directory = message.run_directory
        self._bag = str(Path(message.run_directory) / BAG_FOLDER)
        self._last_episode_id, self._episode_count, self._error = '', 0, ''
        try:
            self._writer = SessionBag(Path(self._bag), self._typestore)
            for topic in self._topics:
                latched = topic.profile != 'state'
                self._writer.add_topic(topic.name, topic.type, latched=latched)
        except (RecordingError, ConfigurationError) as error:
            self._stop(error)
        else:
            self._count_episodes()
            self._listen()
            self._publish_status()

    def _listen(self) -> None:
        """Subscribe anew, so that latched messages come once more and into this bag."""
        for tap in self._taps:
            self.destroy_subscription(tap)
        self._taps = [
            self.create_subscription(
                kind,
                topic.name,
                partial(self._on_message, topic.name),
                _PROFILES[topic.profile],
                raw=True,
            )
            for topic, kind in zip(self._topics, self._classes, strict=True)
        ]

    def _on_message(self, topic: str, data: bytes) -> None:
        if self._writer is None:
            return
        now = self.get_clock().now().nanoseconds
        try:
            if topic != EPISODE_TOPIC:
                self._writer.write(topic, data, now)
                return
            self._writer.record_episode(data, now)
        except RecordingError as error:
            self._stop(error)
            return
        self._count_episodes()
        self._publish_status()

    def _count_episodes(self) -> None:
        assert self._writer is not None, 'counted without a bag'
        recorded = self._writer.episode_ids
        self._episode_count = len(recorded)
        self._last_episode_id = recorded[-1] if recorded else ''

    def _flush(self) -> None:
        if self._writer is not None:
            try:
                self._writer.flush()
            except RecordingError as error:
                self._stop(error)

    def _stop(self, error: Exception) -> None:
        """Record no more and say why; the robot is not affected."""
        self._error = str(error)
        self.get_logger().error(f'Recording stopped: {error}')
        self.close()
        self._publish_status()

    def _publish_status(self) -> None:
        writer = self._writer
        self._status.publish(
            RecorderStatus(
                header=header(self.get_clock().now().nanoseconds * 1e-9, ''),
                uri=self._bag,
                recording=writer is not None,
                last_episode_id=self._last_episode_id,
                episode_count=self._episode_count,
                message_count=0 if writer is None else writer.message_count,
                size=0 if writer is None else writer.size,
                error=self._error,
            )
        )


def main() -> int:
    """Run the node."""
    return run_node(RecorderNode)


if __name__ == '__main__':
    sys.exit(main())
