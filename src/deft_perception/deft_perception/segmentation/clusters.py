# SPDX-License-Identifier: Apache-2.0
"""Pixels above the table, grouped into bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from deft_core.camera import ColorImage, DepthImage, Mask
from deft_core.errors import NoObjectError
from deft_perception.segmentation.depth_view import DepthView
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.touching import LEAST_CORE, is_fragment, tell_apart

_SAMPLES: Final = 400  # points by which the gap between two parts is measured
_CONTACT_REACH: Final = 3  # pixels without depth between a body and the table it stands on
_LEAST_CONTACT: Final = 5  # pixels
_FRAGMENT: Final = 0.25  # of the area of a body; what is larger is no fragment of it
_BORDER: Final = 2  # [pixel] nearer than this is cut by the border
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
    color: ColorImage,
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
        color: RGB. Shape (h, w, 3). It tells things apart that touch.
        settings: What separates and joins bodies.
    """
    edge = view.behind_an_edge(settings.depth_jump)
    surface = candidate & ~edge
    count, labels = cv2.connectedComponents(surface.view(np.uint8), connectivity=8)
    # Only few pixels are candidates: their indices are found once, and sorted by part.
    pixels = np.flatnonzero(surface)
    found = labels.ravel()[pixels]
    areas = np.bincount(found, weights=view.pixel_areas(pixels), minlength=count)
    contact = _beside_the_table(table & ~edge) & (above <= settings.maximum_clearance)
    contacts = np.bincount(found[contact.ravel()[pixels]], minlength=count)
    parts = 1 + np.flatnonzero(areas[1:] > _SPECK * settings.minimum_area)
    stands = contacts[parts] >= _LEAST_CONTACT
    by_part = np.split(pixels[np.argsort(found, kind='stable')], np.cumsum(np.bincount(found)))
    groups = _joined(
        [cKDTree(view.flat_points(by_part[part], _SAMPLES)) for part in parts], stands, settings
    )
    clusters = []
    for group in range(groups.max(initial=-1) + 1):
        members = groups == group
        area = float(areas[parts[members]].sum())
        if area >= settings.minimum_area and stands[members].any():
            body = np.zeros(candidate.shape, dtype=np.bool_)
            for part in parts[members]:
                body.ravel()[by_part[part]] = True
            things = tell_apart(body, view, color) if area > 2 * LEAST_CORE else [body]
            if len(things) == 1:
                clusters.append(Cluster(body, area))
                continue
            for thing in things:
                area = float(view.pixel_areas(np.flatnonzero(thing)).sum())
                if area >= settings.minimum_area:
                    clusters.append(Cluster(thing, area))
    return _whole(sorted(clusters, key=lambda cluster: -cluster.area), color)


def _whole(clusters: list[Cluster], color: ColorImage) -> list[Cluster]:
    """Bodies, largest first, each with its fragments."""
    boxes = [cv2.boundingRect(cluster.mask.view(np.uint8)) for cluster in clusters]
    whole: list[tuple[Cluster, Sequence[int]]] = []
    for cluster, box in zip(clusters, boxes, strict=True):
        for index, (larger, around) in enumerate(whole):
            if (
                cluster.area < _FRAGMENT * larger.area
                and _contains(around, box)
                and is_fragment(cluster.mask, larger.mask, color)
            ):
                joined = Cluster(larger.mask | cluster.mask, larger.area + cluster.area)
                whole[index] = (joined, around)
                break
        else:
            whole.append((cluster, box))
    return [cluster for cluster, _ in whole]


def _contains(outer: Sequence[int], inner: Sequence[int]) -> bool:
    """Whether one box (left, top, width, height) lies in another."""
    return all(
        outer[i] <= inner[i] and inner[i] + inner[i + 2] <= outer[i] + outer[i + 2] for i in (0, 1)
    )


def choose_cluster(
    clusters: list[Cluster], click: tuple[int, int] | None, radius: int, step: int = 1
) -> int:
    """Index of the body under a click; without one, of the whole body with the largest seen area.

    A click into a body without depth, such as the middle of a bowl, is one on what surrounds it.
    A body that the border of the image cuts is taken only where there is no whole one. The masks
    hold every `step`-th pixel of the image in which the click (column, row) lies.

    Raises:
        NoObjectError: There is no body, or none within `radius` pixels of the click.
    """
    if not clusters:
        raise NoObjectError(
            'No object stands on the table inside the workspace; put one there, or check the '
            'workspace box and the camera calibration.'
        )
    if click is None:
        whole = [i for i, cluster in enumerate(clusters) if not _touches_border(cluster.mask)]
        return whole[0] if whole else 0
    place, reach = (click[0] // step, click[1] // step), max(1, radius // step)
    near = [_distance(cluster.mask, place, reach) for cluster in clusters]
    best = int(np.argmin(near))
    if near[best] > reach:
        around = [i for i, cluster in enumerate(clusters) if _surrounds(cluster.mask, place)]
        if around:
            return around[-1]  # the smallest
        raise NoObjectError(
            f'No object lies within {radius} pixels of the click {click}; '
            f'{len(clusters)} other object(s) are on the table, click on one of them.'
        )
    return best


def prominence(clusters: list[Cluster], chosen: int) -> dict[str, float]:
    """Quality figures of a choice: how many bodies there are, and how large the next one is."""
    others = [cluster.area for i, cluster in enumerate(clusters) if i != chosen]
    return {
        'clusters': float(len(clusters)),
        'runner_up_area_ratio': max(others, default=0.0) / clusters[chosen].area,
    }


def _distance(mask: Mask, pixel: tuple[int, int], radius: int) -> float:
    """From a pixel (column, row) to a mask; infinite beyond the radius. [pixel]."""
    left, top = max(pixel[0] - radius, 0), max(pixel[1] - radius, 0)
    rows, columns = np.nonzero(mask[top : pixel[1] + radius + 1, left : pixel[0] + radius + 1])
    distances = np.hypot(columns + left - pixel[0], rows + top - pixel[1])
    return float(distances.min(initial=np.inf))


def _touches_border(mask: Mask) -> bool:
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    rows, columns = mask.shape
    return bool(
        left <= _BORDER
        or top <= _BORDER
        or left + width >= columns - _BORDER
        or top + height >= rows - _BORDER
    )


def _surrounds(mask: Mask, pixel: tuple[int, int]) -> bool:
    """Whether a pixel lies inside the convex hull of a mask."""
    hull = cv2.convexHull(cv2.findNonZero(mask.view(np.uint8)))
    return bool(
        cv2.pointPolygonTest(hull.astype(np.float32), tuple(map(float, pixel)), False) >= 0
    )


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


def _joined(
    clouds: list[cKDTree], stands: npt.NDArray[np.bool_], settings: SegmentationSettings
) -> npt.NDArray[np.int32]:
    """Number of the group of each part; see `find_clusters` for which belong together."""
    near = np.eye(len(clouds), dtype=np.bool_)
    for i, first in enumerate(clouds):
        for j, second in enumerate(clouds[:i]):
            limit = settings.merge_gap if stands[i] == stands[j] else settings.hanging_gap
            gaps = np.maximum(first.mins - second.maxes, second.mins - first.maxes)
            if gaps.max() > limit:
                continue
            distance, _ = first.query(second.data, distance_upper_bound=limit)
            near[i, j] = np.isfinite(distance).any()
    return np.asarray(connected_components(near, directed=False)[1])
