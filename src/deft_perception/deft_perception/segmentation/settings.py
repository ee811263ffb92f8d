# SPDX-License-Identifier: Apache-2.0
"""Settings of the segmentation; every back end reads the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deft_core.configuration import bounds
from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array


@dataclass(frozen=True)
class SegmentationSettings:
    """What an object is; lengths in the base frame.

    Attributes:
        backend: 'plane' needs no weights; 'sam2' is Segment Anything 2.1.
        sam2_model: Which one, 'hiera_tiny' or 'hiera_small'.
        read_instruction: Let the task sentence choose among the masks (open_clip); only `sam2`.
        grid_step: Where nobody clicks and a sentence chooses, points this far apart are offered
            besides the boxes of the bodies. [pixel].
        least_mask_score: Masks that the model itself rates lower are dropped.
        least_above_table: Share of a mask's pixels with depth that must stand above the table.
        workspace_minimum: Lower corner of the box in which objects are sought. [m].
        workspace_maximum: Upper corner of that box. [m].
        table_height: Expected height of the table top. [m].
        table_height_tolerance: The plane is sought this far above and below. [m].
        maximum_table_tilt: A plane tilted more is not the table. [rad].
        plane_inlier_distance: Points nearer to the plane support it. [m].
        minimum_height: What stands lower above the table is taken for the table. [m].
        noise_factor: The least height is also this many times the noise seen on the table.
        depth_jump: A larger step between neighbouring pixels separates two surfaces. [m].
        minimum_area: Smaller clusters, measured as seen by the camera, are dropped. [m^2].
        merge_gap: Clusters nearer than this are parts of one object. [m].
        hanging_gap: The same between a cluster that hangs in the air and one that stands. [m].
        maximum_clearance: A cluster not seen beside the table below this height hangs in the
            air: it is part of an object near it, else of the robot. [m].
        click_radius: How far beside an object a click may be. [pixel].
        crop_margin: Added around the object on each side, as a share of its longer side.
        maximum_points: More points than this are thinned out.
    """

    backend: str = 'plane'
    sam2_model: str = 'hiera_tiny'
    read_instruction: bool = False
    grid_step: int = field(default=24, metadata=bounds(4, 200, 'pixel'))
    least_mask_score: float = field(default=0.7, metadata=bounds(0.0, 1.0))
    least_above_table: float = field(default=0.6, metadata=bounds(0.0, 1.0))
    workspace_minimum: tuple[float, ...] = field(
        default=(0.25, -0.40, -0.05), metadata=bounds(-2.0, 2.0, 'm')
    )
    workspace_maximum: tuple[float, ...] = field(
        default=(0.80, 0.40, 0.35), metadata=bounds(-2.0, 2.0, 'm')
    )
    table_height: float = field(default=0.0, metadata=bounds(-1.0, 1.0, 'm'))
    table_height_tolerance: float = field(default=0.04, metadata=bounds(0.005, 0.3, 'm'))
    maximum_table_tilt: float = field(default=0.10, metadata=bounds(0.0, 0.8, 'rad'))
    plane_inlier_distance: float = field(default=0.008, metadata=bounds(0.001, 0.05, 'm'))
    minimum_height: float = field(default=0.006, metadata=bounds(0.001, 0.1, 'm'))
    noise_factor: float = field(default=4.0, metadata=bounds(1.0, 20.0))
    depth_jump: float = field(default=0.012, metadata=bounds(0.002, 0.2, 'm'))
    minimum_area: float = field(default=1.5e-4, metadata=bounds(0.0, 0.1, 'm^2'))
    merge_gap: float = field(default=0.012, metadata=bounds(0.0, 0.1, 'm'))
    hanging_gap: float = field(default=0.05, metadata=bounds(0.0, 0.2, 'm'))
    maximum_clearance: float = field(default=0.03, metadata=bounds(0.0, 0.5, 'm'))
    click_radius: int = field(default=8, metadata=bounds(0, 100, 'pixel'))
    crop_margin: float = field(default=0.25, metadata=bounds(0.0, 2.0))
    maximum_points: int = field(default=4096, metadata=bounds(100, 1_000_000))

    def workspace(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper corner of the workspace. Shape (3,) each. [m].

        Raises:
            InvalidInputError: They are not points, or the box is empty.
        """
        low = finite_array('workspace_minimum', self.workspace_minimum, (3,))
        high = finite_array('workspace_maximum', self.workspace_maximum, (3,))
        if not np.all(high > low):
            raise InvalidInputError(
                f'workspace_maximum {high.tolist()} must exceed workspace_minimum '
                f'{low.tolist()} on every axis.'
            )
        return low, high
