# SPDX-License-Identifier: Apache-2.0
"""Bags: round trip, agreement with rosbags, kills, damage, foreign and hostile content."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import IndexType, Writer
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter

from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE, BagReader
from deft_bag.writer import METADATA_FILE, EpisodeBag
from deft_core.errors import RecordingError

SLOW_FIXTURES = [HealthCheck.function_scoped_fixture]


def cdr_of(records, index: int, /, **changes) -> bytes:
    record = records.record_of(records.make_episode(index))
    for name, value in changes.items():
        setattr(record, name, value)
    return records.cdr(record)


@pytest.fixture(scope='module')
def whole_file(records, tmp_path_factory) -> Path:
    """A closed file with one episode."""
    bag = EpisodeBag(tmp_path_factory.mktemp('whole') / 'bag')
    return bag.write_episode(0, cdr_of(records, 0), 0)


def test_episodes_come_back_as_they_went_in(records, tmp_path: Path) -> None:
    written = [records.make_episode(i, reward=None if i == 2 else i / 4) for i in range(4)]
    records.write_bag(tmp_path / 'bag', written)
    reader = BagReader(tmp_path / 'bag')
    assert reader.damaged == []
    for left, right in zip(reader.episodes(), written, strict=True):
        for name in ('episode_id', 'index', 'phase', 'object_name', 'scene_seed', 'outcome'):
            assert getattr(left, name) == getattr(right, name), name
        assert (left.reward, left.success) == (right.reward, right.success)
        assert left.started == pytest.approx(right.started, abs=1e-6)
        for get in (
            lambda e: e.prior.grasp.to_vector(),
            lambda e: e.residual.to_vector(),
            lambda e: e.executed.to_vector(),
            lambda e: e.distribution_std,
            lambda e: e.first_image,
            lambda e: e.last_image,
        ):
            np.testing.assert_array_equal(get(left), get(right))


def test_rosbags_reads_the_folder_after_every_episode(records, tmp_path: Path) -> None:
    bag = EpisodeBag(tmp_path / 'bag')
    for index in range(3):
        bag.write_episode(index, cdr_of(records, index), index)
        with AnyReader([tmp_path / 'bag']) as reader:
            assert reader.topics[EPISODE_TOPIC].msgtype == EPISODE_TYPE
            assert reader.connections[0].ext.offered_qos_profiles[0].depth == 100
            messages = [
                reader.deserialize(data, connection.msgtype).index
                for connection, _, data in reader.messages(reader.connections)
            ]
        assert messages == list(range(index + 1))


def test_a_bag_goes_on_after_a_kill_and_a_file_can_be_replaced(records, tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    bag = EpisodeBag(folder)
    for index in range(2):
        bag.write_episode(index, cdr_of(records, index), index)
    (folder / 'episode_0002.mcap.part').write_bytes(b'killed while it was written')
    bag = EpisodeBag(folder, [0])
    assert [e.index for e in BagReader(folder).episodes()] == [0]  # nobody was told of the other
    bag.write_episode(1, cdr_of(records, 1, reward=0.25), 5)
    bag.write_episode(10, cdr_of(records, 2), 6, publish_time=9)
    assert [e.reward for e in BagReader(folder).episodes()] == [0.5, 0.25, 0.5]
    information = yaml.safe_load((folder / METADATA_FILE).read_text())
    information = information['rosbag2_bagfile_information']
    names = ['episode_0000.mcap', 'episode_0001.mcap', 'episode_0010.mcap']
    assert information['relative_file_paths'] == names
    assert information['message_count'] == 3
    assert information['duration']['nanoseconds'] == 6
    with (folder / names[2]).open('rb') as file:
        ((_, _, message),) = make_reader(file).iter_messages()
    assert (message.log_time, message.publish_time) == (6, 9)


def test_a_full_disk_is_told_in_a_sentence(records, tmp_path: Path, monkeypatch) -> None:
    bag = EpisodeBag(tmp_path / 'bag')
    bag.write_episode(0, cdr_of(records, 0), 0)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(RecordingError, match=r'episode_0001.mcap: No space left.*disk full'):
        bag.write_episode(1, cdr_of(records, 1), 1)
    monkeypatch.undo()
    assert [e.index for e in BagReader(tmp_path / 'bag').episodes()] == [0]
    bag.write_episode(1, cdr_of(records, 1), 1)
    assert [e.index for e in BagReader(tmp_path / 'bag').episodes()] == [0, 1]


def foreign_bag(records, folder: Path, type_hash: str = '') -> tuple[Path, list[int]]:
    """What another recorder makes: several episodes in a file, and its size after each chunk."""
    folder.mkdir(parents=True)
    path, sizes = folder / 'rosbag2_0.mcap', []
    types = message_typestore()
    with path.open('wb') as stream:
        writer = Writer(stream, chunk_size=10_000)
        writer.start(profile='ros2')
        text, _ = types.generate_msgdef(EPISODE_TYPE, ros_version=2)
        schema = writer.register_schema(EPISODE_TYPE, 'ros2msg', text.encode())
        metadata = {'topic_type_hash': type_hash}
        channel = writer.register_channel(EPISODE_TOPIC, 'cdr', schema, metadata)
        for index in range(4):
            writer.add_message(channel, index, cdr_of(records, index), index)
            sizes.append(stream.tell())
        writer.finish()
    return path, sizes


@pytest.fixture(scope='module')
def foreign(records, tmp_path_factory) -> tuple[bytes, list[int]]:
    path, sizes = foreign_bag(records, tmp_path_factory.mktemp('foreign') / 'bag')
    return path.read_bytes(), sizes


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW_FIXTURES)
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_foreign_recorder_killed_at_any_byte_keeps_what_is_whole(
    foreign, tmp_path: Path, share: float
) -> None:
    data, sizes = foreign
    cut = 8 + int(share * (len(data) - 8))
    path = tmp_path / 'rosbag2_0.mcap'
    path.write_bytes(data[:cut])
    reader = BagReader(path)
    episodes = list(reader.episodes())
    assert len(episodes) >= sum(size <= cut for size in sizes)
    assert [episode.index for episode in episodes] == list(range(len(episodes)))
    assert len(reader.damaged) == 1


def test_bags_of_rosbags_and_of_another_name_are_read(records, tmp_path: Path) -> None:
    with RosbagsWriter(tmp_path / 'foreign', version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection(EPISODE_TOPIC, EPISODE_TYPE, typestore=records.typestore)
        for index in range(3):
            bag.write(connection, index, cdr_of(records, index))
    assert [e.index for e in BagReader(tmp_path / 'foreign').episodes()] == [0, 1, 2]
    assert [t.name for t in BagReader(tmp_path / 'foreign').topics()] == [EPISODE_TOPIC]


def test_a_damaged_file_is_named_with_the_remedy(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path / 'bag', [records.make_episode(i) for i in range(3)])
    path = tmp_path / 'bag' / 'episode_0001.mcap'
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 3] ^= 0xFF  # inside the compressed chunk
    path.write_bytes(bytes(broken))
    with pytest.raises(RecordingError, match=r'episode_0001.mcap is damaged .*move it away'):
        list(BagReader(tmp_path / 'bag').episodes())
    path.rename(tmp_path / path.name)
    assert [e.index for e in BagReader(tmp_path / 'bag').episodes()] == [0, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_FIXTURES)
@given(place=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(
    whole_file: Path, tmp_path: Path, place: float, bit: int
) -> None:
    data = bytearray(whole_file.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path = tmp_path / 'flipped.mcap'
    path.write_bytes(bytes(data))
    (expected,) = BagReader(whole_file).episodes()
    try:
        episodes = list(BagReader(path).episodes())
    except RecordingError:
        return
    if episodes or not BagReader(path).damaged:
        (episode,) = episodes
        np.testing.assert_array_equal(episode.first_image, expected.first_image)
        assert episode.reward == expected.reward


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_FIXTURES)
@given(data=st.binary(max_size=400), closed=st.booleans())
def test_rubbish_is_refused_or_empty_but_never_crashes(
    tmp_path: Path, data: bytes, closed: bool
) -> None:
    magic = b'\x89MCAP0\r\n'
    path = tmp_path / 'rubbish.mcap'
    path.write_bytes(magic + data + (magic if closed else b''))
    try:
        assert list(BagReader(path).episodes()) == []
    except RecordingError:
        return


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('reward', 1.5),
        ('success', 9),
        ('phase', 77),
        ('outcome', 77),
        ('episode_id', ''),
        ('index', 2**32 - 1),
    ],
)
def test_a_record_out_of_range_is_refused_by_name(
    records, tmp_path: Path, field: str, value: object
) -> None:
    EpisodeBag(tmp_path).write_episode(0, cdr_of(records, 0, **{field: value}), 0)
    with pytest.raises(RecordingError, match='not usable'):
        list(BagReader(tmp_path).episodes())


def test_a_record_that_ends_early_is_refused(records, tmp_path: Path) -> None:
    EpisodeBag(tmp_path).write_episode(0, cdr_of(records, 0)[:100], 0)
    with pytest.raises(RecordingError, match='cannot be decoded'):
        list(BagReader(tmp_path).episodes())


def test_an_image_that_lies_about_its_size_is_refused(records, tmp_path: Path) -> None:
    record = records.record_of(records.make_episode(0))
    record.first_image.height = 8000
    EpisodeBag(tmp_path).write_episode(0, records.cdr(record), 0)
    with pytest.raises(RecordingError, match='8000'):
        list(BagReader(tmp_path).episodes())


def test_joints_are_taken_by_name(records, tmp_path: Path) -> None:
    episode = records.make_episode(0)
    record = records.record_of(episode)
    record.residual.joint_names = list(reversed(record.residual.joint_names))
    record.residual.joint_positions = record.residual.joint_positions[::-1].copy()
    EpisodeBag(tmp_path).write_episode(0, records.cdr(record), 0)
    (read,) = BagReader(tmp_path).episodes()
    np.testing.assert_array_equal(read.residual.to_vector(), episode.residual.to_vector())


def test_the_same_episode_twice_is_refused(records, tmp_path: Path) -> None:
    bag = EpisodeBag(tmp_path)
    for number in range(2):
        bag.write_episode(number, cdr_of(records, 0), 0)
    with pytest.raises(RecordingError, match='twice'):
        list(BagReader(tmp_path).episodes())


def test_records_of_another_version_are_refused(records, tmp_path: Path) -> None:
    path, _ = foreign_bag(records, tmp_path / 'old', type_hash='RIHS01_' + 64 * '0')
    with pytest.raises(RecordingError, match='another definition'):
        list(BagReader(path).episodes())


def test_a_missing_bag_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match='no bag'):
        BagReader(tmp_path)


def test_every_own_message_has_a_definition_and_a_hash(whole_file: Path) -> None:
    store = message_typestore()
    for name in (name for name in store.types if name.startswith('deft_msgs/')):
        assert store.generate_msgdef(name, ros_version=2)[0]
        assert store.hash_rihs01(name).startswith('RIHS01_')
    with whole_file.open('rb') as stream:
        (channel,) = make_reader(stream).get_summary().channels.values()
    assert channel.metadata['topic_type_hash'] == store.hash_rihs01(EPISODE_TYPE)


def test_a_closed_file_without_an_index_is_read_from_front_to_back(
    records, tmp_path: Path
) -> None:
    """As a recorder leaves that was asked to be fast."""
    path = tmp_path / 'fast.mcap'
    types = message_typestore()
    with path.open('wb') as stream:
        writer = Writer(
            stream, use_summary_offsets=False, use_statistics=False, repeat_channels=False,
            repeat_schemas=False, index_types=IndexType.NONE,
        )  # fmt: skip
        writer.start(profile='ros2')
        text, _ = types.generate_msgdef(EPISODE_TYPE, ros_version=2)
        schema = writer.register_schema(EPISODE_TYPE, 'ros2msg', text.encode())
        channel = writer.register_channel(EPISODE_TOPIC, 'cdr', schema)
        writer.add_message(channel, 0, cdr_of(records, 0), 0)
        writer.finish()
    reader = BagReader(path)
    assert [e.index for e in reader.episodes()] == [0]
    assert [t.name for t in reader.topics()] == [EPISODE_TOPIC]
    assert reader.damaged == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda folder: (folder / 'episode_0001.mcap').unlink(), 'names episode_0001.mcap, which'),
        (
            lambda folder: edit(folder, 'message_count: 3', 'message_count: 9'),
            'declares 9 .* hold 3',
        ),
        (lambda folder: edit(folder, 'message_count: 3', 'message_count: all'), 'lists no files'),
        (lambda folder: edit(folder, 'rosbag2_bagfile', '['), 'is not known'),
    ],
)
def test_what_a_folder_lacks_is_said(records, tmp_path: Path, change, message: str) -> None:
    records.write_bag(tmp_path, [records.make_episode(i) for i in range(3)])
    assert BagReader(tmp_path).damaged == []
    change(tmp_path)
    (sentence,) = BagReader(tmp_path).damaged
    assert re.search(message, sentence)
    assert len(list(BagReader(tmp_path).episodes())) >= 2


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / METADATA_FILE
    path.write_text(path.read_text().replace(old, new))


def test_an_episode_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    bag = EpisodeBag(tmp_path / 'bag')
    with pytest.raises(RecordingError, match=r'takes 67 MB.*smaller images'):
        bag.write_episode(0, bytes(64 * 2**20), 0)


def test_pictures_that_nobody_wants_are_empty(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path, [records.make_episode(0)])
    (full,) = BagReader(tmp_path).episodes()
    (bare,) = BagReader(tmp_path).episodes(pictures=('last_image',))
    assert (bare.first_image.size, bare.rollout_video) == (0, ())
    np.testing.assert_array_equal(bare.last_image, full.last_image)


@pytest.mark.parametrize('name', ['', '_0.db3'])
def test_another_storage_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / '_0.db3').write_bytes(b'SQLite format 3')
    with pytest.raises(RecordingError, match=r'_0\.db3 is a bag in sqlite3.*ros2 bag convert'):
        BagReader(tmp_path / name)
