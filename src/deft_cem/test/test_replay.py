# SPDX-License-Identifier: Apache-2.0
"""What is taken from a bag that is played."""

from __future__ import annotations

import pytest

from deft_cem.policies.replay import ReplayedEpisodes
from deft_core.errors import RecordingError, TrainingError


def hear(heard: ReplayedEpisodes, records, episode, session: str = 'test'):
    record = records.record_of(episode)
    record.session_id = session
    return heard.hear(record, records.cdr(record))


def test_episodes_are_put_in_order_session_by_session(records) -> None:
    heard = ReplayedEpisodes()
    for index in (0, 2, 1):
        hear(heard, records, records.make_episode(index, seed=1), 'b')
        hear(heard, records, records.make_episode(index, seed=0), 'a')
    assert [e.episode_id for e in heard.practice().episodes] == [
        f'test-{seed}-{i:03d}' for seed in (1, 0) for i in range(3)
    ]
    assert (heard.episode_count, heard.session_count) == (6, 2)


def test_a_bag_played_twice_counts_once(records) -> None:
    heard = ReplayedEpisodes()
    for _ in range(2):
        for index in range(3):
            hear(heard, records, records.make_episode(index))
    assert heard.episode_count == 3
    assert len(heard.practice().episodes) == 3


def test_a_missing_episode_is_named(records) -> None:
    heard = ReplayedEpisodes()
    for index in (0, 3):
        hear(heard, records, records.make_episode(index))
    assert heard.gaps().startswith('Not heard: positions 1, 2 of session test; ')
    # The operator may have skipped them: training goes on, as from the bag.
    assert len(heard.practice().episodes) == 2
    for index in (1, 2):
        hear(heard, records, records.make_episode(index))
    assert heard.gaps() == ''
    hear(heard, records, records.make_episode(9, seed=1), 'b')
    assert '0, 1, 2, 3, 4 and 4 more of session b' in heard.gaps()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'reward': 0.9}, 'two different records are named test-0-000'),
        ({'episode_id': 'other'}, 'other and test-0-000 are both episode 0'),
        ({'episode_id': ''}, 'episode_id is empty'),
    ],
)
def test_records_that_cannot_be_are_refused_now_and_at_the_training(
    records, changes, message
) -> None:
    heard = ReplayedEpisodes()
    hear(heard, records, records.make_episode(0))
    with pytest.raises(RecordingError, match=message):
        hear(heard, records, records.make_episode(0, **changes))
    with pytest.raises(RecordingError, match=message):
        heard.practice()


def test_sessions_that_do_not_fit_are_refused_by_name(records) -> None:
    heard = ReplayedEpisodes()
    hear(heard, records, records.make_episode(0), 'a')
    hear(heard, records, records.make_episode(0, seed=1, task='pour_cup'), 'b')
    with pytest.raises(TrainingError, match=r'session b mixes tasks with session a: test-1-000'):
        heard.practice()
