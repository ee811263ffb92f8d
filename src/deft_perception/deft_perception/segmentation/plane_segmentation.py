# SPDX-License-Identifier: Apache-2.0
"""The object on the table from aligned depth alone: table plane, what stands above it, clusters.

This is the default back end: it needs no weights and works for any opaque object that stands on a
table. Depth finds things, colour helps to tell them apart; the task sentence is not read. Images
much wider than 640 pixels are thinned out first: nothing here needs more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.observation import ObjectObservation
from deft_core.task import ObjectRule
from deft_perception.segmentation.background import without_smear
from deft_perception.segmentation.clusters import choose_cluster, prominence
from deft_perception.segmentation.object_rule import meant_by
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import (
    TableScene,
    bounding_box,
    check_click,
    square_crop,
)

_WIDTH: Final = 640  # [pixel]


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
        step = max(1, frame.intrinsics.width // _WIDTH)
        small = frame if step == 1 else frame.thinned(step)
        scene = TableScene(small, T_base_camera, self.settings, rng)
        clusters = scene.clusters()
        meant = None if click is not None else rule
        if meant is not None:
            clusters = meant_by(meant, clusters, scene.view, scene.above)
        chosen = choose_cluster(clusters, click, self.settings.click_radius, step)
        quality = {**prominence(clusters, chosen), 'clicked': float(click is not None)}
        seen = without_smear(clusters[chosen].mask, scene.table, small.color)
        if meant is not None and meant.part is not None:
            seen = scene.part(seen, meant.part)
        found = scene.observe(seen, quality, calibration_id)
        return found if step == 1 else self._enlarged(found, frame, step)

    def _enlarged(
        self, found: ObjectObservation, frame: RgbdFrame, step: int
    ) -> ObjectObservation:
        """What was found among every `step`-th pixel, in the pixels of the whole frame."""
        rows, columns = frame.depth.shape
        mask = found.mask.repeat(step, axis=0).repeat(step, axis=1)[:rows, :columns]
        return replace(
            found,
            mask=mask,
            crop_box=square_crop(bounding_box(mask), mask.shape, self.settings.crop_margin),
            pixels=None if found.pixels is None else step * found.pixels,
            depth=np.where(mask, frame.depth, np.float32(np.nan)),
            quality={**found.quality, 'pixels': float(np.count_nonzero(mask))},
        )
