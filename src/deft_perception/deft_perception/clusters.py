# SPDX-License-Identifier: Apache-2.0
"""Pixels above the table, grouped into bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from deft_core.camera import DepthImage
from deft_core.errors import NoObjectError
from deft_perception.depth_view import DepthView, Mask

_MERGE_SAMPLES: Final = 400  # points by which the gap between two parts is measured
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
    view: DepthView,
    above: DepthImage,
    *,
    depth_jump: float,
    merge_gap: float,
    minimum_area: float,
    maximum_clearance: float,
) -> list[Cluster]:
    """Group candidate pixels into bodies that stand on the table, largest first.

    Pixels belong together when they touch in the image without a step in depth; parts so found
    that are near each other in space are joined, because a hole in depth or an inner edge (the rim
    of a cup before its far wall) may lie between them.

    Args:
        candidate: Pixels that may belong to an object. Shape (h, w).
        view: The depth image.
        above: Height of every pixel above the table. Shape (h, w). [m].
        depth_jump: A larger step between neighbours separates. [m].
        merge_gap: Parts nearer than this are joined. [m].
        minimum_area: Smaller bodies are dropped. [m^2].
        maximum_clearance: Bodies that begin higher hang in the air and are dropped. [m].
    """
    surface = candidate & ~view.behind_an_edge(depth_jump)
    count, raw_labels, _, _ = cv2.connectedComponentsWithStats(
        surface.view(np.uint8), connectivity=8
    )
    labels = np.asarray(raw_labels, dtype=np.int32)
    areas = np.bincount(labels[surface], weights=view.pixel_areas(surface), minlength=count)
    parts = [i for i in range(1, count) if areas[i] > _SPECK * minimum_area]
    clusters = []
    for group in _joined(parts, labels, surface, view, merge_gap):
        area = float(areas[group].sum())
        mask = np.isin(labels, group)
        lowest = float(np.percentile(above[mask], 2.0))
        if area >= minimum_area and lowest <= maximum_clearance:
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


def _joined(
    parts: list[int], labels: npt.NDArray[np.int32], surface: Mask, view: DepthView, gap: float
) -> list[list[int]]:
    """Labels in groups whose parts are connected by gaps below the limit."""
    rows, columns = np.nonzero(surface)
    label_of_pixel = labels[rows, columns]
    clouds = []
    for part in parts:
        member = np.flatnonzero(label_of_pixel == part)
        member = member[:: -(-len(member) // _MERGE_SAMPLES)]
        clouds.append(cKDTree(view.points(rows[member], columns[member])))
    group_of = list(range(len(parts)))
    for i, cloud in enumerate(clouds):
        for j in range(i):
            if group_of[i] == group_of[j]:
                continue
            distance, _ = cloud.query(clouds[j].data, distance_upper_bound=gap)
            if np.isfinite(distance).any():
                absorbed, kept = group_of[i], group_of[j]
                group_of = [kept if group == absorbed else group for group in group_of]
    return [
        [part for part, owner in zip(parts, group_of, strict=True) if owner == group]
        for group in sorted(set(group_of))
    ]
