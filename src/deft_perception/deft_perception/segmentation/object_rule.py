# SPDX-License-Identifier: Apache-2.0
"""Which body on the table a task means, and which part of it, by the rule in its file.

The rules speak of what a camera above a table sees: places in the base frame, heights, lengths.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from deft_core.camera import DepthImage, Mask
from deft_core.errors import NoObjectError
from deft_core.task import ObjectRule, PartRule
from deft_core.validation import FloatArray
from deft_perception.segmentation.clusters import Cluster
from deft_perception.segmentation.depth_view import DepthView

_FAR_PERCENTILE = 99.0  # of the points along a direction; the farthest one may be noise
_LEAST_POINTS = 20
_EDGE = 9  # [pixel] width of the depth that is lost along an edge, on both sides of it


def meant_by(
    rule: ObjectRule, clusters: list[Cluster], view: DepthView, above: DepthImage
) -> list[Cluster]:
    """Bodies that satisfy a rule: the one that it means, or, by area, all of them.

    Args:
        rule: Of the task.
        clusters: Bodies on the table, largest first.
        view: The depth image.
        above: Height of every pixel above the table. Shape (h, w). [m].

    Raises:
        NoObjectError: There are bodies, but none is where the rule seeks one.
    """
    if rule.region is None and rule.choose == 'largest':
        return clusters
    points = [view.points(*np.nonzero(cluster.mask)) for cluster in clusters]
    middles = [np.median(cloud, axis=0) for cloud in points]
    kept = list(range(len(clusters)))
    if rule.region is not None:
        lower, upper = np.array(rule.region.lower), np.array(rule.region.upper)
        kept = [i for i in kept if np.all((middles[i] > lower) & (middles[i] < upper))]
        if clusters and not kept:
            places = ', '.join(str(np.round(middle, 3).tolist()) for middle in middles)
            raise NoObjectError(
                f'No object lies in the region of the task, {lower.tolist()} to '
                f'{upper.tolist()} m; seen at {places}. Put the object there, or correct the '
                'region in the task file.'
            )

    def rank(index: int) -> float:
        match rule.choose:
            case 'tallest':
                return float(np.percentile(above[clusters[index].mask], _FAR_PERCENTILE))
            case 'longest':
                return _length(points[index])
            case 'nearest':
                return -float(np.linalg.norm(middles[index][:2]))
        raise AssertionError(rule.choose)

    if rule.choose == 'largest':
        return [clusters[index] for index in kept]
    return [clusters[max(kept, key=rank)]] if kept else []


def part_of(body: Mask, rule: PartRule, candidates: Mask, view: DepthView) -> Mask:
    """Pixels of a body within reach of its farthest point in a direction. Shape (h, w).

    Thin parts, such as a handle in front of a drawer, are cut off a body by the depth that a
    sensor loses along their edges; so whatever stands beside the body in the image, but for such
    an edge, belongs to it here.

    Args:
        body: Pixels of the body. Shape (h, w).
        rule: Direction, and how far the part reaches back.
        candidates: Pixels of anything that stands on the table. Shape (h, w).
        view: The depth image.

    Raises:
        NoObjectError: Too little of the part is seen.
    """
    standing = candidates | body
    bridged = cv2.dilate(standing.astype(np.uint8), np.ones((_EDGE, _EDGE), dtype=np.uint8))
    _, labels = cv2.connectedComponents(bridged, connectivity=8)
    near = standing & np.isin(labels, np.unique(labels[body]))
    along = view.component(np.array(rule.direction) / math.hypot(*rule.direction))
    farthest = float(np.percentile(along[near], _FAR_PERCENTILE))
    part: Mask = near & (along > farthest - rule.depth)
    if np.count_nonzero(part) < _LEAST_POINTS:
        raise NoObjectError(
            f'Only {np.count_nonzero(part)} pixels of the part towards {list(rule.direction)} are '
            f'seen, {_LEAST_POINTS} are needed; turn it towards the camera.'
        )
    return part


def _length(points: FloatArray) -> float:
    """Extent of points (n, 3) along their longest lying direction. [m]."""
    lying = points[:, :2] - points[:, :2].mean(axis=0)
    _, _, directions = np.linalg.svd(lying, full_matrices=False)
    return float(np.ptp(np.percentile(lying @ directions[0], (2.0, 98.0))))
