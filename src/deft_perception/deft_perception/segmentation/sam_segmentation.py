# SPDX-License-Identifier: Apache-2.0
"""The object on the table by Segment Anything, placed in space by depth.

The model sees colour, so it finds outlines where depth is missing; the table and what stands on it
still come from depth. Which object: the one under the click, the one the sentence speaks of, or
the most prominent body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_core.camera import ColorImage, RgbdFrame
from deft_core.errors import NoObjectError
from deft_core.observation import ObjectObservation
from deft_core.validation import FloatArray
from deft_perception.segmentation.depth_view import Mask
from deft_perception.segmentation.mask_model import MaskModel, MaskProposal
from deft_perception.segmentation.sam2 import load_sam2
from deft_perception.segmentation.sam_model import load_sam
from deft_perception.segmentation.segmenter import SegmenterSettings
from deft_perception.segmentation.table_scene import TableScene, check_click, workspace_box
from deft_perception.segmentation.text_ranking import load_text_ranker

_SAME: Final = 0.8  # intersection over union above which two masks are one
_BOX_MARGIN: Final = 4  # pixels around a body, because its edges lack depth


class Ranker(Protocol):
    """What is needed of a text model."""

    def probabilities(
        self, color: ColorImage, masks: Sequence[Mask], instruction: str
    ) -> FloatArray:
        """How likely the sentence speaks of each mask. Shape (n,)."""


class SamSegmentation:
    """Finds one object on the table; see `Segmenter`."""

    def __init__(
        self, settings: SegmenterSettings, masks: MaskModel, ranker: Ranker | None
    ) -> None:
        """Take the models.

        Args:
            settings: Table, workspace, and what counts as a mask.
            masks: Segment Anything.
            ranker: Reads the instruction; None leaves it unread.

        Raises:
            InvalidInputError: The workspace box is empty.
        """
        workspace_box(settings)
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
        calibration_id: str = '',
    ) -> ObjectObservation:
        """Find the object; see `Segmenter.segment`.

        Raises:
            DepthMissingError: No pixel has depth.
            NoObjectError: No table or no object is seen, none under the click, or no usable mask.
            InvalidInputError: The transform is not a finite (4, 4), or the click lies outside.
        """
        check_click(click, frame.intrinsics)
        scene = TableScene(frame, T_base_camera, self.settings, rng)
        read = self._ranker is not None and click is None and bool(instruction.strip())
        if click is None and not scene.candidates.any():
            raise NoObjectError(
                'Nothing stands on the table inside the workspace; put the object there, or check '
                'the workspace box and the camera calibration.'
            )
        self._masks.show(frame.color)
        if click is not None:
            proposals = self._masks.at_points([click])
        elif read:
            proposals = [*self._prominent(scene), *self._masks.at_points(self._grid(scene))]
        else:
            proposals = self._prominent(scene)[:1]
        usable = self._usable(scene, proposals)
        if not usable:
            raise NoObjectError(
                f'Segment Anything offers no mask that stands on the table{_where(click)}; of '
                f'{len(proposals)} masks none was both rated {self.settings.least_mask_score} or '
                'better and above the table.'
            )
        quality = {'masks': float(len(usable)), 'clicked': float(click is not None)}
        if read and self._ranker is not None:
            chances = self._ranker.probabilities(
                frame.color, [proposal.mask for proposal in usable], instruction
            )
            order = np.argsort(-chances, kind='stable')
            chosen = usable[int(order[0])]
            quality['text_probability'] = float(chances[order[0]])
        else:
            chosen = max(usable, key=lambda proposal: proposal.score)
        quality['mask_score'] = chosen.score
        seen = self._seen(scene, chosen.mask)
        return scene.observe(seen, quality, calibration_id, outline=chosen.mask)

    def _prominent(self, scene: TableScene) -> list[MaskProposal]:
        """One mask for each body that depth tells, largest first."""
        boxes = []
        for cluster in scene.clusters():
            rows, columns = np.nonzero(cluster.mask)
            boxes.append(
                [
                    columns.min() - _BOX_MARGIN,
                    rows.min() - _BOX_MARGIN,
                    columns.max() + _BOX_MARGIN,
                    rows.max() + _BOX_MARGIN,
                ]
            )
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
        with_depth = int(np.count_nonzero(mask & scene.view.valid))
        seen = self._seen(scene, mask)
        if (
            with_depth == 0
            or np.count_nonzero(seen) < with_depth * self.settings.least_above_table
        ):
            return False
        area = float(scene.view.pixel_areas(np.flatnonzero(seen)).sum())
        return area >= self.settings.minimum_area

    @staticmethod
    def _seen(scene: TableScene, mask: Mask) -> Mask:
        """Pixels of a mask whose depth puts them on the table, inside the workspace."""
        return np.asarray(mask & scene.candidates)


def open_sam_segmentation(settings: SegmenterSettings) -> SamSegmentation:
    """The back end `sam` or `sam2` with the weights of the user's folder.

    Raises:
        ConfigurationError: A library or a weights file is missing, or a checksum is wrong.
        InvalidInputError: The workspace box is empty.
    """
    ranker = load_text_ranker() if settings.read_instruction else None
    masks: MaskModel = (
        load_sam2(settings.sam2_model)
        if settings.backend == 'sam2'
        else load_sam(settings.sam_model)
    )
    return SamSegmentation(settings, masks, ranker)


def _overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks that are not empty."""
    return float(np.count_nonzero(first & second)) / float(np.count_nonzero(first | second))


def _where(click: tuple[int, int] | None) -> str:
    return '' if click is None else f' at the click {click}'
