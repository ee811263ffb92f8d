# SPDX-License-Identifier: Apache-2.0
"""Where a fixed camera stands that looks at a board on the moving flange.

For every view i, T_base_flange_i * T_flange_board = T_base_camera * T_camera_board_i. Two unknown
transforms are constant: the camera (wanted) and the mount of the board (a by-product).

The start is the closed form of Shah 2013, which solves for both at once (rotations from a
Kronecker product and its singular value decomposition, then translations). It weighs the board's
pose in every view alike, although a pose from one image is far more exact across the line of
sight than along it. So it is refined: the corners of all views are predicted through arm, mount
and camera, and compared with the seen corners. Two errors make the difference: that of a corner
in the image, independent for each, and that of the arm, which shifts all corners of a view
together. Without the second, a fit of pixels alone turns errors of the arm into errors of the
camera several times as large (benchmarks/calibration.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from deft_core.camera import CameraIntrinsics
from deft_core.errors import InvalidInputError
from deft_core.rotations import (
    invert_transform,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
    transform,
    transform_points,
)
from deft_core.validation import FloatArray
from deft_perception.calibration.board import BoardDetection, BoardPose
from deft_perception.calibration.settings import CalibrationSettings

_LEAST_TURN: Final = 0.05  # [rad] about a second axis; less leaves the solution open
_DIFFERENCE: Final = 1e-6  # [m] and [rad], step of the finite differences
_MOST_EVALUATIONS: Final = 40  # good views need five; views that contradict each other never end


@dataclass(frozen=True, eq=False)
class CalibrationView:
    """One look at the board while the arm stands still."""

    name: str  # what the report calls it
    joints: FloatArray  # of the arm, shape (n,) [rad]
    T_base_flange: FloatArray  # from the arm, shape (4, 4) [m]
    detection: BoardDetection  # corners of the board in the image
    pose: BoardPose  # where the image alone puts the board


@dataclass(frozen=True, eq=False)
class HandEyeSolution:
    """Both constant transforms: camera to base frame, and mount of the board. (4, 4). [m]."""

    T_base_camera: FloatArray
    T_flange_board: FloatArray

    def board_in_camera(self, T_base_flange: FloatArray) -> FloatArray:
        """`T_camera_board` that this solution predicts for a flange pose. Shape (4, 4). [m]."""
        return np.asarray(
            invert_transform(self.T_base_camera) @ T_base_flange @ self.T_flange_board
        )


def check_turns(views: Sequence[CalibrationView]) -> None:
    """Refuse views that turn the flange about one axis only: the place along it stays open.

    Raises:
        InvalidInputError: They do.
    """
    rotations = Rotation.from_matrix(np.stack([view.T_base_flange[:3, :3] for view in views]))
    turns = (rotations.mean().inv() * rotations).as_rotvec()
    # How far the flange turns about its second most used axis, root mean square.
    spread = float(np.linalg.svd(turns, compute_uv=False)[1] / math.sqrt(len(views)))
    if spread < _LEAST_TURN:
        raise InvalidInputError(
            f'The views turn the flange about one axis only (about a second one by {spread:.3f} '
            f'rad, at least {_LEAST_TURN} rad are needed); tilt the board in several directions.'
        )


def solve_shah(views: Sequence[CalibrationView]) -> HandEyeSolution:
    """Closed-form solution of A X = Z B (Shah 2013, doi:10.1115/1.4024473).

    A is `T_base_flange` and B `T_camera_board` of each view.
    """
    flange = np.stack([view.T_base_flange for view in views])
    board = np.stack([view.pose.T_camera_board for view in views])
    kronecker = sum(
        np.kron(b, a) for a, b in zip(flange[:, :3, :3], board[:, :3, :3], strict=True)
    )
    left, _, right = np.linalg.svd(np.asarray(kronecker))
    mount, camera = _rotation_from_stack(right[0]), _rotation_from_stack(left[:, 0])
    # Least squares of R_a t_x - t_z = R_z t_b - t_a for both translations.
    identities = np.broadcast_to(np.eye(3), (len(views), 3, 3))
    factors = np.concatenate([flange[:, :3, :3], -identities], axis=2).reshape(-1, 6)
    wanted = board[:, :3, 3] @ camera.T - flange[:, :3, 3]
    found = np.linalg.lstsq(factors, wanted.ravel(), rcond=None)[0]
    return HandEyeSolution(transform(camera, found[3:]), transform(mount, found[:3]))


def _rotation_from_stack(vector: FloatArray) -> FloatArray:
    """Rotation nearest to the matrix with these columns, known up to scale and sign. (3, 3)."""
    matrix = vector.reshape(3, 3, order='F')
    left, _, right = np.linalg.svd(matrix * np.sign(np.linalg.det(matrix)))
    return np.asarray(left @ right)


@dataclass(frozen=True, eq=False)
class Refinement:
    """Both transforms, and one standard deviation of the camera: place [m] and turn [rad].

    `scale` is the true size of the board over the stated one, 1 where it is not sought.
    """

    solution: HandEyeSolution
    translation_deviation: float
    rotation_deviation: float
    scale: float
    scale_deviation: float


def refine(
    views: Sequence[CalibrationView],
    camera: CameraIntrinsics,
    settings: CalibrationSettings,
    *,
    robust: bool = False,
    seek_scale: bool = False,
) -> Refinement:
    """Maximum-likelihood estimate of both transforms; the settings weigh arm against image.

    With `robust`, residuals far above the noise lose their weight (Cauchy loss), so that a wrong
    view does not bend the others. With `seek_scale`, the size of the board is a thirteenth
    unknown: the ways of the arm are a ruler for it.
    """
    start = solve_shah(views)
    poses = np.stack([view.T_base_flange for view in views])
    counts = [len(view.detection.corners) for view in views]
    owner, ends = np.repeat(np.arange(len(views)), counts), np.cumsum(counts)[:-1]
    points = np.concatenate([view.detection.points for view in views])
    corners = np.concatenate([view.detection.corners for view in views])
    factors = [_noise_factor(start, view, camera, settings) for view in views]

    def residuals(parameters: FloatArray) -> FloatArray:
        solution = _moved(start, parameters)
        boards = invert_transform(solution.T_base_camera) @ poses @ solution.T_flange_board
        grown = (1.0 + parameters[12]) * points if seek_scale else points
        seen = np.einsum('nij,nj->ni', boards[owner, :3, :3], grown) + boards[owner, :3, 3]
        # A start so wrong that a corner lies behind the camera still needs a finite answer.
        pixels = np.nan_to_num(camera.project(seen) - corners, nan=1e4)
        return np.concatenate(
            [
                solve_triangular(factor, part.ravel(), lower=True, check_finite=False)
                for factor, part in zip(factors, np.split(pixels, ends), strict=True)
            ]
        )

    fit = least_squares(
        residuals,
        np.zeros(12 + seek_scale),
        x_scale=[*np.tile([0.1, 0.1, 0.1, 0.05, 0.05, 0.05], 2), *[0.01] * seek_scale],
        loss='cauchy' if robust else 'linear',
        f_scale=3.0,
        max_nfev=_MOST_EVALUATIONS,
    )
    inverse = np.linalg.pinv(fit.jac.T @ fit.jac)
    # An arm may err by more than stated, in each view anew: the scatter of the views tells by how
    # much (the sandwich estimate with a cluster for each view, which has six measurements).
    pulls = np.zeros((len(views), len(fit.x)))
    np.add.at(pulls, np.repeat(owner, 2), fit.jac * fit.fun[:, None])
    freedom = 6 * len(views) / (6 * len(views) - len(fit.x))
    seen_scatter = freedom**2 * inverse @ pulls.T @ pulls @ inverse
    deviations = np.sqrt(np.maximum(np.diag(inverse), np.diag(seen_scatter)))
    return Refinement(
        solution=_moved(start, fit.x),
        translation_deviation=float(np.linalg.norm(deviations[3:6])),
        rotation_deviation=float(np.linalg.norm(deviations[:3])),
        scale=1.0 + float(fit.x[12]) if seek_scale else 1.0,
        scale_deviation=float(deviations[12]) if seek_scale else 0.0,
    )


def _noise_factor(
    solution: HandEyeSolution,
    view: CalibrationView,
    camera: CameraIntrinsics,
    settings: CalibrationSettings,
) -> FloatArray:
    """Cholesky factor of the covariance of a view's corners (u1, v1, u2, ...). [pixel]."""

    def pixels(step: FloatArray) -> FloatArray:
        moved = view.T_base_flange @ transform(matrix_from_rotation_vector(step[:3]), step[3:])
        board = solution.board_in_camera(moved)
        return camera.project(transform_points(board, view.detection.points)).ravel()

    here = pixels(np.zeros(6))
    derivatives = np.stack(
        [(pixels(step) - here) / _DIFFERENCE for step in _DIFFERENCE * np.eye(6)], axis=1
    )
    arm = [settings.arm_rotation_deviation, settings.arm_translation_deviation]
    shared = np.nan_to_num(derivatives) * np.repeat(arm, 3)
    own = settings.corner_deviation**2 * np.eye(len(here))
    return np.asarray(cholesky(shared @ shared.T + own, lower=True))


def _moved(start: HandEyeSolution, parameters: FloatArray) -> HandEyeSolution:
    """Both transforms, each turned about its own origin, and shifted, in its target frame."""

    def step(pose: FloatArray, by: FloatArray) -> FloatArray:
        return transform(matrix_from_rotation_vector(by[:3]) @ pose[:3, :3], pose[:3, 3] + by[3:])

    return HandEyeSolution(
        step(start.T_base_camera, parameters[:6]), step(start.T_flange_board, parameters[6:12])
    )


def pose_difference(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """Distance of the origins [m] and angle [rad] between two poses (4, 4)."""
    between = first[:3, :3].T @ second[:3, :3]
    return (
        float(np.linalg.norm(first[:3, 3] - second[:3, 3])),
        float(np.linalg.norm(rotation_vector_from_matrix(between))),
    )
