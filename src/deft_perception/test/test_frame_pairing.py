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


def play(pairing, clock, frames, color=lambda n: n, depth=lambda n: n, late=0):
    """Frames at 10 Hz with these signatures; depth stamps are off by `late` ns."""
    for n in range(frames):
        clock.now += 0.1
        if color is not None:
            pairing.add_color(100 * n, 'c', color(n))
        if depth is not None:
            pairing.add_depth(100 * n + late, 'd', depth(n))


@pytest.mark.parametrize('frozen', ['color', 'depth'])
def test_one_picture_with_new_stamps_means_a_frozen_camera(clock, frozen):
    pairing = FramePairing(1.0, 0.5, clock)
    play(pairing, clock, 6, **{frozen: lambda n: 42})
    assert pairing.latest().stamp_ns == 500
    play(pairing, clock, 7, **{frozen: lambda n: 42})
    with pytest.raises(
        StaleDataError, match=f'{frozen.replace("or", "our")} image has not changed'
    ):
        pairing.latest()
    play(pairing, clock, 8)
    assert pairing.latest().stamp_ns == 700


def test_a_covered_lens_is_not_a_frozen_camera(clock):
    pairing = FramePairing(1.0, 0.5, clock)
    play(pairing, clock, 30, color=lambda n: 42, depth=lambda n: None)
    assert pairing.latest().stamp_ns == 2900


@pytest.mark.parametrize(
    ('feed', 'words'),
    [
        ({'color': None}, 'no colour for 2.00 s'),
        ({'depth': None}, 'no aligned depth for 2.00 s'),
        ({'late': 1}, 'different stamps for 2.00 s'),
    ],
)
def test_the_stream_that_was_lost_is_named(clock, feed, words):
    pairing = FramePairing(1.0, 0.0, clock)
    play(pairing, clock, 1)
    play(pairing, clock, 20, **feed)
    with pytest.raises(StaleDataError, match=words):
        pairing.latest()


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
