# SPDX-License-Identifier: Apache-2.0
"""Image encoders that a visual reward can measure distances with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deft_cem.encoders.open_clip import OpenClipEncoder
from deft_cem.encoders.registry import ENCODERS, ImageEncoder, make_encoder
from deft_cem.rewards.interface import RewardSource
from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError
from deft_core.pretrained import VIT_B_32

OPEN_CLIP: Final = 'open_clip_vit_b_32'
# Encoders whose scores deft_msgs/Reward has a source for: the rewards of the paper, and CLIP.
SOURCES: Final = {
    'r3m_resnet18': RewardSource.R3M,
    'resnet18': RewardSource.RESNET18,
    OPEN_CLIP: RewardSource.OPEN_CLIP,
}


def reward_encoder_names() -> tuple[str, ...]:
    """Encoders that distances can be measured with, also those without a source."""
    return (*ENCODERS, OPEN_CLIP)


def make_reward_encoder(name: str, weights_directory: Path | None = None) -> ImageEncoder:
    """Build an encoder.

    Args:
        name: One of `reward_encoder_names`.
        weights_directory: Folder of weights files; None takes the user's.

    Raises:
        InvalidInputError: No encoder of that name.
        ConfigurationError: Its weights are missing or wrong.
    """
    if name == OPEN_CLIP:
        return OpenClipEncoder(name, VIT_B_32, weights_directory)
    names = reward_encoder_names()
    if name not in names:
        raise InvalidInputError(f'unknown image encoder {name!r}; {nearest(name, names)}')
    return make_encoder(name, weights_directory)
