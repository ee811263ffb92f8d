# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deft_core.episode import VideoFrame
from deft_report import pictures


def frame(stamp, grey, size=(96, 72), kind='JPEG'):
    buffer = io.BytesIO()
    Image.new('RGB', size, (grey, grey, grey)).save(buffer, format=kind)
    return VideoFrame(stamp=stamp, jpeg=buffer.getvalue())


@pytest.fixture(name='frames')
def _frames():
    # Neighbours differ strongly: WebP joins pictures that look the same.
    return [frame(50.0 + 0.1 * step, 97 * step % 256) for step in range(40)]


def test_decode_counts_damaged_frames_and_starts_at_zero(frames):
    frames[3] = replace(frames[3], jpeg=frames[3].jpeg[:40])
    frames[7] = replace(frames[7], jpeg=b'')
    # Only JPEG is read, whatever a file claims to be.
    frames[9] = frame(50.9, 0, kind='PNG')
    decoded = pictures.decode(frames)
    assert (len(decoded.images), decoded.damaged) == (37, 3)
    assert decoded.times[0] == 0.0
    assert decoded.times[-1] == pytest.approx(3.9)


def test_decode_reduces_large_pictures_and_keeps_one_size():
    decoded = pictures.decode([frame(0.0, 9, (800, 600)), frame(0.1, 9, (640, 480))])
    assert [image.size for image in decoded.images] == [(400, 300)] * 2


def test_animation_loops_at_the_speed_of_the_episode(frames):
    picture = Image.open(io.BytesIO(pictures.animate(pictures.decode(frames))))
    assert picture.format == 'WEBP'
    assert (picture.n_frames, picture.info['loop']) == (40, 0)
    picture.seek(5)
    picture.load()
    assert picture.info['duration'] == 100


def test_long_videos_are_thinned_but_keep_the_outcome():
    frames = [frame(0.1 * step, step) for step in range(200)]
    picture = Image.open(io.BytesIO(pictures.animate(pictures.decode(frames))))
    assert picture.n_frames <= pictures.LONGEST_VIDEO
    picture.seek(picture.n_frames - 1)
    assert np.asarray(picture.convert('RGB')).mean() == pytest.approx(199, abs=4)


def test_a_frame_that_no_camera_makes_is_left_out_before_it_is_decoded(frames):
    grey = Image.new('L', (8000, 8000))
    buffer = io.BytesIO()
    grey.save(buffer, format='JPEG')
    decoded = pictures.decode([*frames[:2], VideoFrame(9.0, buffer.getvalue())])
    assert (len(decoded.images), decoded.damaged) == (2, 1)


def test_a_single_picture_makes_a_video(frames):
    video = pictures.decode(frames[:1])
    assert Image.open(io.BytesIO(pictures.animate(video))).size == (96, 72)


def test_encode_reduces_but_never_enlarges():
    image = np.zeros((120, 160, 3), np.uint8)
    assert Image.open(io.BytesIO(pictures.encode(image, 80))).size == (80, 60)
    assert Image.open(io.BytesIO(pictures.encode(image, 400))).size == (160, 120)
