# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an observation: figures of its depth, and flags that a person reads."""

from __future__ import annotations

import enum
from typing import Final

import cv2
import numpy as np

from deft_core.camera import ColorImage, DepthImage, Mask
from deft_core.observation import ObjectObservation
from deft_perception.segmentation.depth_view import DepthView

_BESIDE: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_MARGIN: Final = 5  # [pixel] around the object, so that its surroundings are looked at
_SATURATED: Final = 250  # of 255, in every channel
_LEAST_COVERAGE: Final = 0.6  # share of the object with depth
_MOST_MIXED: Final = 0.10
_MOST_REFLECTED: Final = 0.02
_MOST_GLARE: Final = 0.06  # white paint loses its edges too
_RIVAL: Final = 0.2  # area of the second body over that of the chosen one


class Flag(enum.StrEnum):
    """Why an observation deserves a second look."""

    HOLES = 'holes'  # much of the object has no depth
    # depth inside the object lies below the table, as a shiny surface mirrors it, or is missing
    # where the image is saturated
    REFLECTION = 'reflection'
    # much depth lies between two surfaces, as at the edges of thin bodies
    MIXED_PIXELS = 'mixed_pixels'
    CUT_BY_BORDER = 'cut_by_border'  # the image does not show all of the object
    NO_CLEAR_CHOICE = 'no_clear_choice'  # another body is about as prominent, and nobody clicked


def depth_figures(
    mask: Mask,
    silhouette: Mask,
    view: DepthView,
    above: DepthImage,
    color: ColorImage,
    noise: float,
) -> dict[str, float]:
    """Quality figures of an object's depth.

    Args:
        mask: The object with the gaps in which depth is missing. Shape (h, w).
        silhouette: Its outline with everything in it. Shape (h, w).
        view: The depth image.
        above: Height of every pixel above the table. Shape (h, w). [m].
        color: RGB. Shape (h, w, 3).
        noise: Of a height that lies on the table. [m].

    Returns:
        Shares of the object's pixels: with depth; the same of its convex hull, which also tells
        of holes that cut through the object; beside or on it with depth that lies on nothing;
        inside it with depth below the table; saturated without depth.
    """
    window = _box_around(mask)
    mask, silhouette = mask[window], silhouette[window]
    raw_valid, valid = view.raw_valid[window], view.valid[window]
    inside = int(np.count_nonzero(mask))
    missing = mask & ~raw_valid
    around = cv2.dilate(mask.astype(np.uint8), _BESIDE).view(bool)
    mixed = around & raw_valid & ~valid
    below = silhouette & valid & (above[window] < -noise)
    hull = _convex_hull(mask)
    lost = np.count_nonzero(hull & ~raw_valid) / np.count_nonzero(hull)
    glare = np.all(color[window][missing] >= _SATURATED, axis=1)
    return {
        'depth_coverage': 1.0 - float(np.count_nonzero(missing)) / inside,
        'hull_depth_coverage': 1.0 - float(lost),
        'mixed_pixel_fraction': float(np.count_nonzero(mixed)) / inside,
        'below_table_fraction': float(np.count_nonzero(below)) / inside,
        'glare_fraction': float(np.count_nonzero(glare)) / inside,
    }


def _box_around(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of a mask that is not empty, with a margin."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    rows = slice(max(top - _MARGIN, 0), top + height + _MARGIN)
    return rows, slice(max(left - _MARGIN, 0), left + width + _MARGIN)


def _convex_hull(mask: Mask) -> Mask:
    """Pixels inside the convex hull of a mask that is not empty."""
    corners = cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8)))
    hull = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(hull, corners, 1)
    return np.asarray(hull.view(bool))


def flags_of(observation: ObjectObservation) -> tuple[Flag, ...]:
    """Flags of an observation; figures that are missing raise none."""
    quality = observation.quality

    def figure(name: str, otherwise: float = 0.0) -> float:
        return quality.get(name, otherwise)

    raised = {
        Flag.HOLES: min(figure('depth_coverage', 1.0), figure('hull_depth_coverage', 1.0))
        < _LEAST_COVERAGE,
        Flag.REFLECTION: figure('below_table_fraction') > _MOST_REFLECTED
        or figure('glare_fraction') > _MOST_GLARE,
        Flag.MIXED_PIXELS: figure('mixed_pixel_fraction') > _MOST_MIXED,
        Flag.CUT_BY_BORDER: observation.touches_border,
        Flag.NO_CLEAR_CHOICE: figure('runner_up_area_ratio') > _RIVAL and figure('clicked') == 0.0,
    }
    return tuple(flag for flag, is_raised in raised.items() if is_raised)
