# SPDX-License-Identifier: Apache-2.0
"""Streams are recorded beside a session, into a bag of each launch."""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from deft_bag.nodes.stream_recorder import StreamRecorder
from deft_bag.reader import BagReader
from deft_core.errors import ConfigurationError
from deft_core.nodes.qos import LATCHED, STATE
from deft_msgs.msg import SessionStatus

TIMEOUT = 60.0  # [s]
TOPICS = [
    '/session/status deft_msgs/msg/SessionStatus latched',
    '/hand/joint_states sensor_msgs/msg/JointState state',
]


@pytest.fixture
def graph():
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)

    def add(kind, *names, **values) -> Node:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = kind(*names, context=context, parameter_overrides=overrides)
        executor.add_node(node)
        return node

    def until(condition) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'nothing happened in time'
            executor.spin_once(timeout_sec=0.05)

    yield SimpleNamespace(add=add, until=until)
    executor.shutdown()
    rclpy.try_shutdown(context=context)


def test_streams_of_each_launch_are_in_a_bag_of_their_own(graph, tmp_path: Path) -> None:
    session = graph.add(Node, 'session')
    status = session.create_publisher(SessionStatus, '/session/status', LATCHED)
    joints = session.create_publisher(JointState, '/hand/joint_states', STATE)
    status.publish(SessionStatus(run_directory=str(tmp_path), session_id='s'))
    for launch in range(2):
        recorder = graph.add(StreamRecorder, topics=TOPICS)
        graph.until(lambda: joints.get_subscription_count() == 1)
        bag = tmp_path / 'streams' / f'{launch:04d}'
        for position in range(3):
            joints.publish(JointState(position=[float(position)]))
        graph.until(lambda recorder=recorder: recorder.message_count == 4)
        recorder.close()
        recorder.destroy_node()
        graph.until(lambda: joints.get_subscription_count() == 0)
        topics = [message.topic for message in BagReader(bag).messages()]
        assert sorted(topics) == ['/hand/joint_states'] * 3 + ['/session/status']


@pytest.fixture
def small_disk():
    """No file may grow beyond 100 kB, which a program sees as a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize('at_the_end', [False, True])
def test_a_full_disk_is_said_once(
    graph, tmp_path: Path, small_disk, monkeypatch, at_the_end: bool
) -> None:
    said: list[str] = []
    session = graph.add(Node, 'session')
    status = session.create_publisher(SessionStatus, '/session/status', LATCHED)
    joints = session.create_publisher(JointState, '/hand/joint_states', STATE)
    status.publish(SessionStatus(run_directory=str(tmp_path), session_id='s'))
    recorder = graph.add(StreamRecorder, topics=TOPICS)
    monkeypatch.setattr(recorder, 'get_logger', lambda: SimpleNamespace(error=said.append))
    graph.until(lambda: joints.get_subscription_count() == 1)
    large = JointState(position=[0.0] * 30_000)  # the library writes after each megabyte
    for _ in range(2 if at_the_end else 8):
        before = recorder.message_count
        joints.publish(large)
        graph.until(lambda before=before: recorder.message_count > before or said)
    assert bool(said) is not at_the_end
    recorder.close()
    (sentence,) = said
    assert sentence.startswith(f'The streams are not recorded further in {tmp_path}/streams/0000:')
    assert 'make room' in sentence


@pytest.mark.parametrize(
    ('topic', 'message'),
    [
        ('/a std_msgs/msg/Header', 'must be a topic, a type and one of'),
        ('/a std_msgs/msg/Header often', 'must be a topic, a type and one of'),
        ('/a std_msgs/msg/Nothing state', 'cannot record /a'),
    ],
)
def test_a_wrong_topic_is_refused(graph, topic: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        graph.add(StreamRecorder, topics=[topic])
