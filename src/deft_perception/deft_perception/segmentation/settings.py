# SPDX-License-Identifier: Apache-2.0
"""Settings of the segmentation; every back end reads the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
    grid_step: int = field(default=24, metadata={'minimum': 4, 'maximum': 200, 'unit': 'pixel'})
    least_mask_score: float = field(default=0.7, metadata={'minimum': 0.0, 'maximum': 1.0})
    least_above_table: float = field(default=0.6, metadata={'minimum': 0.0, 'maximum': 1.0})
    workspace_minimum: tuple[float, ...] = field(
        default=(0.25, -0.40, -0.05), metadata={'minimum': -2.0, 'maximum': 2.0, 'unit': 'm'}
    )
    workspace_maximum: tuple[float, ...] = field(
        default=(0.80, 0.40, 0.35), metadata={'minimum': -2.0, 'maximum': 2.0, 'unit': 'm'}
    )
    table_height: float = field(
        default=0.0, metadata={'minimum': -1.0, 'maximum': 1.0, 'unit': 'm'}
    )
    table_height_tolerance: float = field(
        default=0.04, metadata={'minimum': 0.005, 'maximum': 0.3, 'unit': 'm'}
    )
    maximum_table_tilt: float = field(
        default=0.10, metadata={'minimum': 0.0, 'maximum': 0.8, 'unit': 'rad'}
    )
    plane_inlier_distance: float = field(
        default=0.008, metadata={'minimum': 0.001, 'maximum': 0.05, 'unit': 'm'}
    )
    minimum_height: float = field(
        default=0.006, metadata={'minimum': 0.001, 'maximum': 0.1, 'unit': 'm'}
    )
    noise_factor: float = field(default=4.0, metadata={'minimum': 1.0, 'maximum': 20.0})
    depth_jump: float = field(
        default=0.012, metadata={'minimum': 0.002, 'maximum': 0.2, 'unit': 'm'}
    )
    minimum_area: float = field(
        default=1.5e-4, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'm^2'}
    )
    merge_gap: float = field(default=0.012, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'm'})
    hanging_gap: float = field(
        default=0.05, metadata={'minimum': 0.0, 'maximum': 0.2, 'unit': 'm'}
    )
    maximum_clearance: float = field(
        default=0.03, metadata={'minimum': 0.0, 'maximum': 0.5, 'unit': 'm'}
    )
    click_radius: int = field(default=8, metadata={'minimum': 0, 'maximum': 100, 'unit': 'pixel'})
    crop_margin: float = field(default=0.25, metadata={'minimum': 0.0, 'maximum': 2.0})
    maximum_points: int = field(default=4096, metadata={'minimum': 100, 'maximum': 1_000_000})

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
