# SPDX-License-Identifier: Apache-2.0
"""From views of the board to the pose of the camera: solve, reject, refine, and judge honestly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.errors import DeftError
from deft_core.validation import FloatArray
from deft_perception.calibration.board import (
    BoardDetection,
    BoardPose,
    reprojection_residuals,
    root_mean_square,
)
from deft_perception.calibration.hand_eye import (
    HandEyeSolution,
    MeasurementNoise,
    Refinement,
    check_turns,
    pose_difference,
    refine,
    solve_shah,
)


class TooFewViewsError(DeftError):
    """Too few usable views for a calibration."""


class LargeResidualError(DeftError):
    """The views contradict each other, so the calibration is not trusted."""


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

    minimum_views: int = field(default=8, metadata={'minimum': 4, 'maximum': 1000})
    minimum_corners: int = field(default=10, metadata={'minimum': 6, 'maximum': 1000})
    maximum_view_error: float = field(
        default=0.8, metadata={'minimum': 0.01, 'maximum': 10.0, 'unit': 'pixel'}
    )
    maximum_obliqueness: float = field(
        default=1.15, metadata={'minimum': 0.1, 'maximum': 1.5, 'unit': 'rad'}
    )
    maximum_ambiguity: float = field(default=0.7, metadata={'minimum': 0.0, 'maximum': 1.0})
    rejection_factor: float = field(default=3.0, metadata={'minimum': 1.5, 'maximum': 20.0})
    rejection_floor: float = field(
        default=1.0, metadata={'minimum': 0.0, 'maximum': 10.0, 'unit': 'pixel'}
    )
    corner_deviation: float = field(
        default=0.1, metadata={'minimum': 0.01, 'maximum': 5.0, 'unit': 'pixel'}
    )
    arm_translation_deviation: float = field(
        default=0.0005, metadata={'minimum': 0.0, 'maximum': 0.05, 'unit': 'm'}
    )
    arm_rotation_deviation: float = field(
        default=0.0005, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'rad'}
    )
    held_out_share: float = field(default=0.25, metadata={'minimum': 0.0, 'maximum': 0.5})
    maximum_reprojection_error: float = field(
        default=3.0, metadata={'minimum': 0.1, 'maximum': 50.0, 'unit': 'pixel'}
    )
    maximum_translation_residual: float = field(
        default=0.006, metadata={'minimum': 0.0005, 'maximum': 0.1, 'unit': 'm'}
    )


@dataclass(frozen=True, eq=False)
class CalibrationView:
    """One look at the board while the arm stands still.

    Attributes:
        name: What the report calls it.
        T_base_flange: Pose of the flange from the arm. Shape (4, 4). [m].
        detection: Corners of the board in the image.
        pose: Where the image alone puts the board.
    """

    name: str
    T_base_flange: FloatArray
    detection: BoardDetection
    pose: BoardPose


@dataclass(frozen=True, eq=False)
class ViewResidual:
    """What a solution leaves unexplained in one view.

    Attributes:
        name: Of the view.
        held_out: The view took no part in the fit that is judged.
        reprojection: Root mean square over its corners. [pixel].
        translation: Board through arm and mount against board through the camera. [m].
        rotation: Likewise. [rad].
    """

    name: str
    held_out: bool
    reprojection: float
    translation: float
    rotation: float


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration and what speaks for it.

    Attributes:
        refinement: Transforms from all used views, and their deviations.
        judged: Root mean squares over the held-out views of the fit without them.
        views: Residuals of every used view; those held out under the fit without them.
        rejected: Name of every rejected view and the reason.
    """

    refinement: Refinement
    judged: ViewResidual
    views: tuple[ViewResidual, ...]
    rejected: tuple[tuple[str, str], ...]

    @property
    def solution(self) -> HandEyeSolution:
        """Both transforms."""
        return self.refinement.solution


def reason_to_reject(view: CalibrationView, settings: CalibrationSettings) -> str:
    """Why a single view is useless, or an empty text."""
    count, pose = len(view.detection.corners), view.pose
    if count < settings.minimum_corners:
        return f'{count} corners, at least {settings.minimum_corners} are needed'
    if pose.reprojection_error > settings.maximum_view_error:
        return (
            f'corners are {pose.reprojection_error:.2f} pixel off a flat board, at most '
            f'{settings.maximum_view_error:.2f} are allowed (blur, bent board, intrinsics?)'
        )
    if pose.obliqueness > settings.maximum_obliqueness:
        return (
            f'the board is seen at {pose.obliqueness:.2f} rad, at most '
            f'{settings.maximum_obliqueness:.2f} rad are allowed'
        )
    if pose.ambiguity > settings.maximum_ambiguity:
        return 'the image does not tell which way the board is tilted'
    return ''


def calibrate(
    views: Sequence[CalibrationView], camera: CameraIntrinsics, settings: CalibrationSettings
) -> CalibrationResult:
    """Solve for camera and mount.

    1. Views that are useless by themselves are rejected, then those that contradict the others
       under a robust fit: an arm still moving, a slipped board.
    2. Every fourth view or so is held out; the fit of the rest is judged on them.
    3. The result is the fit of all accepted views.

    Args:
        views: Looks at the board.
        camera: Intrinsics of the images.
        settings: What must be satisfied.

    Raises:
        TooFewViewsError: Fewer usable views than needed.
        InvalidInputError: The views turn the flange about one axis only.
        LargeResidualError: The residuals on held-out views are too large.
    """
    rejected = [
        (view.name, reason) for view in views if (reason := reason_to_reject(view, settings))
    ]
    useless = {name for name, _ in rejected}
    kept = [view for view in views if view.name not in useless]
    _require(kept, rejected, settings)
    check_turns([view.T_base_flange for view in kept])
    kept, contradicting = _without_contradictions(kept, camera, settings)
    rejected += contradicting
    _require(kept, rejected, settings)
    held_out = _held_out(len(kept), settings.held_out_share)
    training = [view for index, view in enumerate(kept) if index not in held_out]
    without = _fit(training, camera, settings).solution
    final = _refine(without, kept, camera, settings)
    residuals = tuple(
        _residual(
            without if index in held_out else final.solution, view, camera, index in held_out
        )
        for index, view in enumerate(kept)
    )
    result = CalibrationResult(
        refinement=final,
        judged=_root_mean_squares([one for one in residuals if one.held_out] or residuals),
        views=residuals,
        rejected=tuple(rejected),
    )
    _require_small(result.judged, settings)
    return result


def _require(
    kept: Sequence[CalibrationView],
    rejected: Sequence[tuple[str, str]],
    settings: CalibrationSettings,
) -> None:
    if len(kept) < settings.minimum_views:
        why = '; '.join(f'{name}: {reason}' for name, reason in rejected[:3])
        raise TooFewViewsError(
            f'{len(kept)} usable views, at least {settings.minimum_views} are needed; '
            + (f'rejected were {len(rejected)} ({why}).' if rejected else 'take more.')
        )


def _require_small(judged: ViewResidual, settings: CalibrationSettings) -> None:
    too_large = (
        judged.reprojection > settings.maximum_reprojection_error
        or judged.translation > settings.maximum_translation_residual
    )
    if too_large:
        raise LargeResidualError(
            f'On views that took no part the calibration is off by {judged.reprojection:.2f} '
            f'pixel and {1000.0 * judged.translation:.1f} mm (allowed: '
            f'{settings.maximum_reprojection_error:.2f} pixel, '
            f'{1000.0 * settings.maximum_translation_residual:.1f} mm); is the board firm on the '
            'flange, its square length measured, and the arm at rest in every view?'
        )


def _without_contradictions(
    views: list[CalibrationView], camera: CameraIntrinsics, settings: CalibrationSettings
) -> tuple[list[CalibrationView], list[tuple[str, str]]]:
    """Views that agree under a robust fit, and the others with the reason."""
    robust = _fit(views, camera, settings, robust=True).solution
    errors = np.array([_residual(robust, view, camera, False).reprojection for view in views])
    limit = max(settings.rejection_floor, settings.rejection_factor * float(np.median(errors)))
    kept = [view for view, error in zip(views, errors, strict=True) if error <= limit]
    rejected = [
        (view.name, f'{error:.1f} pixel off what the other views say')
        for view, error in zip(views, errors, strict=True)
        if error > limit
    ]
    return kept, rejected


def _held_out(count: int, share: float) -> set[int]:
    """Indices spread evenly over the order of the views."""
    number = round(share * count)
    return {int((index + 0.5) * count / number) for index in range(number)}


def _fit(
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    settings: CalibrationSettings,
    *,
    robust: bool = False,
) -> Refinement:
    start = solve_shah(
        [view.T_base_flange for view in views], [view.pose.T_camera_board for view in views]
    )
    return _refine(start, views, camera, settings, robust=robust)


def _refine(
    start: HandEyeSolution,
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    settings: CalibrationSettings,
    *,
    robust: bool = False,
) -> Refinement:
    return refine(
        start,
        [view.T_base_flange for view in views],
        [view.detection for view in views],
        camera,
        MeasurementNoise(
            settings.corner_deviation,
            settings.arm_translation_deviation,
            settings.arm_rotation_deviation,
        ),
        robust=robust,
    )


def _residual(
    solution: HandEyeSolution, view: CalibrationView, camera: CameraIntrinsics, held_out: bool
) -> ViewResidual:
    predicted = solution.board_in_camera(view.T_base_flange)
    pixels = np.nan_to_num(reprojection_residuals(predicted, view.detection, camera), nan=1e4)
    translation, rotation = pose_difference(predicted, view.pose.T_camera_board)
    return ViewResidual(view.name, held_out, root_mean_square(pixels), translation, rotation)


def _root_mean_squares(residuals: Sequence[ViewResidual]) -> ViewResidual:
    values = np.array([[one.reprojection, one.translation, one.rotation] for one in residuals])
    reprojection, translation, rotation = np.sqrt(np.mean(values**2, axis=0)).tolist()
    return ViewResidual('all', residuals[0].held_out, reprojection, translation, rotation)
