# SPDX-License-Identifier: Apache-2.0
"""Records that wait for their score."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_cem.bag_reader import EPISODE_TOPIC, EPISODE_TYPE, BagReader
from deft_cem.episode_record import complete_record
from deft_cem.session_bag import SessionBag
from deft_cem.stored_episode import StoredEpisode
from deft_core.episode import Phase
from deft_core.errors import RecordingError


def stored(name: str, **changes) -> StoredEpisode:
    return StoredEpisode(0, name, 0, Phase.WARM_UP, 'red_mug', 7, 0, (0.0,), (0.0,), **changes)


def test_the_score_is_all_that_is_put_in(records, tmp_path: Path) -> None:
    episode = records.make_episode(3, reward=None, success=None)
    data = records.cdr(records.record_of(episode))
    whole = complete_record(
        data,
        stored(episode.episode_id, reward=0.75, reward_source='operator', success=True),
        records.typestore,
    )
    bag = SessionBag(tmp_path / 'bag', records.typestore)
    bag.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
    assert bag.record_episode(whole, 0) == episode.episode_id
    bag.close()
    (read,) = BagReader(tmp_path / 'bag').episodes()
    assert (read.reward, read.reward_source, read.success) == (0.75, 'operator', True)
    rated = records.make_episode(3, reward=0.75, success=True, reward_source='operator')
    assert whole == records.cdr(records.record_of(rated))


def test_records_of_other_episodes_and_rubbish_are_refused(records) -> None:
    data = records.cdr(records.record_of(records.make_episode(3)))
    with pytest.raises(RecordingError, match='test-0-003'):
        complete_record(data, stored('test-0-004', reward=0.5), records.typestore)
    with pytest.raises(RecordingError, match='cannot be decoded'):
        complete_record(data[:100], stored('test-0-003', reward=0.5), records.typestore)
