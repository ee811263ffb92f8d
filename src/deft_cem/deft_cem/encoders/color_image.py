# SPDX-License-Identifier: Apache-2.0
"""What an encoder takes: an 8-bit RGB image."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]
ColorImage = npt.NDArray[np.uint8]
MINIMUM_SIDE: Final = 16  # [px]


def check_color_image(image: ColorImage) -> None:
    """Refuse what is not an image.

    Args:
        image: RGB. Shape (height, width, 3).

    Raises:
        InvalidInputError: Not an 8-bit RGB image of at least 16 x 16 pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InvalidInputError(
            f'image must be uint8 of shape (height, width, 3), '
            f'got {image.dtype} of shape {image.shape}'
        )
    if min(image.shape[:2]) < MINIMUM_SIDE:
        raise InvalidInputError(
            f'image must be at least {MINIMUM_SIDE} x {MINIMUM_SIDE} pixels, got {image.shape}'
        )
