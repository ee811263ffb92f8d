# SPDX-License-Identifier: Apache-2.0
"""Where the time of an episode goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_cem.session.episode_timing import (
    EpisodeClock,
    Kind,
    Part,
    Stretch,
    overhead,
    overhead_spread,
    timing_table,
)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(Part)), st.sampled_from(list(Kind)), st.integers(0, 1000)),
        min_size=1,
        max_size=40,
    )
)
def test_the_parts_add_up_to_the_whole(steps) -> None:
    now = 100.0
    clock = EpisodeClock(lambda: now)
    expected = 0.0
    for part, kind, duration in steps:
        clock.switch(part, kind)
        now += duration
        expected += duration if kind is Kind.SOFTWARE else 0.0
    stretches = clock.stop()
    assert sum(stretch.seconds for stretch in stretches) == now - 100.0
    assert overhead(stretches) == expected
    assert len({(s.part, s.kind) for s in stretches}) == len(stretches)


def test_time_before_the_first_switch_belongs_to_nothing() -> None:
    now = 0.0
    clock = EpisodeClock(lambda: now)
    now = 7.0
    clock.switch(Part.RESET, Kind.PERSON)
    now = 8.0
    assert clock.stop() == (Stretch(Part.RESET, Kind.PERSON, 1.0),)


def test_tables_leave_out_what_did_not_happen() -> None:
    quick = [Stretch(Part.OBSERVE, Kind.SOFTWARE, 0.1), Stretch(Part.REWARD, Kind.PERSON, 5.0)]
    slow = [Stretch(Part.OBSERVE, Kind.SOFTWARE, 0.3)]
    table = timing_table([quick, slow])
    assert [(row['part'], row['kind'], row['episodes']) for row in table] == [
        ('observe', 'software', 2),
        ('reward', 'person', 1),
    ]
    assert table[0]['median_s'] == pytest.approx(0.2)
    assert overhead_spread([quick, slow]) == {'episodes': 2, 'median_s': 0.2, 'p95_s': 0.29}
    assert overhead_spread([]) is None
