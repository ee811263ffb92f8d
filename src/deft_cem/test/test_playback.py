# SPDX-License-Identifier: Apache-2.0
"""When messages are due, and what a replay accepts."""

from __future__ import annotations

import pytest

from deft_cem.bag_reader import RawMessage
from deft_cem.playback import Playback
from deft_cem.policies.replay import ReplayedEpisodes
from deft_core.errors import InvalidInputError, RecordingError, TrainingError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def messages(*seconds: float) -> list[RawMessage]:
    return [RawMessage('/a', 'T', round(s * 1e9), str(s).encode()) for s in seconds]


def test_spacing_is_that_of_the_recording_over_the_rate() -> None:
    clock = Clock()
    playback = Playback(iter(messages(5.0, 6.0, 6.0, 8.0)), rate=2.0, delay=3.0, clock=clock)
    given = []
    for now in (100.0, 102.99, 103.0, 103.49, 103.5, 104.49, 104.5):
        clock.now = now
        given.append([m.data for m in playback.due(10)])
    assert given == [[], [], [b'5.0'], [], [b'6.0', b'6.0'], [], [b'8.0']]
    assert playback.finished


def test_a_clock_that_begins_anew_does_not_stop_the_replay() -> None:
    clock = Clock()
    playback = Playback(iter(messages(50.0, 51.0, 0.5, 1.5)), rate=1.0, clock=clock)
    clock.now += 2.0
    assert [m.data for m in playback.due(10)] == [b'50.0', b'51.0', b'0.5', b'1.5']


def test_the_caller_may_breathe_between_messages_that_are_all_due() -> None:
    playback = Playback(iter(messages(*[0.0] * 5)), rate=1.0, clock=Clock())
    assert [len(list(playback.due(2))) for _ in range(4)] == [2, 2, 1, 0]


def test_an_empty_bag_is_finished_at_once() -> None:
    assert Playback(iter([]), rate=1.0).finished


@pytest.mark.parametrize(('rate', 'delay'), [(0.0, 0.0), (-1.0, 0.0), (float('nan'), 0.0)])
def test_impossible_rates_are_refused(rate: float, delay: float) -> None:
    with pytest.raises(InvalidInputError, match='rate'):
        Playback(iter([]), rate=rate, delay=delay)
    with pytest.raises(InvalidInputError, match='delay'):
        Playback(iter([]), rate=1.0, delay=-1.0)


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
