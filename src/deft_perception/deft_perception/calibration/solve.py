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
from deft_perception.calibration.hand_eye import METHODS, HandEyeSolution, check_turns, solve
from deft_perception.calibration.hand_eye_refinement import (
    MeasurementNoise,
    Refinement,
    pose_difference,
    refine,
)

REFINED = 'refined'


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


@dataclass(frozen=True)
class MethodResidual:
    """Root mean squares of one method over the held-out views.

    Attributes:
        method: Name in `METHODS`, or 'refined'.
        reprojection: [pixel].
        translation: [m].
        rotation: [rad].
        distance: Of its camera from the refined one of the same views. [m].
    """

    method: str
    reprojection: float
    translation: float
    rotation: float
    distance: float


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration and what speaks for it.

    Attributes:
        refinement: Transforms from all used views, and their deviations.
        methods: Every method on the views that were not held out, judged on those that were.
        views: Residuals of every used view; those held out under the fit without them.
        rejected: Name of every rejected view and the reason.
    """

    refinement: Refinement
    methods: tuple[MethodResidual, ...]
    views: tuple[ViewResidual, ...]
    rejected: tuple[tuple[str, str], ...]

    @property
    def solution(self) -> HandEyeSolution:
        """Both transforms."""
        return self.refinement.solution

    @property
    def judged(self) -> MethodResidual:
        """Residuals of the refined solution on held-out views."""
        return next(method for method in self.methods if method.method == REFINED)


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
    2. Every fourth view or so is held out; all methods solve the rest and are judged on them.
    3. The result is the refined solution of all accepted views.

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
    tests = [view for index, view in enumerate(kept) if index in held_out]
    judges = tests or training
    closed = {name: _solve(name, training) for name in METHODS}
    start = min(closed.values(), key=lambda found: _reprojection(found, training, camera))
    without = _refine(start, training, camera, settings).solution
    methods = [
        _judge(name, found, judges, camera, without)
        for name, found in [*closed.items(), (REFINED, without)]
    ]
    final = _refine(without, kept, camera, settings)
    result = CalibrationResult(
        refinement=final,
        methods=tuple(methods),
        views=tuple(
            _residual(
                without if index in held_out else final.solution, view, camera, index in held_out
            )
            for index, view in enumerate(kept)
        ),
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


def _require_small(judged: MethodResidual, settings: CalibrationSettings) -> None:
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
    starts = [_solve(name, views) for name in METHODS]
    start = min(starts, key=lambda found: _median_reprojection(found, views, camera))
    robust = _refine(start, views, camera, settings, robust=True).solution
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


def _solve(method: str, views: Sequence[CalibrationView]) -> HandEyeSolution:
    return solve(
        method,
        [view.T_base_flange for view in views],
        [view.pose.T_camera_board for view in views],
    )


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


def _median_reprojection(
    solution: HandEyeSolution, views: Sequence[CalibrationView], camera: CameraIntrinsics
) -> float:
    errors = [_residual(solution, view, camera, False).reprojection for view in views]
    return float(np.median(errors))


def _reprojection(
    solution: HandEyeSolution, views: Sequence[CalibrationView], camera: CameraIntrinsics
) -> float:
    errors = [_residual(solution, view, camera, False).reprojection for view in views]
    return float(np.sqrt(np.mean(np.square(errors))))


def _judge(
    method: str,
    solution: HandEyeSolution,
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    refined: HandEyeSolution,
) -> MethodResidual:
    found = [_residual(solution, view, camera, True) for view in views]

    def rms(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    return MethodResidual(
        method=method,
        reprojection=rms([view.reprojection for view in found]),
        translation=rms([view.translation for view in found]),
        rotation=rms([view.rotation for view in found]),
        distance=pose_difference(solution.T_base_camera, refined.T_base_camera)[0],
    )
