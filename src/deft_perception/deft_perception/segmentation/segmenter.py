# SPDX-License-Identifier: Apache-2.0
"""What every back end of the segmentation offers, and how one is made by its name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.observation import ObjectObservation
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.table_scene import TableSettings

BACK_ENDS: Final = ('plane', 'sam', 'sam2')


class Segmenter(Protocol):
    """Finds one object on the table."""

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
        """Find the object that is clicked on, else that of the instruction, else a prominent one.

        Args:
            frame: Colour and aligned depth.
            T_base_camera: Maps the camera's optical frame to the base frame. Shape (4, 4). [m].
            rng: Draws whatever is random; equal states give equal results.
            click: Pixel (column, row) on the wanted object.
            instruction: Task sentence; a back end may not read it.
            calibration_id: Recorded in the observation.

        Raises:
            DepthMissingError: No pixel has depth.
            NoObjectError: No table or no object is seen, or none under the click.
            InvalidInputError: The transform is not a finite (4, 4), or the click lies outside.
        """


@dataclass(frozen=True)
class SegmenterSettings(TableSettings):
    """Settings of the segmentation with its back end.

    Attributes:
        backend: 'plane' needs no weights; 'sam' is Segment Anything, 'sam2' its faster successor.
        sam_model: Which one, 'vit_b', 'vit_l' or 'vit_h'.
        sam2_model: Which one, 'hiera_tiny' or 'hiera_small'.
        read_instruction: Let the task sentence choose among the masks (open_clip).
        grid_step: Where nobody clicks and a sentence chooses, points this far apart are offered
            besides the boxes of the bodies. [pixel].
        least_mask_score: Masks that the model itself rates lower are dropped.
        least_above_table: Share of a mask's pixels with depth that must stand above the table.
    """

    backend: str = 'plane'
    sam_model: str = 'vit_b'
    sam2_model: str = 'hiera_tiny'
    read_instruction: bool = False
    grid_step: int = field(default=24, metadata={'minimum': 4, 'maximum': 200, 'unit': 'pixel'})
    least_mask_score: float = field(default=0.7, metadata={'minimum': 0.0, 'maximum': 1.0})
    least_above_table: float = field(default=0.6, metadata={'minimum': 0.0, 'maximum': 1.0})


def make_segmenter(settings: SegmenterSettings) -> Segmenter:
    """The back end that the settings name.

    Only what it needs is imported: `plane` must start without torch.

    Raises:
        ConfigurationError: An unknown back end or model, a library or a weights file is missing,
            or a checksum is wrong.
        InvalidInputError: The workspace box is empty.
    """
    if settings.backend not in BACK_ENDS:
        raise ConfigurationError(
            f'Unknown segmentation back end {settings.backend!r}; '
            f'{nearest(settings.backend, BACK_ENDS)}'
        )
    if settings.backend == 'plane':
        if settings.read_instruction:
            raise ConfigurationError(
                "The back end 'plane' sees no colour and cannot read an instruction; set "
                "backend to 'sam' or read_instruction to false."
            )
        return PlaneSegmentation(settings)
    module = importlib.import_module('deft_perception.segmentation.sam_segmentation')
    found: Segmenter = module.open_sam_segmentation(settings)
    return found
