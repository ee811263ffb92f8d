# SPDX-License-Identifier: Apache-2.0
"""A bag is played into the graph, and a policy is trained from what was heard."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy  # noqa: E402
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from deft_bag.nodes.bag_player import BagPlayer  # noqa: E402
from deft_bag.nodes.stream_recorder import quality_of_service  # noqa: E402
from deft_bag.reader import EPISODE_TOPIC  # noqa: E402
from deft_cem.commands.train import add_arguments, main  # noqa: E402
from deft_cem.nodes.replay_trainer import ReplayTrainer  # noqa: E402
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE  # noqa: E402
from deft_core.episode import Phase  # noqa: E402
from deft_core.errors import ConfigurationError, RecordingError  # noqa: E402
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished  # noqa: E402

TIMEOUT = 60.0  # [s]
FAST = 1e5  # the recorded minutes in milliseconds


class Graph:
    """Nodes of one test in one executor."""

    def __init__(self, context, folder: Path) -> None:
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes: list[Node] = []
        self.settings = folder / 'learning.yaml'
        self.settings.write_text(
            'elites: 5\npolicy: {method: residual_vae, gate: false, vae: {steps: 10}}\n'
        )
        self.output = folder / 'replayed'

    def add(self, kind, **values) -> Node:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = kind(context=self.context, parameter_overrides=overrides)
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def trainer(self) -> Node:
        return self.add(ReplayTrainer, output=str(self.output), settings=str(self.settings))

    def play(self, bag: Path, **values) -> int:
        """Play to the end; the exit code of the player."""
        player = self.add(BagPlayer, bag=str(bag), **{'rate': FAST, 'delay': 0.2, **values})
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            try:
                self.executor.spin_once(timeout_sec=0.1)
            except NodeFinished as finished:
                self.executor.remove_node(player)
                return finished.exit_code
        pytest.fail('the player did not come to its end')

    def until(self, condition) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'nothing happened in time'
            self.executor.spin_once(timeout_sec=0.1)

    def policy(self) -> tuple[bytes, bytes]:
        return tuple((self.output / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE))


@pytest.fixture
def graph(tmp_path: Path):
    context = rclpy.Context()
    # Test runs beside each other must not hear each other.
    rclpy.init(context=context)
    graph = Graph(context, tmp_path)
    yield graph
    for node in graph.nodes:
        node.destroy_node()
    graph.executor.shutdown()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def runs(records, tmp_path: Path) -> list[Path]:
    """Two runs of eight practice episodes and a trial."""
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path / f'run{seed}')
        episodes = [records.make_episode(i, seed=seed, reward=i / 9) for i in range(8)]
        episodes.append(records.make_episode(8, seed=seed, phase=Phase.EVALUATE_POLICY))
        records.write_bag(folders[-1] / 'bag', episodes, f'session-{seed}')
    return folders


def offline(graph: Graph, runs: list[Path], output: Path) -> tuple[bytes, bytes]:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [*map(str, runs), '--output', str(output), '--settings', str(graph.settings)]
    assert main(parser.parse_args(words)) == 0
    return tuple((output / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE))


def test_a_replay_gives_the_files_that_the_bag_gives(graph, runs, tmp_path, capsys) -> None:
    graph.trainer()
    assert graph.play(runs[0], train=True) == EXIT_OK
    output = capsys.readouterr().out
    assert 'played 9 messages' in output
    assert 'trained on 5 elites of 8 episodes from 1 session(s)' in output
    assert graph.policy() == offline(graph, [runs[0]], tmp_path / 'one')
    # The second bag joins the first; that the first is played again changes nothing.
    assert graph.play(runs[0]) == EXIT_OK
    assert graph.play(runs[1], train=True) == EXIT_OK
    assert 'of 16 episodes from 2 session(s)' in capsys.readouterr().out
    joined = offline(graph, runs, tmp_path / 'both')
    assert graph.policy() == joined
    assert joined != offline(graph, [runs[0]], tmp_path / 'one')


def test_training_is_refused_in_one_sentence(graph, records, runs, tmp_path, capsys) -> None:
    graph.trainer()
    client = graph.nodes[0].create_client(Trigger, '/replay_trainer/train')
    graph.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    graph.until(future.done)
    assert not future.result().success
    assert 'holds 0 rewarded practice episodes' in future.result().message
    odd = [records.make_episode(i, seed=5, task='pour_cup') for i in range(3)]
    records.write_bag(tmp_path / 'odd', odd)
    assert graph.play(runs[0]) == EXIT_OK
    assert graph.play(tmp_path / 'odd', train=True) == EXIT_FAILURE
    said = capsys.readouterr().err
    assert 'mixes tasks with session session-0: test-5-000 (pour_cup)' in said
    assert list(graph.output.iterdir()) == []


def test_topics_come_with_their_types_and_quality_of_service(graph, records, tmp_path) -> None:
    from rclpy.serialization import serialize_message

    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = [
            bag.add_connection(
                name,
                'std_msgs/msg/Header',
                typestore=records.typestore,
                offered_qos_profiles=[quality_of_service(latched=name == '/latched')],
            )
            for name in ('/latched', '/plain')
        ]
        for index in range(30):
            bag.write(topics[1], index, serialize_message(Header(frame_id=f'p{index}')))
        bag.write(topics[0], 30, serialize_message(Header(frame_id='l')))
    listener = graph.add(lambda **options: Node('listener', **options))
    heard: list[str] = []
    for topic in ('/plain', '/latched'):
        listener.create_subscription(Header, topic, lambda m: heard.append(m.frame_id), 50)
    player = graph.add(BagPlayer, bag=str(tmp_path / 'bag'), rate=FAST, delay=600.0)
    graph.until(lambda: listener.get_publishers_info_by_topic('/plain'))
    found = {
        topic: listener.get_publishers_info_by_topic(topic)[0].qos_profile
        for topic in ('/latched', '/plain')
    }
    assert found['/latched'].durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert found['/plain'].durability is DurabilityPolicy.VOLATILE
    assert found['/plain'].reliability is ReliabilityPolicy.RELIABLE
    graph.executor.remove_node(player)
    player.destroy_node()
    graph.nodes.remove(player)
    assert graph.play(tmp_path / 'bag', delay=1.0) == EXIT_OK
    graph.until(lambda: len(heard) == 31)
    assert [name for name in heard if name != 'l'] == [f'p{index}' for index in range(30)]


def test_a_single_topic_can_be_chosen(graph, runs, capsys) -> None:
    with pytest.raises(ConfigurationError, match='holds /session/episode'):
        graph.play(runs[0], topics=['/other'])
    assert graph.play(runs[0], topics=[EPISODE_TOPIC]) == EXIT_OK
    assert 'played 9 messages' in capsys.readouterr().out


def test_a_trainer_that_is_not_there_is_named(graph, runs, capsys) -> None:
    assert graph.play(runs[0], train=True, train_timeout=1.0) == EXIT_FAILURE
    assert 'start the node replay_trainer' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('kind', 'values', 'error', 'message'),
    [
        (BagPlayer, {}, ConfigurationError, 'bag is empty'),
        (BagPlayer, {'bag': '/nowhere'}, RecordingError, 'no bag'),
        (BagPlayer, {'bag': 'x', 'rate': 0.0}, ConfigurationError, 'rate'),
        (ReplayTrainer, {}, ConfigurationError, 'output is empty'),
        (ReplayTrainer, {'output': 'x', 'settings': '/nowhere'}, ConfigurationError, 'nowhere'),
        (ReplayTrainer, {'output': 'x', 'seed': -1}, ConfigurationError, 'seed'),
    ],
)
def test_wrong_parameters_are_refused(graph, kind, values, error, message) -> None:
    with pytest.raises(error, match=message):
        graph.add(kind, **values)
