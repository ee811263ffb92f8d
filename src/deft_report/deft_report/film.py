# SPDX-License-Identifier: Apache-2.0
"""Pictures of episodes: thumbnails, film strips, short looping films."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from deft_core.camera import ColorImage
from deft_core.episode import FilmFrame

FILM_WIDTH = 400
STRIP_FRAMES = 6
STRIP_GAP = 6
STRIP_CAPTION = 22
LONGEST_FILM = 90
LAST_FRAME_HOLD = 1.2
SHORTEST_FRAME = 0.02
LONGEST_FRAME = 2.0


@dataclass(frozen=True, eq=False)
class Film:
    """Decoded pictures of one episode.

    Attributes:
        images: RGB, all of one size, in order.
        times: Since the first picture. Shape (n,). [s].
        damaged: Number of frames that were left out because they do not decode.
    """

    images: tuple[Image.Image, ...]
    times: tuple[float, ...]
    damaged: int


def decode(frames: Sequence[FilmFrame], width: int = FILM_WIDTH) -> Film:
    """Decode the pictures of an episode.

    A bag that was cut off may end in half a picture: such frames are counted, not shown.

    Args:
        frames: Pictures in order.
        width: Larger pictures are reduced to this. [pixel].
    """
    images: list[Image.Image] = []
    stamps: list[float] = []
    damaged = 0
    for frame in frames:
        try:
            picture = Image.open(io.BytesIO(frame.jpeg), formats=('JPEG',)).convert('RGB')
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
            damaged += 1
            continue
        size = images[0].size if images else _fit(picture.size, width)
        images.append(picture if picture.size == size else picture.resize(size))
        stamps.append(frame.stamp)
    times = tuple(stamp - stamps[0] for stamp in stamps)
    return Film(tuple(images), times, damaged)


def _fit(size: tuple[int, int], width: int) -> tuple[int, int]:
    if size[0] <= width:
        return size
    return width, max(1, round(size[1] * width / size[0]))


def animate(film: Film) -> bytes:
    """Write a looping WebP at the speed of the episode.

    Args:
        film: At least one picture. Long films are thinned out.
    """
    step = -(-len(film.images) // LONGEST_FILM)
    # Counted from the end, so that the outcome is never thinned away.
    picks = list(range(len(film.images) - 1, -1, -step))[::-1]
    times = [film.times[pick] for pick in picks]
    spans = [later - earlier for earlier, later in itertools.pairwise(times)]
    durations = [
        round(1000 * min(max(span, SHORTEST_FRAME), LONGEST_FRAME))
        for span in [*spans, LAST_FRAME_HOLD]
    ]
    images = [film.images[pick] for pick in picks]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format='WEBP',
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        quality=70,
        method=4,
    )
    return buffer.getvalue()


def select(film: Film, count: int = STRIP_FRAMES) -> list[tuple[float, Image.Image]]:
    """Pictures at even steps of time, first and last included.

    Args:
        film: At least one picture.
        count: Number wanted; a shorter film gives fewer.

    Returns:
        Time since the first picture [s] and picture, in order.
    """
    targets = np.linspace(film.times[0], film.times[-1], count)
    nearest = [int(np.argmin(np.abs(np.array(film.times) - target))) for target in targets]
    # dict keeps the order and drops repetitions.
    return [(film.times[pick], film.images[pick]) for pick in dict.fromkeys(nearest)]


def strip(pictures: Sequence[tuple[float, Image.Image]]) -> bytes:
    """Set pictures in a row with their times below, as a PNG on white."""
    width, height = pictures[0][1].size
    total = len(pictures) * (width + STRIP_GAP) - STRIP_GAP
    sheet = Image.new('RGB', (total, height + STRIP_CAPTION), 'white')
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for column, (time, picture) in enumerate(pictures):
        left = column * (width + STRIP_GAP)
        sheet.paste(picture, (left, 0))
        pen.text((left, height + 3), f'{time:.1f} s', fill='#1d2126', font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format='PNG', optimize=True)
    return buffer.getvalue()


def encode(image: ColorImage | Image.Image, width: int) -> bytes:
    """JPEG of one picture.

    Args:
        image: RGB.
        width: Larger pictures are reduced to this. [pixel].
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    size = _fit(picture.size, width)
    buffer = io.BytesIO()
    resized = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
    resized.save(buffer, format='JPEG', quality=82, optimize=True)
    return buffer.getvalue()
