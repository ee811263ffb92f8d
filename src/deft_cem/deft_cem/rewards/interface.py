# SPDX-License-Identifier: Apache-2.0
"""One interface for every reward: an episode's last image in, a score with its source out.

In the graph all of them speak the service SubmitReward, whoever scores: a person at the panel,
the scripted operator or the node `visual_reward`. The session cannot tell them apart but by the
source in the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from deft_core.camera import ColorImage
from deft_core.errors import InvalidInputError


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
        """Refuse what the session would refuse.

        Raises:
            InvalidInputError: The value is not a number from 0 to 1.
        """
        if not 0.0 <= self.value <= 1.0:
            raise InvalidInputError(f'a score must be 0 to 1, got {self.value}')


class ImageReward(Protocol):
    """A reward that needs nobody: it looks at the last image of an episode."""

    def score(self, last_image: ColorImage) -> Score:
        """Score an episode.

        Args:
            last_image: After the trajectory, RGB. Shape (height, width, 3).
        """
        ...
