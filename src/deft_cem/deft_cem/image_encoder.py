# SPDX-License-Identifier: Apache-2.0
"""phi(I) of section 3.2: an image as a vector of fixed size.

The light encoder needs no weights: gradient histograms say where edges run, a colour layout
says what lies where. It is the default on a machine without downloaded weights; a learned
encoder fits behind the same protocol.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]
ColorImage = npt.NDArray[np.uint8]


class ImageEncoder(Protocol):
    """Turns an RGB image into a feature vector, the same one for the same pixels."""

    @property
    def name(self) -> str:
        """Name and version; stored with a policy, which refuses any other encoder."""
        ...

    @property
    def dimension(self) -> int:
        """Length of the feature vector."""
        ...

    def encode(self, image: ColorImage) -> FloatArray:
        """Feature vector of an RGB image of shape (height, width, 3). Shape (dimension,)."""
        ...


class GradientColorEncoder:
    """Histograms of oriented gradients of 8 x 8 cells and an 8 x 8 layout of mean Lab colour.

    The image is averaged down to 128 x 128 pixels whatever its size. Per cell of 16 x 16 pixels
    there are 9 unsigned gradient orientations, normalised over the 3 x 3 cells around (so that
    lighting cancels), and three colour means in 0..1.
    """

    _SIDE = 128
    _CELLS = 8
    _ORIENTATIONS = 9

    @property
    def name(self) -> str:
        """Name and version of this encoder."""
        return 'gradient_color_1'

    @property
    def dimension(self) -> int:
        """Length of the feature vector: 8 * 8 * (9 + 3) = 768."""
        return self._CELLS**2 * (self._ORIENTATIONS + 3)

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one image.

        Args:
            image: RGB. Shape (height, width, 3).

        Returns:
            Shape (768,). No unit, each entry in 0..1.

        Raises:
            InvalidInputError: Not an 8-bit RGB image of at least 16 x 16 pixels.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InvalidInputError(
                f'image must be uint8 of shape (height, width, 3), '
                f'got {image.dtype} of shape {image.shape}'
            )
        if min(image.shape[:2]) < 16:
            raise InvalidInputError(f'image must be at least 16 x 16 pixels, got {image.shape}')
        size = (self._SIDE, self._SIDE)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float64) / 255.0
        gradients = self._gradient_histograms(lab[:, :, 0])
        colors = self._cell_means(lab)
        return np.concatenate([gradients.ravel(), colors.ravel()])

    def _cell_means(self, values: FloatArray) -> FloatArray:
        """Mean over each cell: (128, 128, n) -> (8, 8, n)."""
        cell = self._SIDE // self._CELLS
        grid = values.reshape(self._CELLS, cell, self._CELLS, cell, -1)
        return np.asarray(grid.mean(axis=(1, 3)), dtype=np.float64)

    def _gradient_histograms(self, lightness: FloatArray) -> FloatArray:
        """Normalised orientation histograms: (128, 128) -> (8, 8, 9)."""
        rows, columns = np.gradient(lightness)
        magnitude = np.hypot(rows, columns)
        angle = np.mod(np.arctan2(rows, columns), np.pi) / np.pi * self._ORIENTATIONS
        # A gradient is shared by the two bins beside it, so a small turn moves the histogram
        # a little instead of making a bin jump.
        lower = np.floor(angle - 0.5)
        share = angle - 0.5 - lower
        votes = np.zeros((*lightness.shape, self._ORIENTATIONS))
        row_index, column_index = np.indices(lightness.shape)
        for offset, weight in ((0, 1.0 - share), (1, share)):
            bins = np.mod(lower + offset, self._ORIENTATIONS).astype(np.intp)
            votes[row_index, column_index, bins] += magnitude * weight
        histograms = self._cell_means(votes)
        energy = np.pad(np.sum(histograms**2, axis=2), 1, mode='edge')
        around = sum(
            energy[1 + dy : 1 + dy + self._CELLS, 1 + dx : 1 + dx + self._CELLS]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        )
        # 1e-3: a cell without edges stays at zero instead of magnifying sensor noise.
        normalised = histograms / np.sqrt(around + 1e-3)[:, :, None]
        return np.asarray(np.minimum(normalised, 1.0), dtype=np.float64)


ENCODERS: dict[str, type[GradientColorEncoder]] = {'gradient_color_1': GradientColorEncoder}


def make_encoder(name: str) -> ImageEncoder:
    """Build an encoder by the name a policy was stored with.

    Raises:
        InvalidInputError: No encoder of that name.
    """
    if name not in ENCODERS:
        raise InvalidInputError(f'unknown image encoder {name!r}; known: {", ".join(ENCODERS)}')
    return ENCODERS[name]()
