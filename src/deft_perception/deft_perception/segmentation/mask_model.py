# SPDX-License-Identifier: Apache-2.0
"""What a promptable segmentation model gives and offers, whichever it is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deft_core.camera import ColorImage
from deft_perception.segmentation.depth_view import Mask


@dataclass(frozen=True, eq=False)
class MaskProposal:
    """A mask and how good the model thinks it is.

    Attributes:
        mask: Shape (height, width).
        score: Estimated intersection over union with the true mask, about 0 to 1.
    """

    mask: Mask
    score: float


class MaskModel(Protocol):
    """Masks for prompts; the embedding of an image is computed once and kept."""

    def show(self, color: ColorImage) -> None:
        """Embed an image, unless it is the one embedded last.

        Args:
            color: RGB. Shape (height, width, 3).
        """

    def at_points(self, points: npt.ArrayLike) -> list[MaskProposal]:
        """Three masks (part, body, all) for each of some points.

        Args:
            points: Columns and rows. Shape (n, 2). [pixel].

        Raises:
            InvalidInputError: No image was shown.
        """

    def in_boxes(self, boxes: npt.ArrayLike) -> list[MaskProposal]:
        """One mask for each of some boxes.

        Args:
            boxes: x0, y0, x1, y1. Shape (n, 4). [pixel].

        Raises:
            InvalidInputError: No image was shown.
        """


def picture_checksum(color: ColorImage) -> int:
    """The same for equal pictures; tells whether an embedding can be used again."""
    return zlib.crc32(np.ascontiguousarray(color).data, color.shape[1])
