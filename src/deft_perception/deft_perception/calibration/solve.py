# SPDX-License-Identifier: Apache-2.0
"""From views of the board to the pose of the camera: solve, reject, refine, and judge honestly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.camera import CameraIntrinsics
from deft_core.errors import DeftError
from deft_perception.calibration.board import reprojection_residuals, root_mean_square
from deft_perception.calibration.hand_eye import (
    CalibrationView,
    HandEyeSolution,
    Refinement,
    check_turns,
    pose_difference,
    refine,
)
from deft_perception.calibration.settings import CalibrationSettings

_SURE: Final = 4.0  # standard deviations


class TooFewViewsError(DeftError):
    """Too few usable views for a calibration."""


class LargeResidualError(DeftError):
    """The views contradict each other, so the calibration is not trusted."""


@dataclass(frozen=True, eq=False)
class ViewResidual:
    """What a solution leaves unexplained in one view."""

    name: str
    held_out: bool  # the view took no part in the fit that is judged
    reprojection: float  # root mean square over its corners [pixel]
    translation: float  # board through arm and mount against board through the camera [m]
    rotation: float  # likewise [rad]


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """A calibration and what speaks for it."""

    refinement: Refinement  # transforms from all used views, and their deviations
    judged: ViewResidual  # root mean squares over the held-out views of the fit without them
    # residuals of every used view; those held out under the fit without them
    views: tuple[ViewResidual, ...]
    rejected: tuple[tuple[str, str], ...]  # name of every rejected view and the reason

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
    2. The ways of the arm measure the squares of the board.
    3. Every fourth view or so is held out; the fit of the rest is judged on them.
    4. The result is the fit of all accepted views.

    Raises:
        TooFewViewsError: Fewer usable views than needed.
        InvalidInputError: The views turn the flange about one axis only.
        LargeResidualError: The residuals on held-out views are too large, or the squares have
            another size than stated.
    """
    rejected = [
        (view.name, reason) for view in views if (reason := reason_to_reject(view, settings))
    ]
    useless = {name for name, _ in rejected}
    kept = [view for view in views if view.name not in useless]
    _require(kept, rejected, settings)
    check_turns(kept)
    kept, contradicting = _without_contradictions(kept, camera, settings)
    rejected += contradicting
    _require(kept, rejected, settings)
    _check_squares(kept, camera, settings)
    held_out = _held_out(len(kept), settings.held_out_share)
    training = [view for index, view in enumerate(kept) if index not in held_out]
    without = refine(training, camera, settings).solution
    final = refine(kept, camera, settings)
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
    judged = result.judged
    if (
        judged.reprojection > settings.maximum_reprojection_error
        or judged.translation > settings.maximum_translation_residual
    ):
        raise LargeResidualError(
            f'On views that took no part the calibration is off by {judged.reprojection:.2f} '
            f'pixel and {1000.0 * judged.translation:.1f} mm (allowed: '
            f'{settings.maximum_reprojection_error:.2f} pixel, '
            f'{1000.0 * settings.maximum_translation_residual:.1f} mm); is the board firm on the '
            'flange and the arm at rest in every view?'
        )
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


def _without_contradictions(
    views: list[CalibrationView], camera: CameraIntrinsics, settings: CalibrationSettings
) -> tuple[list[CalibrationView], list[tuple[str, str]]]:
    """Views that agree under a robust fit, and the others with the reason."""
    robust = refine(views, camera, settings, robust=True).solution
    errors = np.array([_residual(robust, view, camera, False).reprojection for view in views])
    limit = max(settings.rejection_floor, settings.rejection_factor * float(np.median(errors)))
    kept = [view for view, error in zip(views, errors, strict=True) if error <= limit]
    rejected = [
        (view.name, f'{error:.1f} pixel off what the other views say')
        for view, error in zip(views, errors, strict=True)
        if error > limit
    ]
    return kept, rejected


def _check_squares(
    views: list[CalibrationView], camera: CameraIntrinsics, settings: CalibrationSettings
) -> None:
    """Refuse a board whose squares are not as long as stated: the depth of all views is wrong.

    Residuals hardly show it, since a camera that is moved makes up for most of it.
    """
    fit = refine(views, camera, settings, seek_scale=True)
    if abs(fit.scale - 1.0) > max(settings.maximum_square_error, _SURE * fit.scale_deviation):
        raise LargeResidualError(
            f'Seen from the arm, the squares of the board are {100.0 * fit.scale:.2f} % of the '
            f'stated length (standard deviation {100.0 * fit.scale_deviation:.2f} %). Measure '
            'several together, correct square_length in the file of the board and in the '
            'views.json of this run, and solve again with `deft calibrate solve`. If it is '
            'right, the focal length in camera_info is not.'
        )


def _held_out(count: int, share: float) -> set[int]:
    """Indices spread evenly over the order of the views."""
    number = round(share * count)
    return {int((index + 0.5) * count / number) for index in range(number)}


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
