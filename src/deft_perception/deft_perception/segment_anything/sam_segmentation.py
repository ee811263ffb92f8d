# SPDX-License-Identifier: Apache-2.0
"""The object on the table by Segment Anything, placed in space by depth.

The model sees colour, so it finds outlines where depth is missing; the table and what stands on it
still come from depth. Which object: the one under the click, the one the sentence speaks of, or
the most prominent body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.camera import Mask, RgbdFrame
from deft_core.errors import NoObjectError
from deft_core.observation import ObjectObservation
from deft_core.task import ObjectRule
from deft_core.validation import FloatArray
from deft_perception.segment_anything.sam2 import MaskProposal, Sam2Predictor, load_sam2
from deft_perception.segment_anything.text_ranking import TextRanker, load_text_ranker
from deft_perception.segmentation.clusters import Cluster, choose_cluster, prominence
from deft_perception.segmentation.object_rule import meant_by
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import TableScene, bounding_box, check_click

_SAME: Final = 0.8  # intersection over union above which two masks are one
_BOX_MARGIN: Final = 4  # pixels around a body, because its edges lack depth


class SamSegmentation:
    """Finds one object on the table; see `Segmenter`."""

    def __init__(
        self, settings: SegmentationSettings, masks: Sam2Predictor, ranker: TextRanker | None
    ) -> None:
        """Take Segment Anything, and what reads the instruction; None leaves it unread."""
        settings.workspace()
        self.settings = settings
        self._masks = masks
        self._ranker = ranker

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
        """Find the object; see `Segmenter.segment`."""
        check_click(click, frame.intrinsics)
        meant = None if click is not None else rule
        scene = TableScene(frame, T_base_camera, self.settings, rng)
        ranker = self._ranker if click is None and instruction.strip() else None
        clusters = scene.clusters() if click is None else []
        quality = {'clicked': float(click is not None)}
        if click is None and not scene.candidates.any():
            raise NoObjectError(
                'Nothing stands on the table inside the workspace; put the object there, or check '
                'the workspace box and the camera calibration.'
            )
        self._masks.set_image(frame.color)
        if click is not None:
            proposals = self._masks.at_points([click])
        elif ranker is not None:
            proposals = [*self._around(clusters), *self._masks.at_points(self._grid(scene))]
        else:
            if meant is not None:
                clusters = meant_by(meant, clusters, scene.view, scene.above)
            prominent = choose_cluster(clusters, None, 0)
            quality |= prominence(clusters, prominent)
            proposals = self._around([clusters[prominent]])
        usable = self._usable(scene, proposals)
        if not usable:
            raise NoObjectError(
                f'Segment Anything offers no mask that stands on the table{_where(click)}; of '
                f'{len(proposals)} masks none was both rated {self.settings.least_mask_score} or '
                'better and above the table.'
            )
        quality['masks'] = float(len(usable))
        if ranker is not None:
            chances = ranker.probabilities(
                frame.color, [proposal.mask for proposal in usable], instruction
            )
            best = int(np.argmax(chances))
            chosen = usable[best]
            quality['text_probability'] = float(chances[best])
        else:
            chosen = max(usable, key=lambda proposal: proposal.score)
        quality['mask_score'] = chosen.score
        seen = chosen.mask & scene.candidates
        if meant is not None and meant.part is not None:
            return scene.observe(scene.part(seen, meant.part), quality, calibration_id)
        return scene.observe(seen, quality, calibration_id, outline=chosen.mask)

    def _around(self, clusters: Sequence[Cluster]) -> list[MaskProposal]:
        """One mask for each body that depth tells."""
        margin = np.array([-1, -1, 1, 1]) * _BOX_MARGIN
        boxes = [bounding_box(cluster.mask) + margin for cluster in clusters]
        return self._masks.in_boxes(boxes) if boxes else []

    def _grid(self, scene: TableScene) -> FloatArray:
        """Points on whatever stands on the table. Shape (n, 2). [pixel]."""
        step = self.settings.grid_step
        rows, columns = np.nonzero(scene.candidates[step // 2 :: step, step // 2 :: step])
        points = np.stack([columns, rows], axis=1) * step + step // 2
        if len(points) > 0:
            return points.astype(np.float64)
        rows, columns = np.nonzero(scene.candidates)  # smaller than the grid
        middle = len(rows) // 2
        return np.array([[columns[middle], rows[middle]]], dtype=np.float64)

    def _usable(self, scene: TableScene, proposals: Sequence[MaskProposal]) -> list[MaskProposal]:
        """Masks of bodies on the table, best first, each once."""
        kept: list[MaskProposal] = []
        for proposal in sorted(proposals, key=lambda one: -one.score):
            if proposal.score < self.settings.least_mask_score:
                break
            if self._stands(scene, proposal.mask) and not any(
                _overlap(proposal.mask, other.mask) > _SAME for other in kept
            ):
                kept.append(proposal)
        return kept

    def _stands(self, scene: TableScene, mask: Mask) -> bool:
        """Whether a mask shows something on the table that is large enough."""
        with_depth = np.count_nonzero(mask & scene.view.valid)
        seen = np.flatnonzero(mask & scene.candidates)
        return bool(
            with_depth > 0
            and len(seen) >= with_depth * self.settings.least_above_table
            and scene.view.pixel_areas(seen).sum() >= self.settings.minimum_area
        )


def open_sam_segmentation(settings: SegmentationSettings) -> SamSegmentation:
    """The back end `sam2` with the weights of the user's folder; raises as `make_segmenter`."""
    ranker = load_text_ranker() if settings.read_instruction else None
    return SamSegmentation(settings, load_sam2(settings.sam2_model), ranker)


def _overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks that are not empty."""
    return float(np.count_nonzero(first & second)) / float(np.count_nonzero(first | second))


def _where(click: tuple[int, int] | None) -> str:
    return '' if click is None else f' at the click {click}'
