# SPDX-License-Identifier: Apache-2.0
"""What depth shows above the table and is no object: walls, and table that was lifted.

A wall is upright and long, the border of the image cuts it, and nothing is seen behind it. Stereo
cameras smear the depth of an object over a table without texture beside it; there the colour is
that of the table.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from deft_core.camera import ColorImage, Mask
from deft_core.validation import FloatArray
from deft_perception.segmentation.depth_view import DepthView
from deft_perception.segmentation.touching import color_bins, color_histogram

# Walls.
_CUT: Final = 0.04  # of the border of the image that what stands on the table must reach
_MOST_WALLS: Final = 2
_SAMPLES: Final = 2000
_HYPOTHESES: Final = 200
_THICKNESS: Final = 0.012  # [m] to each side, of a wall's noise
_REACH: Final = 0.025  # [m] before a wall that still belongs to it
_LEAST_SHARE: Final = 0.15  # of what is above the table
_LEAST_LENGTH: Final = 0.25  # [m]
_MOST_BEHIND: Final = 0.02  # of everything that is seen

# Lifted table.
_AROUND: Final = 12  # [pixel] of the table that is looked at
_LEAST_TABLE: Final = 300  # pixels
_FACTOR: Final = 4.0  # a colour this much more frequent on the table than on the object is its
_SPECK: Final = np.ones((3, 3), dtype=np.uint8)
_LEAST_PART: Final = 0.03  # of the largest part; smaller ones are remains of the smear
_MOST: Final = 0.5  # of an object; one that loses more has the colours of the table


def without_walls(candidates: Mask, view: DepthView, rng: np.random.Generator) -> Mask:
    """Pixels above the table (h, w) that are no wall."""
    border = np.concatenate([candidates[0], candidates[-1], candidates[:, 0], candidates[:, -1]])
    if np.count_nonzero(border) < _CUT * len(border):
        return candidates
    seen = view.sampled_points(8)[:, :2]
    kept = candidates
    for _ in range(_MOST_WALLS):
        pixels = np.flatnonzero(kept)
        if len(pixels) < _SAMPLES:
            break
        wall = _wall(view.flat_points(pixels, _SAMPLES)[:, :2], seen, view.pose[:2, 3], rng)
        if wall is None:
            break
        normal = np.append(wall[:2], 0.0)
        kept = kept & (view.component(normal, float(wall[2])) > _REACH)
    return kept


def _wall(
    above: FloatArray, seen: FloatArray, camera: FloatArray, rng: np.random.Generator
) -> FloatArray | None:
    """Line n.p + d = 0 of a wall seen from above, n towards the camera; None where there is none.

    Args:
        above: Some places above the table. Shape (n, 2). [m].
        seen: Some places of everything. Shape (m, 2). [m].
        camera: Where the camera stands. Shape (2,). [m].
        rng: Draws the hypotheses.
    """
    first, second = above[rng.integers(0, len(above), size=(2, _HYPOTHESES))]
    along = second - first
    lengths = np.linalg.norm(along, axis=1)
    usable = lengths > 0.3 * _LEAST_LENGTH
    if not usable.any():
        return None
    along, first = along[usable] / lengths[usable, None], first[usable]
    normals = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normals *= np.sign(np.sum(normals * (camera - first), axis=1))[:, None]
    offsets = -np.sum(normals * first, axis=1)
    on = np.abs(above @ normals.T + offsets) < _THICKNESS
    best = int(np.argmax(np.count_nonzero(on, axis=0)))
    normal, offset, inside = normals[best], float(offsets[best]), above[on[:, best]]
    for _ in range(2):
        middle = inside.mean(axis=0)
        fitted = np.linalg.eigh((inside - middle).T @ (inside - middle))[1][:, 0]
        normal = fitted * np.sign(fitted @ (camera - middle))
        offset = -float(normal @ middle)
        inside = above[np.abs(above @ normal + offset) < _THICKNESS]
        if len(inside) < _LEAST_SHARE * len(above):
            return None
    length = np.ptp(np.percentile(inside @ [-normal[1], normal[0]], (2.0, 98.0)))
    behind = float(np.mean(seen @ normal + offset < -2.0 * _REACH))
    if length < _LEAST_LENGTH or behind > _MOST_BEHIND:
        return None
    return np.append(normal, offset)


def without_smear(mask: Mask, table: Mask, color: ColorImage) -> Mask:
    """The object (h, w) without what has the colours of the table (h, w) around it."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    window = (
        slice(max(top - _AROUND, 0), top + height + _AROUND),
        slice(max(left - _AROUND, 0), left + width + _AROUND),
    )
    inside, part = mask[window], color[window]
    beside = table[window] & ~inside
    if np.count_nonzero(beside) < _LEAST_TABLE:
        return mask
    of_table = color_histogram(part[beside]) > _FACTOR * color_histogram(part[inside])
    alike = inside & of_table.ravel()[color_bins(part)]
    lifted = cv2.morphologyEx(alike.view(np.uint8), cv2.MORPH_OPEN, _SPECK).view(bool)
    kept = (inside & ~lifted).view(np.uint8)
    contours, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(contour) for contour in contours]
    large = [c for c, area in zip(contours, areas, strict=True) if area > _LEAST_PART * max(areas)]
    outline = cv2.drawContours(np.zeros_like(kept), large, -1, 1, cv2.FILLED).view(bool)
    # Inside its outline the colours of the table are the object's own.
    object_ = inside & outline
    if np.count_nonzero(object_) < _MOST * np.count_nonzero(inside):
        return mask
    whole = np.zeros_like(mask)
    whole[window] = object_
    return whole
