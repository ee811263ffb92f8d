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
)
from deft_core.validation import FloatArray
from deft_perception.calibration.board import BoardDetection

_LEAST_TURN: Final = 0.05  # [rad] about a second axis; less leaves the solution open
_DIFFERENCE: Final = 1e-6  # [m] and [rad], step of the finite differences
_MOST_EVALUATIONS: Final = 40  # good views need five; views that contradict each other never end

Poses = Sequence[FloatArray]


@dataclass(frozen=True, eq=False)
class HandEyeSolution:
    """Both constant transforms.

    Attributes:
        T_base_camera: Maps camera coordinates to the base frame. Shape (4, 4). [m].
        T_flange_board: Mount of the board. Shape (4, 4). [m].
    """

    T_base_camera: FloatArray
    T_flange_board: FloatArray

    def board_in_camera(self, T_base_flange: FloatArray) -> FloatArray:
        """`T_camera_board` that this solution predicts for a flange pose. Shape (4, 4). [m]."""
        return np.asarray(
            invert_transform(self.T_base_camera) @ T_base_flange @ self.T_flange_board
        )


def check_turns(flange: Poses) -> None:
    """Refuse views that leave the solution open.

    With turns about one axis only, the camera's place along that axis cannot be found.

    Raises:
        InvalidInputError: The flange turns about less than two axes.
    """
    rotations = Rotation.from_matrix(np.stack([pose[:3, :3] for pose in flange]))
    turns = (rotations.mean().inv() * rotations).as_rotvec()
    # How far the flange turns about its second most used axis, root mean square.
    spread = float(np.linalg.svd(turns, compute_uv=False)[1] / math.sqrt(len(flange)))
    if spread < _LEAST_TURN:
        raise InvalidInputError(
            f'The views turn the flange about one axis only (about a second one by {spread:.3f} '
            f'rad, at least {_LEAST_TURN} rad are needed); tilt the board in several directions.'
        )


def solve_shah(flange: Poses, board: Poses) -> HandEyeSolution:
    """Closed-form solution of A X = Z B (Shah 2013, doi:10.1115/1.4024473).

    Args:
        flange: `T_base_flange` of each view, A. Shapes (4, 4). [m].
        board: `T_camera_board` of each view, B. Shapes (4, 4). [m].
    """
    kronecker = sum(np.kron(b[:3, :3], a[:3, :3]) for a, b in zip(flange, board, strict=True))
    left, _, right = np.linalg.svd(np.asarray(kronecker))
    mount, camera = _rotation_from_stack(right[0]), _rotation_from_stack(left[:, 0])
    # Least squares of R_a t_x - t_z = R_z t_b - t_a for both translations.
    factors = np.concatenate([np.hstack([a[:3, :3], -np.eye(3)]) for a in flange])
    wanted = np.concatenate(
        [camera @ b[:3, 3] - a[:3, 3] for a, b in zip(flange, board, strict=True)]
    )
    found = np.linalg.lstsq(factors, wanted, rcond=None)[0]
    return HandEyeSolution(transform(camera, found[3:]), transform(mount, found[:3]))


def _rotation_from_stack(vector: FloatArray) -> FloatArray:
    """Rotation nearest to the matrix with these columns, known up to scale and sign. (3, 3)."""
    matrix = vector.reshape(3, 3, order='F')
    left, _, right = np.linalg.svd(matrix * np.sign(np.linalg.det(matrix)))
    return np.asarray(left @ right)


@dataclass(frozen=True)
class MeasurementNoise:
    """What arm and detector err by, one standard deviation.

    Attributes:
        corner: Of a corner along each image axis. [pixel].
        arm_translation: Of the flange along each axis. [m].
        arm_rotation: Of the flange about each axis. [rad].
    """

    corner: float = 0.1
    arm_translation: float = 0.0005
    arm_rotation: float = 0.0005


@dataclass(frozen=True, eq=False)
class Refinement:
    """Refined transforms and how well the measurements fix the camera.

    Attributes:
        solution: Both transforms.
        translation_deviation: One standard deviation of the camera's place. [m].
        rotation_deviation: Of the camera's rotation. [rad].
    """

    solution: HandEyeSolution
    translation_deviation: float
    rotation_deviation: float


def refine(
    start: HandEyeSolution,
    flange: Sequence[FloatArray],
    detections: Sequence[BoardDetection],
    camera: CameraIntrinsics,
    noise: MeasurementNoise,
    *,
    robust: bool = False,
) -> Refinement:
    """Maximum-likelihood estimate of both transforms.

    Args:
        start: Where to begin, from a closed-form solution.
        flange: `T_base_flange` of each view. Shapes (4, 4). [m].
        detections: Corners of each view.
        camera: Intrinsics.
        noise: Weighs arm against image.
        robust: Let residuals far above the noise lose their weight (Cauchy loss), so that a wrong
            view does not bend the others.
    """
    poses = np.stack(flange)
    view = np.repeat(np.arange(len(detections)), [len(seen.corners) for seen in detections])
    points = np.concatenate([seen.points for seen in detections])
    corners = np.concatenate([seen.corners for seen in detections])
    factors = [
        _noise_factor(start, pose, seen, camera, noise)
        for pose, seen in zip(flange, detections, strict=True)
    ]
    ends = np.cumsum([len(seen.corners) for seen in detections])[:-1]

    def residuals(parameters: FloatArray) -> FloatArray:
        solution = _moved(start, parameters)
        boards = invert_transform(solution.T_base_camera) @ poses @ solution.T_flange_board
        seen = np.einsum('nij,nj->ni', boards[view, :3, :3], points) + boards[view, :3, 3]
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
        np.zeros(12),
        x_scale=np.tile([0.1, 0.1, 0.1, 0.05, 0.05, 0.05], 2),
        loss='cauchy' if robust else 'linear',
        f_scale=3.0,
        max_nfev=_MOST_EVALUATIONS,
    )
    freedom = max(1, len(fit.fun) - len(fit.x))
    # Where the residuals are larger than the stated noise, so are the deviations.
    scale = max(1.0, float(fit.fun @ fit.fun) / freedom)
    deviations = np.sqrt(scale * np.diag(np.linalg.pinv(fit.jac.T @ fit.jac)))
    return Refinement(
        solution=_moved(start, fit.x),
        translation_deviation=float(np.linalg.norm(deviations[3:6])),
        rotation_deviation=float(np.linalg.norm(deviations[:3])),
    )


def _noise_factor(
    solution: HandEyeSolution,
    T_base_flange: FloatArray,
    detection: BoardDetection,
    camera: CameraIntrinsics,
    noise: MeasurementNoise,
) -> FloatArray:
    """Cholesky factor of the covariance of a view's corners (u1, v1, u2, ...). [pixel]."""

    def pixels(step: FloatArray) -> FloatArray:
        moved = T_base_flange @ transform(matrix_from_rotation_vector(step[:3]), step[3:])
        board = solution.board_in_camera(moved)
        return camera.project(detection.points @ board[:3, :3].T + board[:3, 3]).ravel()

    here = pixels(np.zeros(6))
    derivatives = np.stack(
        [(pixels(step) - here) / _DIFFERENCE for step in _DIFFERENCE * np.eye(6)], axis=1
    )
    arm = np.repeat([noise.arm_rotation, noise.arm_translation], 3)
    shared = np.nan_to_num(derivatives) * arm
    return np.asarray(
        cholesky(shared @ shared.T + noise.corner**2 * np.eye(len(here)), lower=True)
    )


def _moved(start: HandEyeSolution, parameters: FloatArray) -> HandEyeSolution:
    """Both transforms, each turned and shifted a little in its own target frame.

    The camera turns about its own origin, so that its turn and its shift stay independent.
    """
    return HandEyeSolution(
        _step(start.T_base_camera, parameters[:6]), _step(start.T_flange_board, parameters[6:])
    )


def _step(pose: FloatArray, parameters: FloatArray) -> FloatArray:
    rotation = matrix_from_rotation_vector(parameters[:3]) @ pose[:3, :3]
    return transform(rotation, pose[:3, 3] + parameters[3:])


def pose_difference(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """Distance of the origins [m] and angle [rad] between two poses (4, 4)."""
    between = first[:3, :3].T @ second[:3, :3]
    return (
        float(np.linalg.norm(first[:3, 3] - second[:3, 3])),
        float(np.linalg.norm(rotation_vector_from_matrix(between))),
    )
