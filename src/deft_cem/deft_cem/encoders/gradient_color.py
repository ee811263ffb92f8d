# SPDX-License-Identifier: Apache-2.0
"""The light encoder: gradient histograms say where edges run, a colour layout what lies where.

It needs no weights and is the default on a machine without any.
"""

from __future__ import annotations

import cv2
import numpy as np

from deft_cem.encoders.color_image import check_color_image
from deft_core.camera import ColorImage
from deft_core.validation import FloatArray


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
    def weights_sha256(self) -> None:
        """There are no weights."""
        return None

    @property
    def dimension(self) -> int:
        """Length of the feature vector: 8 * 8 * (9 + 3) = 768."""
        return self._CELLS**2 * (self._ORIENTATIONS + 3)

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one RGB image. Shape (768,), each entry in 0..1."""
        check_color_image(image)
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
