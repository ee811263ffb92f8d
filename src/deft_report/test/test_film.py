# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deft_core.episode import FilmFrame
from deft_report import film


def frame(stamp, grey, size=(96, 72), kind='JPEG'):
    buffer = io.BytesIO()
    Image.new('RGB', size, (grey, grey, grey)).save(buffer, format=kind)
    return FilmFrame(stamp=stamp, jpeg=buffer.getvalue())


@pytest.fixture(name='frames')
def _frames():
    # Neighbours differ strongly: WebP joins pictures that look the same.
    return [frame(50.0 + 0.1 * step, 97 * step % 256) for step in range(40)]


def test_decode_counts_damaged_frames_and_starts_at_zero(frames):
    frames[3] = replace(frames[3], jpeg=frames[3].jpeg[:40])
    frames[7] = replace(frames[7], jpeg=b'')
    # Only JPEG is read, whatever a file claims to be.
    frames[9] = frame(50.9, 0, kind='PNG')
    decoded = film.decode(frames)
    assert (len(decoded.images), decoded.damaged) == (37, 3)
    assert decoded.times[0] == 0.0
    assert decoded.times[-1] == pytest.approx(3.9)


def test_decode_reduces_large_pictures_and_keeps_one_size():
    decoded = film.decode([frame(0.0, 9, (800, 600)), frame(0.1, 9, (640, 480))])
    assert [image.size for image in decoded.images] == [(400, 300)] * 2


def test_animation_loops_at_the_speed_of_the_episode(frames):
    picture = Image.open(io.BytesIO(film.animate(film.decode(frames))))
    assert picture.format == 'WEBP'
    assert (picture.n_frames, picture.info['loop']) == (40, 0)
    picture.seek(5)
    picture.load()
    assert picture.info['duration'] == 100


def test_long_films_are_thinned_but_keep_the_outcome():
    frames = [frame(0.1 * step, step) for step in range(200)]
    picture = Image.open(io.BytesIO(film.animate(film.decode(frames))))
    assert picture.n_frames <= film.LONGEST_FILM
    picture.seek(picture.n_frames - 1)
    assert np.asarray(picture.convert('RGB')).mean() == pytest.approx(199, abs=4)


def test_selection_spans_the_film_in_time(frames):
    # The second half of the pictures comes ten times slower.
    slow = [
        replace(f, stamp=50.0 + s + 9.0 * max(0.0, s - 2.0))
        for f, s in zip(frames, np.arange(40) * 0.1, strict=True)
    ]
    chosen = film.select(film.decode(slow))
    times = [time for time, _ in chosen]
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(film.decode(slow).times[-1])
    assert np.diff(times) == pytest.approx(np.full(5, times[-1] / 5), abs=1.0)


def test_a_single_picture_makes_a_strip_and_a_film(frames):
    decoded = film.decode(frames[:1])
    chosen = film.select(decoded)
    assert len(chosen) == 1
    assert Image.open(io.BytesIO(film.strip(chosen))).size == (96, 72 + film.STRIP_CAPTION)
    assert Image.open(io.BytesIO(film.animate(decoded))).size == (96, 72)


def test_encode_reduces_but_never_enlarges():
    image = np.zeros((120, 160, 3), np.uint8)
    assert Image.open(io.BytesIO(film.encode(image, 80))).size == (80, 60)
    assert Image.open(io.BytesIO(film.encode(image, 400))).size == (160, 120)
