# SPDX-License-Identifier: Apache-2.0
"""When the messages of a bag are due."""

from __future__ import annotations

import pytest

from deft_bag.playback import Playback
from deft_bag.reader import RawMessage
from deft_core.errors import InvalidInputError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def messages(*seconds: float) -> list[RawMessage]:
    return [RawMessage('/a', round(s * 1e9), str(s).encode()) for s in seconds]


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


def test_a_clock_that_ran_only_later_is_not_waited_for() -> None:
    clock = Clock()
    playback = Playback(iter(messages(0.0, 1795834592.0, 1795834593.0)), rate=1.0, clock=clock)
    assert [m.data for m in playback.due(10)] == [b'0.0', b'1795834592.0']
    clock.now += 1.0
    assert [m.data for m in playback.due(10)] == [b'1795834593.0']


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
