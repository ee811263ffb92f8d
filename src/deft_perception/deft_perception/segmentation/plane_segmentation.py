# SPDX-License-Identifier: Apache-2.0
"""The object on the table from aligned depth alone: table plane, what stands above it, clusters.

This is the default back end: it needs no weights and works for any opaque object that stands on a
table. Only depth is used; colour and task sentence are not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.observation import ObjectObservation
from deft_core.task import ObjectRule
from deft_perception.segmentation.clusters import choose_cluster
from deft_perception.segmentation.object_rule import meant_by
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import TableScene, check_click


class PlaneSegmentation:
    """Finds one object on the table; see `Segmenter`.

    Example:
        >>> segmentation = PlaneSegmentation(SegmentationSettings())
        >>> observation = segmentation.segment(
        ...     frame, T_base_camera, np.random.default_rng(0), calibration_id='cell'
        ... )  # doctest: +SKIP
    """

    def __init__(self, settings: SegmentationSettings) -> None:
        """Take the settings; raises InvalidInputError where the workspace box is empty."""
        settings.workspace()
        self.settings = settings

    def segment(
        self,
        frame: RgbdFrame,
        T_base_camera: npt.ArrayLike,
        rng: np.random.Generator,
        *,
        click: tuple[int, int] | None = None,
        instruction: str = '',
        rule: ObjectRule | None = None,
        calibration_id: str = '',
    ) -> ObjectObservation:
        """Find the object that a click or a rule means, else a prominent one; see `Segmenter`."""
        del instruction
        check_click(click, frame.intrinsics)
        scene = TableScene(frame, T_base_camera, self.settings, rng)
        clusters = scene.clusters()
        if click is not None:
            rule = None
        if rule is not None:
            clusters = meant_by(rule, clusters, scene.view, scene.above)
        chosen = choose_cluster(clusters, click, self.settings.click_radius)
        by_area = rule is None or rule.choose == 'largest'
        others = [cluster.area for i, cluster in enumerate(clusters) if by_area and i != chosen]
        quality = {
            'clusters': float(len(clusters)),
            'runner_up_area_ratio': max(others, default=0.0) / clusters[chosen].area,
            'clicked': float(click is not None),
        }
        mask = clusters[chosen].mask
        if rule is not None and rule.part is not None:
            mask = scene.part(mask, rule.part)
        return scene.observe(mask, quality, calibration_id)
