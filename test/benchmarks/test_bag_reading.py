# SPDX-License-Identifier: Apache-2.0
"""The passes that are compared find the same episodes; speed itself is not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('deft_msgs.msg')
import bag_reading

from deft_bag.reader import BagReader
from deft_core.errors import RecordingError


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('synthetic') / 'bag'
    bag_reading.write_synthetic_bag(folder, 2)
    return folder


def test_the_synthetic_bag_is_like_a_recorded_one(bag: Path) -> None:
    episodes = list(BagReader(bag).episodes())
    assert [episode.first_image.shape for episode in episodes] == [(480, 640, 3)] * 2


def test_every_pass_finds_every_episode(bag: Path) -> None:
    assert {read(bag) for read in bag_reading.PASSES.values()} == {2}
    found = bag_reading.measure(bag, 1)
    assert found['episodes'] == 2
    assert found['ratio_to_plain_pass'] > 0.0
    assert [row['pass'] for row in found['passes']] == list(bag_reading.PASSES)


def test_passes_that_disagree_are_refused(bag: Path, monkeypatch) -> None:
    monkeypatch.setitem(bag_reading.PASSES, 'rosbags', lambda _: 0)
    with pytest.raises(RecordingError, match='do not see the same episodes'):
        bag_reading.measure(bag, 1)
