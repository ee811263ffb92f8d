# SPDX-License-Identifier: Apache-2.0
"""What an encoder is, and what it takes: an 8-bit RGB image."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from deft_core.camera import ColorImage
from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray

MINIMUM_SIDE: Final = 16  # [px]


class ImageEncoder(Protocol):
    """Turns an RGB image into a feature vector, the same one for the same pixels."""

    @property
    def name(self) -> str:
        """Name and version; stored with a policy, which refuses any other encoder."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of the weights; None where there are none. Stored with a policy too."""
        ...

    @property
    def dimension(self) -> int:
        """Length of the feature vector."""
        ...

    def encode(self, image: ColorImage) -> FloatArray:
        """Feature vector of an RGB image of shape (height, width, 3). Shape (dimension,)."""
        ...


def check_color_image(image: ColorImage) -> None:
    """Refuse what is not an 8-bit RGB image of at least 16 x 16 pixels."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InvalidInputError(
            f'image must be uint8 of shape (height, width, 3), '
            f'got {image.dtype} of shape {image.shape}'
        )
    if min(image.shape[:2]) < MINIMUM_SIDE:
        raise InvalidInputError(
            f'image must be at least {MINIMUM_SIDE} x {MINIMUM_SIDE} pixels, got {image.shape}'
        )
