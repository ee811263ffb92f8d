# SPDX-License-Identifier: Apache-2.0
"""What makes a good calibration, and how its views are taken."""

from __future__ import annotations

from dataclasses import dataclass, field

from deft_core.configuration import bounds


@dataclass(frozen=True)
class CalibrationSettings:
    """What a view and a calibration must satisfy.

    Attributes:
        minimum_views: Usable views that are needed.
        minimum_corners: A view with fewer corners is rejected.
        maximum_view_error: Of the board's pose in one view alone; more means blur, a bent board
            or wrong intrinsics. [pixel].
        maximum_obliqueness: Between line of sight and the board's normal. [rad].
        maximum_ambiguity: Error of a pose over that of its mirror image; above this the image
            does not tell which way the board is tilted.
        rejection_factor: Views whose error exceeds this many medians are rejected.
        rejection_floor: Errors below this are never a reason to reject. [pixel].
        corner_deviation: Error of a corner in the image. [pixel].
        arm_translation_deviation: Error of the flange along each axis, where the arm stands. [m].
        arm_rotation_deviation: Likewise about each axis. [rad].
        held_out_share: Share of the views that is kept from the fit to judge it.
        maximum_reprojection_error: Of the held-out views; a calibration above it is refused.
            [pixel].
        maximum_translation_residual: Of the held-out views; likewise. [m].
    """

    minimum_views: int = field(default=8, metadata=bounds(4, 1000))
    minimum_corners: int = field(default=10, metadata=bounds(6, 1000))
    maximum_view_error: float = field(default=0.8, metadata=bounds(0.01, 10.0, 'pixel'))
    maximum_obliqueness: float = field(default=1.15, metadata=bounds(0.1, 1.5, 'rad'))
    maximum_ambiguity: float = field(default=0.7, metadata=bounds(0.0, 1.0))
    rejection_factor: float = field(default=3.0, metadata=bounds(1.5, 20.0))
    rejection_floor: float = field(default=1.0, metadata=bounds(0.0, 10.0, 'pixel'))
    corner_deviation: float = field(default=0.1, metadata=bounds(0.01, 5.0, 'pixel'))
    arm_translation_deviation: float = field(default=0.0005, metadata=bounds(0.0, 0.05, 'm'))
    arm_rotation_deviation: float = field(default=0.0005, metadata=bounds(0.0, 0.1, 'rad'))
    held_out_share: float = field(default=0.25, metadata=bounds(0.0, 0.5))
    maximum_reprojection_error: float = field(default=3.0, metadata=bounds(0.1, 50.0, 'pixel'))
    maximum_translation_residual: float = field(default=0.006, metadata=bounds(0.0005, 0.1, 'm'))


@dataclass(frozen=True)
class CollectionSettings:
    """When the arm rests and when a view is a new one.

    Attributes:
        still_time: The arm must not move for this long before an image counts. [s].
        still_tolerance: Joints that change less do not move. [rad].
        arrival_tolerance: A driven arm must rest this close to its posture. [rad].
        least_turn: A person's view is new if the flange turned by this, or [rad].
        least_shift: shifted by this, since every earlier one. [m].
    """

    still_time: float = field(default=0.5, metadata=bounds(0.0, 10.0, 's'))
    still_tolerance: float = field(default=0.003, metadata=bounds(0.0, 0.1, 'rad'))
    arrival_tolerance: float = field(default=0.03, metadata=bounds(0.001, 0.5, 'rad'))
    least_turn: float = field(default=0.12, metadata=bounds(0.0, 3.0, 'rad'))
    least_shift: float = field(default=0.05, metadata=bounds(0.0, 1.0, 'm'))
