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
from deft_perception.segmentation.clusters import choose_cluster
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
        calibration_id: str = '',
    ) -> ObjectObservation:
        """Find the most prominent object, or the one under a click; see `Segmenter.segment`."""
        del instruction
        check_click(click, frame.intrinsics)
        scene = TableScene(frame, T_base_camera, self.settings, rng)
        clusters = scene.clusters()
        chosen = choose_cluster(clusters, click, self.settings.click_radius)
        others = [cluster.area for i, cluster in enumerate(clusters) if i != chosen]
        quality = {
            'clusters': float(len(clusters)),
            'runner_up_area_ratio': max(others, default=0.0) / clusters[chosen].area,
            'clicked': float(click is not None),
        }
        return scene.observe(clusters[chosen].mask, quality, calibration_id)
