# SPDX-License-Identifier: Apache-2.0
"""Pixels above the table, grouped into bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from deft_core.camera import DepthImage, Mask
from deft_core.errors import NoObjectError
from deft_perception.segmentation.depth_view import DepthView

_SAMPLES: Final = 400  # points by which the gap between two parts is measured
_CONTACT_REACH: Final = 3  # pixels without depth between a body and the table it stands on
_LEAST_CONTACT: Final = 5  # pixels
_SPECK: Final = 0.2  # of the least area of a body; smaller parts are not even joined to one


@dataclass(frozen=True, eq=False)
class Cluster:
    """One body.

    Attributes:
        mask: Its pixels. Shape (height, width).
        area: As the camera sees it, across the line of sight. [m^2].
    """

    mask: Mask
    area: float


def find_clusters(
    candidate: Mask,
    table: Mask,
    view: DepthView,
    above: DepthImage,
    *,
    depth_jump: float,
    merge_gap: float,
    hanging_gap: float,
    minimum_area: float,
    maximum_clearance: float,
) -> list[Cluster]:
    """Group candidate pixels into bodies that stand on the table, largest first.

    Pixels belong together when they touch in the image without a step in depth; parts so found
    that are near each other in space are joined, because a hole in depth may lie between them.
    Nothing hangs in the air by itself: a part that is not seen to stand on the table (the far
    wall of a cup, seen through its mouth) is held by a body beside it, so it is joined over a
    wider gap, as sensors lose depth along edges such as the rim; alone, it is the robot and
    dropped.

    Args:
        candidate: Pixels that may belong to an object. Shape (h, w).
        table: Pixels at the height of the table. Shape (h, w).
        view: The depth image.
        above: Height of every pixel above the table. Shape (h, w). [m].
        depth_jump: A larger step between neighbours separates. [m].
        merge_gap: Parts nearer than this are joined. [m].
        hanging_gap: A hanging part nearer than this to a standing one is joined to it. [m].
        minimum_area: Smaller bodies are dropped. [m^2].
        maximum_clearance: A part stands if it is seen beside the table below this height. [m].
    """
    edge = view.behind_an_edge(depth_jump)
    surface = candidate & ~edge
    labels, count = _labelled(surface)
    # Only few pixels are candidates: their indices are found once.
    pixels = np.flatnonzero(surface)
    found = labels.ravel()[pixels]
    areas = np.bincount(found, weights=view.pixel_areas(pixels), minlength=count)
    contact = _beside_the_table(table & ~edge) & (above <= maximum_clearance)
    contacts = np.bincount(found[contact.ravel()[pixels]], minlength=count)
    kept = [i for i in range(1, count) if areas[i] > _SPECK * minimum_area]
    parts = [_part(i, labels, view, contacts[i] >= _LEAST_CONTACT) for i in kept]
    clusters = []
    for group in _joined(parts, merge_gap, hanging_gap):
        area = float(sum(areas[part.label] for part in group))
        if area >= minimum_area and any(part.stands for part in group):
            chosen = np.zeros(count, dtype=np.bool_)
            chosen[[part.label for part in group]] = True
            mask = chosen[labels]
            clusters.append(Cluster(mask, area))
    return sorted(clusters, key=lambda cluster: -cluster.area)


def choose_cluster(clusters: list[Cluster], click: tuple[int, int] | None, radius: int) -> int:
    """Index of the most prominent body, or of the one under a click.

    The most prominent is the one of which the camera sees the largest area.

    Args:
        clusters: Bodies, largest first.
        click: Pixel (column, row), or None.
        radius: How far beside the body the click may be. [pixel].

    Raises:
        NoObjectError: There is no body, or none near the click.
    """
    if not clusters:
        raise NoObjectError(
            'No object stands on the table inside the workspace; put one there, or check the '
            'workspace box and the camera calibration.'
        )
    if click is None:
        return 0
    best, best_distance = -1, float(radius)
    for index, cluster in enumerate(clusters):
        rows, columns = np.nonzero(cluster.mask)
        distance = float(np.hypot(columns - click[0], rows - click[1]).min())
        if distance <= best_distance and (best < 0 or distance < best_distance):
            best, best_distance = index, distance
    if best < 0:
        raise NoObjectError(
            f'No object lies within {radius} pixels of the click {click}; '
            f'{len(clusters)} other object(s) are on the table, click on one of them.'
        )
    return best


def _labelled(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
    """Number of the connected region of every pixel, 0 outside, and how many numbers there are."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return np.asarray(labels, dtype=np.int32), count


def _beside_the_table(table: Mask) -> Mask:
    """Pixels on or beside the largest connected region of the table.

    Smaller regions of the same height, such as the floor inside a cup, are not open table.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        table.view(np.uint8), connectivity=8
    )
    sizes = statistics[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0  # what is no table
    largest = (labels == int(np.argmax(sizes))) & table
    reach = np.ones((2 * _CONTACT_REACH + 1, 2 * _CONTACT_REACH + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(largest.view(np.uint8), reach).view(bool))


@dataclass(frozen=True, eq=False)
class _Part:
    """Connected pixels: their label, some of their points, and whether they stand on the table."""

    label: int
    cloud: cKDTree
    stands: bool


def _part(label: int, labels: npt.NDArray[np.int32], view: DepthView, stands: bool) -> _Part:
    rows, columns = np.nonzero(labels == label)
    thin = slice(None, None, -(-len(rows) // _SAMPLES))
    return _Part(label, cKDTree(view.points(rows[thin], columns[thin])), stands)


def _joined(parts: list[_Part], merge_gap: float, hanging_gap: float) -> list[list[_Part]]:
    """Parts in groups; see `find_clusters` for which belong together."""
    group_of = list(range(len(parts)))
    for i, first in enumerate(parts):
        for j, second in enumerate(parts[:i]):
            limit = merge_gap if first.stands == second.stands else hanging_gap
            if group_of[i] == group_of[j]:
                continue
            distance, _ = first.cloud.query(second.cloud.data, distance_upper_bound=limit)
            if np.isfinite(distance).any():
                absorbed, kept = group_of[i], group_of[j]
                group_of = [kept if group == absorbed else group for group in group_of]
    return [
        [part for part, owner in zip(parts, group_of, strict=True) if owner == group]
        for group in sorted(set(group_of))
    ]
