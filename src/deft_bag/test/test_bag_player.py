# SPDX-License-Identifier: Apache-2.0
"""A bag is played whole or refused by name, also one that another recorder made."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import rclpy
from mcap.writer import Writer
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from deft_bag.nodes.bag_player import BagPlayer
from deft_core.errors import ConfigurationError, DeftError, RecordingError
from deft_core.nodes.runner import NodeFinished

FOREIGN = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'bags'
TIMEOUT = 300.0  # [s]; only a hang reaches it
TEXT = b'\0\1\0\0\2\0\0\0a\0'
OFFERED = '- history: keep_last\n  depth: 7\n  reliability: best_effort\n  durability: volatile\n'
# Messages that metadata.yaml declares, or what a refusal names.
BAGS = {
    'cdr_test_mcap': 7,
    'cdr_test_sqlite3': 'sqlite3',
    'no_metadata': 'AddTwoInts_Event',
    'no_metadata/only_topics.mcap': 7,
    'plotjuggler_foxy_v2': 'sqlite3',
    'rewriter_a_mcap': 150,
    'rewriter_b_sqlite3': 'sqlite3',
    'seek_mcap': 5,
    'service_events_mcap': 'BasicTypes_Event.*--topics /test_topic2 /test_topic1',
    'talker_mcap': 20,
    'talker_sqlite3': 'sqlite3',
    'wbag_mcap_5files': 6074,
    'wrong_rmw_mcap': 'wrong_format',
}


@pytest.fixture
def play(capsys):
    """Play a bag; returns what is printed."""
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)

    def run(path: Path, **values) -> str:
        given = {'bag': str(path), 'rate': 1e6, 'delay': 0.0, **values}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        player = BagPlayer(context=context, parameter_overrides=overrides)
        executor.add_node(player)
        deadline = time.monotonic() + TIMEOUT
        try:
            while time.monotonic() < deadline:
                executor.spin_once(timeout_sec=0.1)
        except NodeFinished:
            return capsys.readouterr().out
        finally:
            player.destroy_node()
        raise AssertionError('it was not played in time')

    yield run
    executor.shutdown()
    rclpy.try_shutdown(context=context)


def write(path: Path, topic: str, kind: str, encoding: str = 'cdr', offered: str = '') -> Path:
    with path.open('wb') as stream:
        writer = Writer(stream)
        writer.start(profile='ros2')
        schema = writer.register_schema(kind, 'ros2msg', b'')
        channel = writer.register_channel(
            topic, encoding, schema, {'offered_qos_profiles': offered}
        )
        for stamp in (0, 1795834592 * 10**9):
            writer.add_message(channel, stamp, TEXT, stamp)
        writer.finish()
    return path


@pytest.mark.parametrize('name', BAGS)
@pytest.mark.skipif(not FOREIGN.is_dir(), reason='the foreign bags are not there')
def test_a_foreign_bag_is_played_whole_or_refused_by_name(play, name: str) -> None:
    expected = BAGS[name]
    if isinstance(expected, int):
        assert play(FOREIGN / name) == f'played {expected} messages\n'
    else:
        with pytest.raises((ConfigurationError, RecordingError), match=expected):
            play(FOREIGN / name)


@pytest.mark.parametrize(
    'offered', ['', OFFERED, '- {history: 2, depth: 0, reliability: 1, durability: 1}']
)
def test_every_profile_and_a_clock_that_began_later(play, tmp_path: Path, offered: str) -> None:
    path = write(tmp_path / 'a.mcap', '/x', 'std_msgs/msg/String', offered=offered)
    assert play(path, rate=1.0) == 'played 2 messages\n'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('/1x', 'std_msgs/msg/String'), '/1x: Invalid topic name'),
        (('/x', 'std_msgs/msg/Nothing'), "/x: no message type 'std_msgs/msg/Nothing'"),
        (('/x', 'std_msgs/msg/String', 'json'), "/x: its messages are 'json', not cdr"),
        (('/x', 'std_msgs/msg/String', 'cdr', '[' * 20_000), '/x: its quality of service is'),
        (('/x', 'std_msgs/msg/String', 'cdr', 'abc'), "its quality of service is 'abc'"),
    ],
)
def test_what_cannot_be_played_is_named(play, tmp_path: Path, arguments, message: str) -> None:
    path = write(tmp_path / 'a.mcap', *arguments)
    with pytest.raises(DeftError, match=f'a.mcap cannot be played whole .*{message}'):
        play(path)
