# SPDX-License-Identifier: Apache-2.0
"""Bags: round trip, agreement with rosbags, kills at any byte, damage, hostile content."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from deft_bag.message_types import message_typestore
from deft_bag.parts import bag_parts, part_file
from deft_bag.reader import EPISODE_TOPIC, EPISODE_TYPE, BagReader
from deft_bag.session_bag import SessionBag
from deft_bag.writer import METADATA_FILE, BagWriter
from deft_core.errors import ConfigurationError, RecordingError


def assert_equal_episodes(left, right) -> None:
    for name in (
        'episode_id',
        'index',
        'phase',
        'task',
        'object_name',
        'scene_seed',
        'outcome',
        'reward',
        'reward_source',
        'success',
        'film',
        'sample_seed',
        'calibration_id',
    ):
        if name == 'film':
            assert [f.jpeg for f in left.film] == [f.jpeg for f in right.film]
        else:
            assert getattr(left, name) == getattr(right, name), name
    assert left.started == pytest.approx(right.started, abs=1e-6)
    assert left.ended == pytest.approx(right.ended, abs=1e-6)
    for get in (
        lambda e: e.prior.grasp.to_vector(),
        lambda e: e.prior.contact_point,
        lambda e: e.residual.to_vector(),
        lambda e: e.executed.to_vector(),
        lambda e: e.distribution_mean,
        lambda e: e.distribution_std,
        lambda e: e.first_image,
        lambda e: e.last_image,
    ):
        np.testing.assert_array_equal(get(left), get(right))


def test_episodes_come_back_as_they_went_in(records, tmp_path: Path) -> None:
    written = [records.make_episode(i, reward=None if i == 2 else i / 4) for i in range(4)]
    records.write_bag(tmp_path / 'bag', written)
    reader = BagReader(tmp_path / 'bag')
    read = list(reader.episodes())
    assert len(read) == 4
    assert not reader.truncated
    for left, right in zip(read, written, strict=True):
        assert_equal_episodes(left, right)


def test_rosbags_reads_our_folder_like_any_rosbag2(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path / 'bag', [records.make_episode(i) for i in range(3)])
    with AnyReader([tmp_path / 'bag']) as reader:
        assert reader.message_count == 3
        assert reader.topics[EPISODE_TOPIC].msgtype == EPISODE_TYPE
        assert reader.connections[0].ext.offered_qos_profiles[0].depth == 100
        messages = [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages(reader.connections)
        ]
        assert [message.index for message in messages] == [0, 1, 2]


def test_flushed_episodes_are_on_disk_while_recording(records, tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'bag', records.typestore)
    writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
    for index in range(3):
        episode = records.make_episode(index)
        writer.write(EPISODE_TOPIC, records.cdr(records.record_of(episode)), index)
        writer.flush()
        reader = BagReader(tmp_path / 'bag')
        assert len(list(reader.episodes())) == index + 1
        assert reader.truncated  # as after a kill: there is no index yet
    writer.close()


@pytest.fixture(scope='module')
def whole_bag(records, tmp_path_factory) -> tuple[Path, list[int]]:
    """A finished bag file and its sizes right after each of its four flushes."""
    folder = tmp_path_factory.mktemp('whole') / 'bag'
    sizes = []
    with BagWriter(folder, records.typestore) as writer:
        writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
        for index in range(4):
            episode = records.make_episode(index)
            writer.write(EPISODE_TOPIC, records.cdr(records.record_of(episode)), index)
            writer.flush()
            sizes.append(writer.size)
    return folder / part_file(0), sizes


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_kill_at_any_byte_keeps_every_flushed_episode(
    whole_bag, tmp_path: Path, share: float
) -> None:
    path_of_whole, sizes = whole_bag
    data = path_of_whole.read_bytes()
    cut = 8 + int(share * (len(data) - 8))
    path = tmp_path / 'cut.mcap'
    path.write_bytes(data[:cut])
    reader = BagReader(path)
    episodes = list(reader.episodes())
    assert len(episodes) >= sum(size <= cut for size in sizes)
    assert [episode.index for episode in episodes] == list(range(len(episodes)))
    assert reader.truncated


def test_damage_in_the_middle_is_an_error_not_a_short_bag(whole_bag, tmp_path: Path) -> None:
    path_of_whole, sizes = whole_bag
    data = path_of_whole.read_bytes()
    broken = bytearray(data)
    broken[sizes[0] + 3000] ^= 0xFF  # inside the compressed second episode
    path = tmp_path / 'broken.mcap'
    path.write_bytes(bytes(broken))
    with pytest.raises(RecordingError, match='damaged'):
        list(BagReader(path).episodes())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=400))
def test_rubbish_is_refused_or_empty_but_never_crashes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / 'rubbish.mcap'
    path.write_bytes(b'\x89MCAP0\r\n' + data)
    with contextlib.suppress(RecordingError):
        assert list(BagReader(path).episodes()) == []


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('reward', 1.5),
        ('success', 9),
        ('phase', 77),
        ('outcome', 77),
        ('episode_id', ''),
    ],
)
def test_a_record_out_of_range_is_refused_by_name(
    records, tmp_path: Path, field: str, value: object
) -> None:
    record = records.record_of(records.make_episode(0))
    setattr(record, field, value)
    write_records(records, tmp_path / 'bag', [record])
    with pytest.raises(RecordingError, match='not usable'):
        list(BagReader(tmp_path / 'bag').episodes())


def write_records(records, folder: Path, messages) -> None:
    with BagWriter(folder, records.typestore) as writer:
        writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
        for message in messages:
            writer.write(EPISODE_TOPIC, records.cdr(message), 0)


def test_a_record_that_ends_early_is_refused(records, tmp_path: Path) -> None:
    data = records.cdr(records.record_of(records.make_episode(0)))
    with BagWriter(tmp_path / 'bag', records.typestore) as writer:
        writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
        writer.write(EPISODE_TOPIC, data[:100], 0)
    with pytest.raises(RecordingError, match='cannot be decoded'):
        list(BagReader(tmp_path / 'bag').episodes())


def test_an_image_that_lies_about_its_size_is_refused(records, tmp_path: Path) -> None:
    record = records.record_of(records.make_episode(0))
    record.first_image.height = 8000
    write_records(records, tmp_path / 'bag', [record])
    with pytest.raises(RecordingError, match='8000'):
        list(BagReader(tmp_path / 'bag').episodes())


def test_joints_are_taken_by_name(records, tmp_path: Path) -> None:
    episode = records.make_episode(0)
    record = records.record_of(episode)
    record.residual.joint_names = list(reversed(record.residual.joint_names))
    record.residual.joint_positions = record.residual.joint_positions[::-1].copy()
    write_records(records, tmp_path / 'bag', [record])
    (read,) = BagReader(tmp_path / 'bag').episodes()
    np.testing.assert_array_equal(read.residual.to_vector(), episode.residual.to_vector())


def test_the_same_episode_twice_is_refused(records, tmp_path: Path) -> None:
    record = records.record_of(records.make_episode(0))
    write_records(records, tmp_path / 'bag', [record, record])
    with pytest.raises(RecordingError, match='twice'):
        list(BagReader(tmp_path / 'bag').episodes())


def test_a_further_file_goes_on_after_a_kill(records, tmp_path: Path) -> None:
    """Two interruptions: cut off in the third episode, then one without a single message."""
    folder = tmp_path / 'bag'
    bag = SessionBag(folder, records.typestore)
    bag.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
    data = [records.cdr(records.record_of(records.make_episode(i))) for i in range(4)]
    for index in range(3):
        assert bag.record_episode(data[index], index) == f'test-0-{index:03d}'
    whole = (folder / part_file(0)).read_bytes()
    (folder / part_file(0)).write_bytes(whole[:-2000])
    (folder / part_file(1)).touch()  # killed before the first byte
    kept = (folder / part_file(0)).read_bytes()

    further = SessionBag(folder, records.typestore)
    assert further.episode_ids == ('test-0-000', 'test-0-001')
    further.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
    for index in (1, 2, 2, 3):  # sent again, or twice
        further.record_episode(data[index], 7 + index)
    further.close()
    assert (folder / part_file(0)).read_bytes() == kept
    assert bag_parts(tmp_path) == [folder / part_file(0), folder / part_file(2)]
    reader = BagReader(folder)
    assert [episode.index for episode in reader.episodes()] == [0, 1, 2, 3]
    assert reader.truncated
    information = yaml.safe_load((folder / METADATA_FILE).read_text())
    information = information['rosbag2_bagfile_information']
    assert information['relative_file_paths'] == ['bag_0.mcap', 'bag_2.mcap']
    assert information['message_count'] == 4 == further.message_count
    assert [part['message_count'] for part in information['files']] == [2, 2]


def test_a_damaged_earlier_file_is_refused_and_kept(whole_bag, records, tmp_path: Path) -> None:
    path_of_whole, sizes = whole_bag
    broken = bytearray(path_of_whole.read_bytes())
    broken[sizes[0] + 3000] ^= 0xFF
    (tmp_path / part_file(0)).write_bytes(bytes(broken))
    with pytest.raises(RecordingError, match='damaged'):
        SessionBag(tmp_path, records.typestore)
    assert [path.name for path in tmp_path.iterdir()] == [part_file(0)]


def test_an_occupied_folder_is_refused(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path / 'bag', [])
    with pytest.raises(RecordingError, match='exists already'):
        BagWriter(tmp_path / 'bag', records.typestore)


def test_unknown_types_and_topics_are_refused(records, tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', records.typestore) as writer:
        with pytest.raises(ConfigurationError, match='unknown message type'):
            writer.add_topic('/a', 'deft_msgs/msg/Nothing', latched=False)
        with pytest.raises(ConfigurationError, match='not declared'):
            writer.write('/b', b'', 0)
        writer.add_topic('/c', 'std_msgs/msg/Header', latched=False)
        with pytest.raises(ConfigurationError, match='already'):
            writer.add_topic('/c', 'std_msgs/msg/Header', latched=False)


def test_missing_bag_and_unread_bag_are_said(tmp_path: Path, records) -> None:
    with pytest.raises(RecordingError, match='no bag'):
        BagReader(tmp_path)
    records.write_bag(tmp_path / 'bag', [])
    with pytest.raises(RecordingError, match='not been read'):
        _ = BagReader(tmp_path / 'bag').truncated


def test_every_own_message_has_a_definition_and_a_hash() -> None:
    store = message_typestore()
    own = [name for name in store.types if name.startswith('deft_msgs/')]
    assert EPISODE_TYPE in own
    for name in own:
        text, _ = store.generate_msgdef(name, ros_version=2)
        assert text
        assert store.hash_rihs01(name).startswith('RIHS01_')
