# SPDX-License-Identifier: Apache-2.0
r"""A score from the distance of the last image to the goal image (paper, section 5, Table 3).

The paper's visual reward is the negative distance of embeddings,

.. math:: r(I) = -\lVert \phi(I) - \phi(I_{goal}) \rVert_2,

which ranks episodes but is no score from 0 to 1. Two anchors make it one: the goal image itself
scores 1, the scene before the demonstration scores 0, and between them the score falls linearly
with the distance,

.. math:: s(I) = \max\Bigl(0, 1 - \frac{\lVert \phi(I) - \phi(I_{goal}) \rVert_2}
                                     {\lVert \phi(I_{start}) - \phi(I_{goal}) \rVert_2}\Bigr).

So s never rises with the distance: the order of episodes is that of the paper's reward, but for
those farther from the goal than the untouched scene, which all score 0.

The goal image is the last picture of the demonstration (paper, section 5), the start image shows
the same scene before it. By default they are `config/goals/TASK_goal.jpg` and
`config/goals/TASK_start.jpg`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from deft_cem.encoders.color_image import ImageEncoder
from deft_core.camera import ColorImage
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import is_file, read_bytes

GOALS_FOLDER: Final = 'goals'
_FORMATS: Final = ('JPEG', 'PNG')
_MAXIMUM_BYTES: Final = 32 * 1024 * 1024
_MAXIMUM_SIDE: Final = 4096  # [px]
# Below this the two anchors are the same picture as far as the encoder can tell.
_LEAST_SPAN: Final = 1e-6


class RewardSource(Enum):
    """Who scored; values as in deft_msgs/Reward."""

    OPERATOR = 0
    SCRIPTED_OPERATOR = 1
    R3M = 2
    RESNET18 = 3
    OPEN_CLIP = 4


@dataclass(frozen=True)
class Score:
    """What SubmitReward carries besides the name of the episode.

    Attributes:
        value: 0 (worst) to 1 (best).
        success: Whether the criterion of the task was met; None where that was not judged.
        source: Who scored.
        comment: How the value came about, in a few words.
    """

    value: float
    success: bool | None
    source: RewardSource
    comment: str = ''

    def __post_init__(self) -> None:
        """Refuse a value that is not a number from 0 to 1, as the session would."""
        if not 0.0 <= self.value <= 1.0:
            raise InvalidInputError(f'a score must be 0 to 1, got {self.value}')


# Encoders whose scores deft_msgs/Reward has a source for: the rewards of the paper, and CLIP.
SOURCES: Final = {
    'r3m_resnet18': RewardSource.R3M,
    'resnet18': RewardSource.RESNET18,
    'open_clip_vit_b_32': RewardSource.OPEN_CLIP,
}


class GoalDistance:
    """Distances of images to a goal image, and the score that belongs to them.

    Attributes:
        span: Distance from the start image to the goal image: where the score reaches 0.
    """

    def __init__(self, encoder: ImageEncoder, goal: ColorImage, start: ColorImage) -> None:
        """Encode the anchors: the last image of the demonstration, and the scene before it.

        Raises:
            InvalidInputError: Not RGB images of shape (height, width, 3).
            ConfigurationError: The encoder cannot tell them apart.
        """
        self._encoder = encoder
        self._goal = encoder.encode(goal)
        self.span = self.distance(start)
        if not self.span > _LEAST_SPAN:
            raise ConfigurationError(
                f'start image and goal image look the same to {encoder.name} '
                f'(distance {self.span:.2g}); use pictures from before and after the task'
            )

    def distance(self, image: ColorImage) -> float:
        """Euclidean distance to the goal in the embedding: minus the paper's reward."""
        return float(np.linalg.norm(self._encoder.encode(image) - self._goal))

    def score(self, distance: float) -> float:
        """Score of a distance, 0 to 1."""
        return max(0.0, 1.0 - distance / self.span)


class VisualReward:
    """An episode's last image in, a score with its source out: no person is needed."""

    def __init__(self, goal: GoalDistance, source: RewardSource) -> None:
        """Take the anchors, and what to name as the source of scores."""
        self._goal = goal
        self._source = source

    def score(self, last_image: ColorImage) -> Score:
        """Score an episode by its last image; whether the task succeeded is not judged."""
        distance = self._goal.distance(last_image)
        return Score(
            value=self._goal.score(distance),
            success=None,
            source=self._source,
            comment=f'distance {distance:.4g} to the goal image, {self._goal.span:.4g} is score 0',
        )


def default_paths(task: str, directory: Path) -> tuple[Path, Path]:
    """Goal and start image of a task in a configuration folder."""
    folder = directory / GOALS_FOLDER
    return folder / f'{task}_goal.jpg', folder / f'{task}_start.jpg'


def load_image(path: Path) -> ColorImage:
    """Read a JPEG or PNG file as RGB of shape (height, width, 3).

    Raises:
        ConfigurationError: The file is missing, too large or no such image.
    """
    if not is_file(path):
        raise ConfigurationError(
            f'there is no image {path}; a goal image is the last picture of a demonstration of '
            'the task, a start image shows the scene before it (JPEG or PNG)'
        )
    data = read_bytes(path, _MAXIMUM_BYTES)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if max(picture.size) > _MAXIMUM_SIDE:
                raise ConfigurationError(
                    f'{path} has {picture.size} pixels, expected at most {_MAXIMUM_SIDE} a side'
                )
            return np.array(picture.convert('RGB'))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigurationError(f'{path} is no readable JPEG or PNG image: {error}') from error
