# SPDX-License-Identifier: Apache-2.0
"""Records streams of other topics beside a session, as `ros2 bag record` does.

Episodes are not among them: the session itself writes those to its bag. Nobody waits for this
node; where it fails it says so and the session goes on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from rclpy.node import Node
from rclpy.qos import QoSProfile

from deft_bag.message_types import message_typestore
from deft_bag.nodes.message_class import message_class
from deft_bag.reader import bag_files
from deft_bag.writer import BagWriter, write_metadata
from deft_core.errors import ConfigurationError, DeftError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED, STATE
from deft_core.nodes.runner import run_node
from deft_msgs.msg import SessionStatus

STREAMS_FOLDER: Final = 'streams'  # in the folder of a run
_PROFILES: Final[dict[str, QoSProfile]] = {'latched': LATCHED, 'state': STATE}


@dataclass(frozen=True)
class RecorderParameters:
    """Parameters of the node `recorder`."""

    topics: tuple[str, ...] = field(
        default=(), metadata={'doc': "'topic type latched|state' each"}
    )


class RecorderNode(Node):
    """Follows the session: a run folder in its status begins a file there."""

    def __init__(self, **options: Any) -> None:
        """Check the topics and wait for a session.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter is wrong.
        """
        super().__init__('recorder', **options)
        topics = declare_parameters(self, RecorderParameters).topics
        self._topics = [_parse(text) for text in topics]
        self._typestore = message_typestore()
        self._run_directory = ''
        self._path = Path()
        self._stream: BinaryIO | None = None
        self._writer: BagWriter | None = None
        self._listening: list[Any] = []
        self.create_subscription(SessionStatus, '/session/status', self._on_session, LATCHED)

    def close(self) -> None:
        """Finish the file."""
        writer, stream = self._writer, self._stream
        self._writer = self._stream = None
        try:
            if writer is not None:
                writer.close()
            if stream is not None:
                stream.close()
                write_metadata(self._path.parent)
        except (DeftError, OSError) as error:
            self.get_logger().error(f'{self._path} was not finished: {error}')

    def _on_session(self, message: SessionStatus) -> None:
        if message.run_directory in ('', self._run_directory):
            return
        self.close()
        self._run_directory = message.run_directory
        folder = Path(message.run_directory) / STREAMS_FOLDER
        try:
            folder.mkdir(exist_ok=True)
            self._path = folder / f'streams_{len(bag_files(folder))}.mcap'
            self._stream = self._path.open('xb')
            self._writer = BagWriter(self._stream, self._typestore)
            for name, type_name, profile in self._topics:
                self._writer.add_topic(name, type_name, latched=profile == 'latched')
        except (DeftError, OSError) as error:
            self._stop(error)
        else:
            self._listen()

    def _listen(self) -> None:
        """Subscribe anew, so that latched messages come once more and into this file."""
        for subscription in self._listening:
            self.destroy_subscription(subscription)
        self._listening = [
            self.create_subscription(
                message_class(type_name),
                name,
                partial(self._on_message, name),
                _PROFILES[profile],
                raw=True,
            )
            for name, type_name, profile in self._topics
        ]

    def _on_message(self, topic: str, data: bytes) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(topic, data, self.get_clock().now().nanoseconds)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        """Record no more and say why."""
        self.get_logger().error(
            f'The streams are not recorded any more, the session goes on: {error}'
        )
        self.close()


def _parse(text: str) -> tuple[str, str, str]:
    """Topic, type and quality of service of an entry of the parameter `topics`.

    Raises:
        ConfigurationError: Not three words, an unknown profile, or no such type.
    """
    words = text.split()
    if len(words) != 3 or words[2] not in _PROFILES or not words[0].startswith('/'):
        raise ConfigurationError(
            f'recorder topic {text!r} must be a topic, a type and one of {", ".join(_PROFILES)}'
        )
    name, type_name, profile = words
    try:
        message_class(type_name)
    except ConfigurationError as error:
        raise ConfigurationError(f'cannot record {name}: {error}') from error
    return name, type_name, profile


def main() -> int:
    """Run the node."""
    return run_node(RecorderNode)


if __name__ == '__main__':
    sys.exit(main())
