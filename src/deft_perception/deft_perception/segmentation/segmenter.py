# SPDX-License-Identifier: Apache-2.0
"""What every back end of the segmentation offers, and how one is made by its name."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.observation import ObjectObservation
from deft_core.task import ObjectRule
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings

BACK_ENDS: Final = ('plane', 'sam2')


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
        rule: ObjectRule | None = None,
        calibration_id: str = '',
    ) -> ObjectObservation:
        """Find the object that is clicked on, else that of the task, else a prominent one.

        Args:
            frame: Colour and aligned depth.
            T_base_camera: Maps the camera's optical frame to the base frame. Shape (4, 4). [m].
            rng: Draws whatever is random; equal states give equal results.
            click: Pixel (column, row) on the wanted object.
            instruction: Task sentence; a back end may not read it.
            rule: Of the task: which body, and which part of it; unread where there is a click.
            calibration_id: Recorded in the observation.

        Raises:
            DepthMissingError: No pixel has depth.
            NoObjectError: No table or no object is seen, or none under the click.
            InvalidInputError: The transform is not a finite (4, 4), or the click lies outside.
        """


def make_segmenter(settings: SegmentationSettings) -> Segmenter:
    """The back end that the settings name.

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
                "backend to 'sam2' or read_instruction to false."
            )
        return PlaneSegmentation(settings)
    # `plane` must start without torch.
    from deft_perception.segment_anything import sam_segmentation  # noqa: PLC0415

    return sam_segmentation.open_sam_segmentation(settings)
