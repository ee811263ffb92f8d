# SPDX-License-Identifier: Apache-2.0
"""From heat maps over the crop of an object to one contact pixel of the image.

The affordance model predicts one heat map per centre of a Gaussian mixture and reads each centre
by a spatial softmax; at test time the contact point is their average (paper, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_core.camera import Mask
from deft_core.errors import InvalidInputError, NoObjectError


@dataclass(frozen=True)
class ContactPixel:
    """Where the hand should touch [pixel], and how far the average lay beside the object."""

    column: float
    row: float
    moved: float


def contact_pixel(
    heat_maps: npt.ArrayLike, crop_box: tuple[int, int, int, int], mask: Mask
) -> ContactPixel:
    """Average of the expectations of heat maps, as a pixel on the object.

    An average may fall beside the object, for example into the handle of a cup; then the nearest
    pixel of the object is taken.

    Args:
        heat_maps: Non-negative weights of the cells of the crop. Shape (k, h, w) or (h, w).
        crop_box: Where the crop lies in the image (x0, y0, x1, y1), x1 and y1 exclusive. [pixel].
        mask: Pixels of the object. Shape (height, width).

    Raises:
        InvalidInputError: A map has negative, missing or only zero weights, or the crop is empty.
        NoObjectError: The mask is empty.
    """
    maps = np.asarray(heat_maps, dtype=np.float64)
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim != 3 or maps.size == 0 or not np.all(np.isfinite(maps)):
        raise InvalidInputError(
            f'Heat maps must be finite numbers of shape (k, h, w) or (h, w), got {maps.shape}.'
        )
    x0, y0, x1, y1 = crop_box
    inside = 0 <= x0 < x1 <= mask.shape[1] and 0 <= y0 < y1 <= mask.shape[0]
    if not inside:
        raise InvalidInputError(
            f'Crop {crop_box} must be a box (x0, y0, x1, y1) inside the image of '
            f'{mask.shape[1]} x {mask.shape[0]} pixels.'
        )
    totals = maps.sum(axis=(1, 2))
    if maps.min() < 0.0 or totals.min() <= 0.0:
        raise InvalidInputError(
            f'Heat maps must not be negative and must not sum to zero; the least weight is '
            f'{maps.min():.3g} and the least sum {totals.min():.3g}.'
        )
    rows, columns = maps.shape[1:]
    # A cell covers (x1 - x0) / columns pixels; its centre is half a cell from its edge.
    u = x0 - 0.5 + (np.arange(columns) + 0.5) * (x1 - x0) / columns
    v = y0 - 0.5 + (np.arange(rows) + 0.5) * (y1 - y0) / rows
    column = float(np.mean(maps.sum(axis=1) @ u / totals))
    row = float(np.mean(maps.sum(axis=2) @ v / totals))
    return _on_the_object(column, row, mask)


def _on_the_object(column: float, row: float, mask: Mask) -> ContactPixel:
    if not mask.any():
        raise NoObjectError('The mask of the object is empty; segment the object again.')
    u = min(max(round(column), 0), mask.shape[1] - 1)
    v = min(max(round(row), 0), mask.shape[0] - 1)
    if mask[v, u]:
        return ContactPixel(column, row, 0.0)
    rows, columns = np.nonzero(mask)
    distance = np.hypot(columns - column, rows - row)
    best = int(np.argmin(distance))
    return ContactPixel(float(columns[best]), float(rows[best]), float(distance[best]))
