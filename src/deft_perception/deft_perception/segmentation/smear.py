# SPDX-License-Identifier: Apache-2.0
"""Table that depth lifted beside an object.

Stereo cameras smear the depth of an object over a table without texture beside it. There the
colour is that of the table.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from deft_core.camera import ColorImage, Mask
from deft_perception.segmentation.touching import color_bins, color_histogram

_AROUND: Final = 12  # [pixel] of the table that is looked at
_LEAST_TABLE: Final = 300  # pixels
_FACTOR: Final = 4.0  # a colour this much more frequent on the table than on the object is its
_SPECK: Final = np.ones((3, 3), dtype=np.uint8)
_LEAST_PART: Final = 0.03  # of the largest part; smaller ones are remains of the smear
_MOST: Final = 0.5  # of an object; one that loses more has the colours of the table


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
