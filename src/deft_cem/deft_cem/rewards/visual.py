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
"""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_cem.encoders.registry import ImageEncoder
from deft_cem.rewards.interface import RewardSource, Score
from deft_core.camera import ColorImage
from deft_core.errors import ConfigurationError

# Below this the two anchors are the same picture as far as the encoder can tell.
_LEAST_SPAN: Final = 1e-6


class GoalDistance:
    """Distances of images to a goal image, and the score that belongs to them.

    Attributes:
        span: Distance from the start image to the goal image: where the score reaches 0.
    """

    def __init__(self, encoder: ImageEncoder, goal: ColorImage, start: ColorImage) -> None:
        """Encode the anchors.

        Args:
            encoder: phi.
            goal: Last image of the demonstration, RGB. Shape (height, width, 3).
            start: The scene before it, RGB. Shape (height, width, 3).

        Raises:
            InvalidInputError: Not images.
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
        """Euclidean distance to the goal image in the embedding; the paper's reward is minus this.

        Args:
            image: RGB. Shape (height, width, 3).
        """
        return float(np.linalg.norm(self._encoder.encode(image) - self._goal))

    def score(self, distance: float) -> float:
        """Score of a distance, 0 to 1."""
        return max(0.0, 1.0 - distance / self.span)


class VisualReward:
    """`ImageReward` that needs no person: see the head of this file."""

    def __init__(self, goal: GoalDistance, source: RewardSource) -> None:
        """Take the anchors.

        Args:
            goal: Distance to the goal image.
            source: What to name as the source of scores.
        """
        self._goal = goal
        self._source = source

    def score(self, last_image: ColorImage) -> Score:
        """Score an episode by its last image; whether the task succeeded is not judged.

        Args:
            last_image: After the trajectory, RGB. Shape (height, width, 3).
        """
        distance = self._goal.distance(last_image)
        return Score(
            value=self._goal.score(distance),
            success=None,
            source=self._source,
            comment=f'distance {distance:.4g} to the goal image, {self._goal.span:.4g} is score 0',
        )
