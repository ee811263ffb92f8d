# SPDX-License-Identifier: Apache-2.0
"""Pictures of episodes: thumbnails and rollout videos."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from deft_core.camera import ColorImage
from deft_core.episode import VideoFrame

VIDEO_WIDTH = 400
LONGEST_VIDEO = 90
LARGEST_FRAME = 4096 * 4096  # [pixel]
LAST_FRAME_HOLD = 1.2
SHORTEST_FRAME = 0.02
LONGEST_FRAME = 2.0


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures of one size and their times [s]; `damaged` counts what was left out."""

    images: tuple[Image.Image, ...]
    times: tuple[float, ...]
    damaged: int


def decode(frames: Sequence[VideoFrame], width: int = VIDEO_WIDTH) -> Video:
    """Decode the pictures of an episode, a long one thinned, to at most this width. [pixel].

    A bag that was cut off may end in half a picture: such frames are counted, not shown, as are
    those that no camera makes.
    """
    images: list[Image.Image] = []
    stamps: list[float] = []
    damaged = 0
    step = -(-len(frames) // LONGEST_VIDEO) or 1
    # Counted from the end, so that the outcome is never thinned away.
    for frame in frames[::-1][::step][::-1]:
        try:
            with Image.open(io.BytesIO(frame.jpeg), formats=('JPEG',)) as jpeg:
                if jpeg.width * jpeg.height > LARGEST_FRAME:
                    raise OSError(f'a frame of {jpeg.width} x {jpeg.height} pixels')
                size = images[0].size if images else _fit(jpeg.size, width)
                jpeg.draft('RGB', size)  # decodes no more than is needed
                picture = jpeg.convert('RGB')
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
            damaged += 1
            continue
        images.append(picture if picture.size == size else picture.resize(size))
        stamps.append(frame.stamp)
    times = tuple(stamp - stamps[0] for stamp in stamps)
    return Video(tuple(images), times, damaged)


def _fit(size: tuple[int, int], width: int) -> tuple[int, int]:
    if size[0] <= width:
        return size
    return width, max(1, round(size[1] * width / size[0]))


def animate(video: Video) -> bytes:
    """A looping WebP at the speed of the episode."""
    spans = [later - earlier for earlier, later in itertools.pairwise(video.times)]
    durations = [
        round(1000 * min(max(span, SHORTEST_FRAME), LONGEST_FRAME))
        for span in [*spans, LAST_FRAME_HOLD]
    ]
    buffer = io.BytesIO()
    video.images[0].save(
        buffer,
        format='WEBP',
        save_all=True,
        append_images=video.images[1:],
        duration=durations,
        loop=0,
        quality=70,
        method=4,
    )
    return buffer.getvalue()


def reduced(image: ColorImage, width: int) -> ColorImage:
    """One RGB picture, reduced to at most this width. [pixel]."""
    size = _fit((image.shape[1], image.shape[0]), width)
    picture = Image.fromarray(image)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return np.array(picture)


def encode(image: ColorImage | Image.Image, width: int) -> bytes:
    """JPEG of one RGB picture, reduced to at most this width. [pixel]."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    size = _fit(picture.size, width)
    buffer = io.BytesIO()
    resized = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
    resized.save(buffer, format='JPEG', quality=82, optimize=True)
    return buffer.getvalue()
