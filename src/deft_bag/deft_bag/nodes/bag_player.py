# SPDX-License-Identifier: Apache-2.0
"""Publishes the messages of a bag again, as `ros2 bag play` does where rosbag2 is installed.

It can ask the replay trainer to train when it is through.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_srvs.srv import Trigger

from deft_bag.nodes.message_class import message_class
from deft_bag.playback import Playback
from deft_bag.reader import BagReader, RecordedTopic, bag_of
from deft_core.clock import Deadline
from deft_core.errors import ConfigurationError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import RECORDS
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished, run_node

TRAIN_SERVICE: Final = '/replay_trainer/train'
_PERIOD: Final = 0.005  # [s] of real time between two looks at what is due
_AT_ONCE: Final = 50  # messages between two looks at signals
# What rosbag2 writes of a profile, as numbers of rmw or in words.
_POLICY: Final = re.compile(r'\b(history|depth|reliability|durability):[ ]?["\']?(\w{1,20})')
_ACKNOWLEDGE_TIMEOUT: Final = 10.0  # [s] of real time for listeners to take what was sent


@dataclass(frozen=True)
class PlayerParameters:
    """Parameters of the node `bag_player`."""

    bag: str = field(default='', metadata={'doc': 'run folder, bag folder or .mcap file'})
    rate: float = field(
        default=1.0,
        metadata={'minimum': 1e-3, 'maximum': 1e6, 'doc': 'recorded seconds in one second'},
    )
    delay: float = field(
        default=1.0,
        metadata={
            'minimum': 0.0,
            'maximum': 600.0,
            'unit': 's',
            'doc': 'before the first message, for listeners to find the topics',
        },
    )
    topics: tuple[str, ...] = field(default=(), metadata={'doc': 'only these; empty for all'})
    train: bool = field(
        default=False, metadata={'doc': f'call {TRAIN_SERVICE} when all was played'}
    )
    train_timeout: float = field(
        default=600.0,
        metadata={'minimum': 1.0, 'maximum': 3600.0, 'unit': 's', 'doc': 'for that call'},
    )


class BagPlayer(Node):
    """Plays one bag and ends."""

    def __init__(self, **options: Any) -> None:
        """Offer the topics of the bag."""
        super().__init__('bag_player', **options)
        self._parameters = declare_parameters(self, PlayerParameters)
        if not self._parameters.bag:
            raise ConfigurationError('the parameter bag is empty; name a bag to play')
        reader = BagReader(bag_of(Path(self._parameters.bag)))
        for sentence in reader.damaged:
            self.get_logger().warning(sentence)
        self._offered: dict[str, Publisher] = {}
        self._unconfirmed: dict[str, int] = {}
        self._offer(_chosen(reader.topics(), self._parameters.topics))
        self._playback = Playback(
            reader.messages(set(self._offered)),
            rate=self._parameters.rate,
            delay=self._parameters.delay,
        )
        self._sent = 0
        self._trainer = self.create_client(Trigger, TRAIN_SERVICE)
        self._answer: Future | None = None
        self._deadline: Deadline | None = None
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_PERIOD, self._work, clock=steady)
        self.get_logger().info(
            f'Playing {len(self._offered)} topics of {self._parameters.bag} at '
            f'{self._parameters.rate:g} times the speed of the recording.'
        )

    def _offer(self, topics: list[RecordedTopic]) -> None:
        """Make the publishers; raises ConfigurationError where one topic cannot be played."""
        refused = {}
        for topic in topics:
            try:
                if topic.encoding != 'cdr':
                    raise ConfigurationError(f'its messages are {topic.encoding!r}, not cdr')
                kind, profile = message_class(topic.type), _profile(topic)
                publisher = self.create_publisher(kind, topic.name, profile)
            except (ConfigurationError, InvalidTopicNameException) as error:
                refused[topic.name] = ' '.join(str(error).split())
                continue
            self._offered[topic.name], self._unconfirmed[topic.name] = publisher, 0
        if refused:
            reasons = '; '.join(f'{name}: {reason}' for name, reason in refused.items())
            others = f'name the others with --topics {" ".join(self._offered)}'
            raise ConfigurationError(
                f'{self._parameters.bag} cannot be played whole ({reasons}); '
                f'{others if self._offered else "none of its topics can"}'
            )

    def _work(self) -> None:
        if not self._playback.finished:
            for message in self._playback.due(_AT_ONCE):
                self._publish(message.topic, message.data)
            return
        if self._deadline is None:
            self._finish_playing()
        elif self._answer is None:
            self._ask()
        elif self._answer.done():
            self._report(self._answer.result())
        elif self._deadline.passed:
            self._give_up('did not answer in time')

    def _publish(self, topic: str, data: bytes) -> None:
        publisher = self._offered[topic]
        publisher.publish(data)
        self._sent += 1
        self._unconfirmed[topic] += 1
        # At a high rate a message could leave the queue before a listener has it.
        if self._unconfirmed[topic] >= max(1, publisher.qos_profile.depth // 2):
            self._confirm(topic, publisher)

    def _confirm(self, topic: str, publisher: Publisher) -> None:
        self._unconfirmed[topic] = 0
        if not publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_TIMEOUT)):
            self.get_logger().warning(f'A listener of {topic} does not keep up; lower the rate.')

    def _finish_playing(self) -> None:
        for topic, publisher in self._offered.items():
            self._confirm(topic, publisher)
        print(f'played {self._sent} messages', flush=True)
        if not self._parameters.train:
            raise NodeFinished(EXIT_OK)
        self._deadline = Deadline(self._parameters.train_timeout)

    def _ask(self) -> None:
        assert self._deadline is not None, 'asked before the end'
        if self._trainer.service_is_ready():
            self._answer = self._trainer.call_async(Trigger.Request())
        elif self._deadline.passed:
            self._give_up('is not there; start the node replay_trainer')

    def _report(self, response: Trigger.Response) -> None:
        if response.success:
            print(response.message, flush=True)
            raise NodeFinished(EXIT_OK)
        print(f'error: {response.message}', file=sys.stderr, flush=True)
        raise NodeFinished(EXIT_FAILURE)

    def _give_up(self, reason: str) -> None:
        print(f'error: {TRAIN_SERVICE} {reason}', file=sys.stderr, flush=True)
        raise NodeFinished(EXIT_FAILURE)


def _chosen(topics: list[RecordedTopic], wanted: tuple[str, ...]) -> list[RecordedTopic]:
    """The wanted topics of a bag; all of them when none is named."""
    absent = sorted(set(wanted) - {topic.name for topic in topics})
    if absent:
        names = ', '.join(sorted(topic.name for topic in topics)) or 'no topic'
        raise ConfigurationError(f'the bag has no topic {", ".join(absent)}; it holds {names}')
    return [topic for topic in topics if not wanted or topic.name in wanted]


def _profile(topic: RecordedTopic) -> QoSProfile:
    """Quality of service as it was offered; where nobody noted it, what every listener accepts."""
    if not topic.offered:
        return RECORDS
    offered: dict[str, list[str]] = {}
    for name, value in _POLICY.findall(topic.offered):
        offered.setdefault(name, []).append(value.lower())
    if not offered.keys() >= {'history', 'depth', 'reliability', 'durability'}:
        raise ConfigurationError(f'its quality of service is {topic.offered[:40]!r}')
    keep_all = offered['history'][0] in {'2', 'keep_all'}
    depth = offered['depth'][0]
    latched = all(value in {'1', 'transient_local'} for value in offered['durability'])
    reliable = not any(value in {'2', 'best_effort'} for value in offered['reliability'])
    return QoSProfile(
        history=HistoryPolicy.KEEP_ALL if keep_all else HistoryPolicy.KEEP_LAST,
        depth=max(1, min(int(depth), 1000)) if depth.isdecimal() else 1,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def main() -> int:
    """Run the node."""
    return run_node(BagPlayer, 'bag_player')


if __name__ == '__main__':
    sys.exit(main())
