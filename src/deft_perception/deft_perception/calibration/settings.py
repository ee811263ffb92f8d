# SPDX-License-Identifier: Apache-2.0
"""What makes a good calibration, and how its views are taken."""

from __future__ import annotations

from dataclasses import dataclass, field

from deft_core.configuration import bounds


@dataclass(frozen=True)
class CalibrationSettings:
    """What a view and a calibration must satisfy."""

    minimum_views: int = field(default=8, metadata=bounds(4, 1000))  # usable ones
    # a view with fewer corners is rejected
    minimum_corners: int = field(default=10, metadata=bounds(6, 1000))
    # of the board's pose in one view alone; more means blur, a bent board or wrong intrinsics
    maximum_view_error: float = field(default=0.8, metadata=bounds(0.01, 10.0, 'pixel'))
    # between line of sight and the board's normal
    maximum_obliqueness: float = field(default=1.15, metadata=bounds(0.1, 1.5, 'rad'))
    # error of a pose over that of its mirror image; above this the image does not tell which way
    # the board is tilted
    maximum_ambiguity: float = field(default=0.7, metadata=bounds(0.0, 1.0))
    # views whose error exceeds this many medians are rejected
    rejection_factor: float = field(default=3.0, metadata=bounds(1.5, 20.0))
    # errors below this are never a reason to reject
    rejection_floor: float = field(default=1.0, metadata=bounds(0.0, 10.0, 'pixel'))
    # error of a corner in the image
    corner_deviation: float = field(default=0.1, metadata=bounds(0.01, 5.0, 'pixel'))
    # error of the flange along each axis, where the arm stands
    arm_translation_deviation: float = field(default=0.0005, metadata=bounds(0.0, 0.05, 'm'))
    # likewise about each axis
    arm_rotation_deviation: float = field(default=0.0005, metadata=bounds(0.0, 0.1, 'rad'))
    # of the length of a square, seen from the arm; a calibration above it is refused
    maximum_square_error: float = field(default=0.005, metadata=bounds(0.0005, 0.1))
    # share of the views that is kept from the fit to judge it
    held_out_share: float = field(default=0.25, metadata=bounds(0.0, 0.5))
    # of the held-out views; a calibration above it is refused
    maximum_reprojection_error: float = field(default=3.0, metadata=bounds(0.1, 50.0, 'pixel'))
    # of the held-out views; likewise
    maximum_translation_residual: float = field(default=0.006, metadata=bounds(0.0005, 0.1, 'm'))


@dataclass(frozen=True)
class CollectionSettings:
    """When the arm rests and when a view is a new one."""

    # the arm must not move for this long before an image counts
    still_time: float = field(default=0.5, metadata=bounds(0.0, 10.0, 's'))
    # joints that change less do not move
    still_tolerance: float = field(default=0.003, metadata=bounds(0.0, 0.1, 'rad'))
    # a driven arm must rest this close to its posture
    arrival_tolerance: float = field(default=0.03, metadata=bounds(0.001, 0.5, 'rad'))
    # a person's view is new if, since every earlier one, the flange turned by this,
    least_turn: float = field(default=0.12, metadata=bounds(0.0, 3.0, 'rad'))
    # or shifted by this
    least_shift: float = field(default=0.05, metadata=bounds(0.0, 1.0, 'm'))
