# SPDX-License-Identifier: Apache-2.0
"""Records streams beside a session, as rosbag2 does; nobody waits for it.

The episodes are not among them: the session writes these itself.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from deft_bag.message_types import message_typestore
from deft_bag.nodes.message_class import message_class
from deft_core.errors import ConfigurationError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED, STATE
from deft_core.nodes.runner import run_node
from deft_msgs.msg import SessionStatus

STREAMS_FOLDER: Final = 'streams'  # in the folder of a run, a bag in it for each launch
_PROFILES: Final[dict[str, QoSProfile]] = {'latched': LATCHED, 'state': STATE}
_FOREVER: Final = QosTime(9223372036, 854775807)


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the node `recorder`."""

    topics: tuple[str, ...] = field(
        default=(), metadata={'doc': "'topic type latched|state' each"}
    )


class StreamRecorder(Node):
    """Follows the session: the run folder in its status is where it records."""

    def __init__(self, **options: Any) -> None:
        """Check the topics and wait for a session."""
        super().__init__('recorder', **options)
        parameters = declare_parameters(self, RecorderParameters)
        self._topics = [_parse(text) for text in parameters.topics]
        self._types = message_typestore()
        self._bag: Writer | None = None
        self._run_directory = ''
        self._recorded: list[Any] = []
        self.message_count = 0  # of the present bag
        self.create_subscription(SessionStatus, '/session/status', self._on_session, LATCHED)

    def close(self) -> None:
        """Finish the bag."""
        if self._bag is None:
            return
        try:
            self._bag.close()
            self._bag = None
        except OSError as error:
            self._stop(self._bag.path, error)

    def _on_session(self, message: SessionStatus) -> None:
        if message.run_directory in ('', self._run_directory):
            return
        self.close()
        self._run_directory = message.run_directory
        folder = Path(message.run_directory) / STREAMS_FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._bag = Writer(
                folder / f'{sum(1 for _ in folder.iterdir()):04d}',
                version=9,
                storage_plugin=StoragePlugin.MCAP,
            )
            self._bag.open()
            connections = [
                self._bag.add_connection(
                    name,
                    kind,
                    typestore=self._types,
                    offered_qos_profiles=[quality_of_service(latched=profile == 'latched')],
                )
                for name, kind, profile in self._topics
            ]
        except (OSError, WriterError) as error:
            self._stop(folder, error)
            return
        self.message_count = 0
        self._listen(connections)

    def _listen(self, connections: list[Connection]) -> None:
        """Subscribe anew, so that latched messages come once more and into this bag."""
        for subscription in self._recorded:
            self.destroy_subscription(subscription)
        self._recorded = [
            self.create_subscription(
                message_class(kind),
                name,
                partial(self._on_message, connection),
                _PROFILES[profile],
                raw=True,
            )
            for (name, kind, profile), connection in zip(self._topics, connections, strict=True)
        ]

    def _on_message(self, connection: Connection, data: bytes) -> None:
        if self._bag is None:
            return
        try:
            self._bag.write(connection, self.get_clock().now().nanoseconds, data)
            self.message_count += 1
        except (OSError, WriterError) as error:
            self._stop(self._bag.path, error)

    def _stop(self, path: Path, error: OSError | WriterError) -> None:
        """Record no more and say why; robot and session are not affected."""
        bag, self._bag = self._bag, None
        if bag is not None:
            with suppress(OSError):  # it refuses once more, which is said below
                bag.abort()
        reason = error.strerror if isinstance(error, OSError) else error
        self.get_logger().error(
            f'The streams are not recorded further in {path}: {reason}; make room on the disk and '
            'launch again, what is there can be read.'
        )


def _parse(text: str) -> tuple[str, str, str]:
    """Name, type and profile of an entry of the parameter `topics`."""
    words = text.split()
    if len(words) != 3 or words[2] not in _PROFILES or not words[0].startswith('/'):
        raise ConfigurationError(
            f'recorder topic {text!r} must be a topic, a type and one of {", ".join(_PROFILES)}'
        )
    try:
        message_class(words[1])
    except ConfigurationError as error:
        raise ConfigurationError(f'cannot record {words[0]}: {error}') from error
    return words[0], words[1], words[2]


def quality_of_service(*, latched: bool) -> Qos:
    """What a player should offer a stream with."""
    return Qos(
        QosHistory.KEEP_LAST,
        100 if latched else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def main() -> int:
    """Run the node."""
    return run_node(StreamRecorder, 'recorder')


if __name__ == '__main__':
    sys.exit(main())
