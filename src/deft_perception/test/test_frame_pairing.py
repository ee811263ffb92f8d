# SPDX-License-Identifier: Apache-2.0
"""Pairs by stamp, and the signs of a dead camera."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import StaleDataError
from deft_perception.camera.frame_pairing import FramePairing


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def feed(pairing, stamp, signature=None):
    pairing.add_color(stamp, f'color {stamp}')
    return pairing.add_depth(stamp, f'depth {stamp}', stamp if signature is None else signature)


@pytest.mark.parametrize('color_first', [True, False])
def test_equal_stamps_make_a_pair_in_either_order(clock, color_first):
    pairing = FramePairing(1.0, 5.0, clock)
    adds = [lambda: pairing.add_color(7, 'c'), lambda: pairing.add_depth(7, 'd', 1)]
    first, second = adds if color_first else adds[::-1]
    assert first() is None
    pair = second()
    assert (pair.stamp_ns, pair.color, pair.depth, pair.received) == (7, 'c', 'd', 100.0)
    assert pairing.latest() is pair
    assert pairing.newest is pair


@given(st.permutations([(kind, stamp) for kind in 'cd' for stamp in range(1, 5)]))
def test_pairs_only_ever_hold_equal_stamps_and_never_go_back(events):
    pairing = FramePairing(1.0, 5.0, lambda: 0.0)
    stamps = []
    for kind, stamp in events:
        add = pairing.add_color if kind == 'c' else lambda s, image: pairing.add_depth(s, image, 1)
        pair = add(stamp, stamp)
        if pair is not None:
            assert pair.color == pair.depth == pair.stamp_ns
            stamps.append(pair.stamp_ns)
    assert stamps == sorted(set(stamps))
    assert stamps


def test_images_without_partner_are_dropped(clock):
    pairing = FramePairing(1.0, 5.0, clock)
    for stamp in range(1000):
        pairing.add_color(stamp, 'c')
    assert pairing.add_depth(0, 'd', 1) is None
    with pytest.raises(StaleDataError, match='align_depth'):
        pairing.latest()


def test_a_camera_that_stops_is_stale_on_receive_time(clock):
    pairing = FramePairing(1.0, 5.0, clock)
    feed(pairing, 10**18)  # the stamp is of another clock and tells nothing
    clock.now += 1.0
    assert pairing.latest().stamp_ns == 10**18
    clock.now += 0.1
    with pytest.raises(StaleDataError, match=r'1\.10 s ago'):
        pairing.latest()


def test_a_frame_sent_again_and_again_grows_stale(clock):
    pairing = FramePairing(1.0, 0.0, clock)
    for _ in range(20):
        feed(pairing, 5)
        clock.now += 0.1
    with pytest.raises(StaleDataError, match='ago'):
        pairing.latest()


def test_identical_images_with_new_stamps_mean_a_frozen_camera(clock):
    pairing = FramePairing(1.0, 0.5, clock)
    feed(pairing, 0, signature=42)
    for stamp in range(1, 6):
        clock.now += 0.1
        feed(pairing, stamp, signature=42)
    assert pairing.latest().stamp_ns == 5
    clock.now += 0.1
    feed(pairing, 6, signature=42)
    with pytest.raises(StaleDataError, match='frozen'):
        pairing.latest()
    feed(pairing, 7, signature=43)
    assert pairing.latest().stamp_ns == 7


def test_a_clock_that_starts_again_is_followed(clock):
    pairing = FramePairing(1.0, 5.0, clock)
    feed(pairing, 10**10)
    feed(pairing, 5)
    assert pairing.latest().stamp_ns == 5


def test_what_is_missing_is_said(clock):
    pairing = FramePairing(1.0, 5.0, clock)
    with pytest.raises(StaleDataError, match='No camera image'):
        pairing.latest()
    pairing.add_depth(1, 'd', 1)
    with pytest.raises(StaleDataError, match='no colour'):
        pairing.latest()
    pairing.add_color(2, 'c')
    with pytest.raises(StaleDataError, match='different stamps'):
        pairing.latest()
