# SPDX-License-Identifier: Apache-2.0
"""Pixels above the table, grouped into bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from deft_core.camera import DepthImage, Mask
from deft_core.errors import NoObjectError
from deft_perception.segmentation.depth_view import DepthView
from deft_perception.segmentation.settings import SegmentationSettings

_SAMPLES: Final = 400  # points by which the gap between two parts is measured
_CONTACT_REACH: Final = 3  # pixels without depth between a body and the table it stands on
_LEAST_CONTACT: Final = 5  # pixels
_SPECK: Final = 0.2  # of the least area of a body; smaller parts are not even joined to one


@dataclass(frozen=True, eq=False)
class Cluster:
    """One body: its pixels (h, w), and its area across the line of sight. [m^2]."""

    mask: Mask
    area: float


def find_clusters(
    candidate: Mask,
    table: Mask,
    view: DepthView,
    above: DepthImage,
    settings: SegmentationSettings,
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
        settings: What separates and joins bodies.
    """
    edge = view.behind_an_edge(settings.depth_jump)
    surface = candidate & ~edge
    count, labels = cv2.connectedComponents(surface.view(np.uint8), connectivity=8)
    # Only few pixels are candidates: their indices are found once.
    pixels = np.flatnonzero(surface)
    found = labels.ravel()[pixels]
    areas = np.bincount(found, weights=view.pixel_areas(pixels), minlength=count)
    contact = _beside_the_table(table & ~edge) & (above <= settings.maximum_clearance)
    contacts = np.bincount(found[contact.ravel()[pixels]], minlength=count)
    parts = 1 + np.flatnonzero(areas[1:] > _SPECK * settings.minimum_area)
    stands = contacts[parts] >= _LEAST_CONTACT
    groups = _joined([_cloud(labels == part, view) for part in parts], stands, settings)
    clusters = []
    for group in range(groups.max(initial=-1) + 1):
        members = groups == group
        area = float(areas[parts[members]].sum())
        if area >= settings.minimum_area and stands[members].any():
            chosen = np.zeros(count, dtype=np.bool_)
            chosen[parts[members]] = True
            clusters.append(Cluster(chosen[labels], area))
    return sorted(clusters, key=lambda cluster: -cluster.area)


def choose_cluster(clusters: list[Cluster], click: tuple[int, int] | None, radius: int) -> int:
    """Index of the body of which the camera sees the largest area, or of the one under a click.

    Raises:
        NoObjectError: There is no body, or none within `radius` pixels of the click (column, row).
    """
    if not clusters:
        raise NoObjectError(
            'No object stands on the table inside the workspace; put one there, or check the '
            'workspace box and the camera calibration.'
        )
    if click is None:
        return 0
    distances = []
    for cluster in clusters:
        rows, columns = np.nonzero(cluster.mask)
        distances.append(float(np.hypot(columns - click[0], rows - click[1]).min()))
    best = int(np.argmin(distances))
    if distances[best] > radius:
        raise NoObjectError(
            f'No object lies within {radius} pixels of the click {click}; '
            f'{len(clusters)} other object(s) are on the table, click on one of them.'
        )
    return best


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


def _cloud(mask: Mask, view: DepthView) -> cKDTree:
    """Some points of a part."""
    rows, columns = np.nonzero(mask)
    thin = slice(None, None, -(-len(rows) // _SAMPLES))
    return cKDTree(view.points(rows[thin], columns[thin]))


def _joined(
    clouds: list[cKDTree], stands: npt.NDArray[np.bool_], settings: SegmentationSettings
) -> npt.NDArray[np.int32]:
    """Number of the group of each part; see `find_clusters` for which belong together."""
    near = np.eye(len(clouds), dtype=np.bool_)
    for i, first in enumerate(clouds):
        for j, second in enumerate(clouds[:i]):
            limit = settings.merge_gap if stands[i] == stands[j] else settings.hanging_gap
            distance, _ = first.query(second.data, distance_upper_bound=limit)
            near[i, j] = np.isfinite(distance).any()
    return np.asarray(connected_components(near, directed=False)[1])
