# SPDX-License-Identifier: Apache-2.0
"""Closed-form solutions for a fixed camera that looks at a board on the moving flange.

For every view i, T_base_flange_i * T_flange_board = T_base_camera * T_camera_board_i. Two unknown
transforms are constant: the camera (wanted) and the mount of the board (a by-product). Two
families of methods solve this:

- Hand-eye (A X = X B): pairs of views eliminate the mount. Park and Martin 1994 (rotation from
  logarithms, then translation); Daniilidis 1999 (both at once, dual quaternions).
- Robot-world (A X = Z B): both unknowns at once. Shah 2013 (rotations from a Kronecker product and
  its singular value decomposition, then translations); Li, Wang and Wu 2010 (one linear system).

OpenCV 5 no longer offers these to Python, so they are written here; where an older OpenCV has
them, a test compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from deft_core.errors import InvalidInputError
from deft_core.rotations import invert_transform, transform
from deft_core.validation import FloatArray

LEAST_VIEWS: Final = 3
_LEAST_TURN: Final = 0.05  # [rad] pairs of views with a smaller turn say little


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


Poses = Sequence[FloatArray]


def solve(method: str, flange: Poses, board: Poses) -> HandEyeSolution:
    """Solve with one of `METHODS`.

    Args:
        method: Name of the method.
        flange: `T_base_flange` of each view. Shapes (4, 4). [m].
        board: `T_camera_board` of each view. Shapes (4, 4). [m].

    Raises:
        InvalidInputError: An unknown method, fewer than three views, or views that do not turn
            the flange about two different axes.
    """
    if method not in METHODS:
        raise InvalidInputError(f'Unknown method {method!r}; known: {", ".join(METHODS)}.')
    if len(flange) != len(board) or len(flange) < LEAST_VIEWS:
        raise InvalidInputError(
            f'Hand-eye calibration needs a board pose for each of at least {LEAST_VIEWS} flange '
            f'poses, got {len(flange)} and {len(board)}.'
        )
    check_turns(flange)
    return METHODS[method](flange, board)


def turn_spread(flange: Poses) -> float:
    """How far the flange turns about its second most used axis, root mean square. [rad].

    With turns about one axis only, the camera's place along that axis cannot be found.
    """
    rotations = Rotation.from_matrix(np.stack([pose[:3, :3] for pose in flange]))
    middle = rotations.mean()
    turns = (middle.inv() * rotations).as_rotvec()
    return float(np.linalg.svd(turns, compute_uv=False)[1] / math.sqrt(len(flange)))


def check_turns(flange: Poses) -> None:
    """Refuse views that leave the solution open.

    Raises:
        InvalidInputError: The flange turns about less than two axes.
    """
    spread = turn_spread(flange)
    if spread < _LEAST_TURN:
        raise InvalidInputError(
            f'The views turn the flange about one axis only (about a second one by {spread:.3f} '
            f'rad, at least {_LEAST_TURN} rad are needed); tilt the board in several directions.'
        )


def _pairs(flange: Poses, board: Poses) -> list[tuple[FloatArray, FloatArray]]:
    """A and B of A X = X B with X = T_base_camera, for the pairs of views that turn enough."""
    inverse_flange = [invert_transform(pose) for pose in flange]
    inverse_board = [invert_transform(pose) for pose in board]
    pairs = []
    for i, j in combinations(range(len(flange)), 2):
        a, b = flange[j] @ inverse_flange[i], board[j] @ inverse_board[i]
        if 0.5 * (np.trace(a[:3, :3]) - 1.0) < math.cos(_LEAST_TURN):
            pairs.append((a, b))
    return pairs


def _park(flange: Poses, board: Poses) -> HandEyeSolution:
    pairs = _pairs(flange, board)
    alpha = Rotation.from_matrix(np.stack([a[:3, :3] for a, _ in pairs])).as_rotvec()
    beta = Rotation.from_matrix(np.stack([b[:3, :3] for _, b in pairs])).as_rotvec()
    # M is the sum of beta alpha^T; (M^T M)^(-1/2) M^T is the orthogonal factor of M^T.
    rotation = _nearest_rotation(alpha.T @ beta)
    return _with_mount(transform(rotation, _pair_translation(pairs, rotation)), flange, board)


def _pair_translation(
    pairs: list[tuple[FloatArray, FloatArray]], rotation: FloatArray
) -> FloatArray:
    """Least squares of (R_a - I) t = R t_b - t_a. Shape (3,). [m]."""
    left = np.concatenate([a[:3, :3] - np.eye(3) for a, _ in pairs])
    right = np.concatenate([rotation @ b[:3, 3] - a[:3, 3] for a, b in pairs])
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])


def _daniilidis(flange: Poses, board: Poses) -> HandEyeSolution:
    blocks = []
    for a, b in _pairs(flange, board):
        (real_a, dual_a), (real_b, dual_b) = _dual_quaternion(a), _dual_quaternion(b)
        block = np.zeros((6, 8))
        block[:3, 0] = block[3:, 4] = real_a[1:] - real_b[1:]
        block[:3, 1:4] = block[3:, 5:] = _cross(real_a[1:] + real_b[1:])
        block[3:, 0] = dual_a[1:] - dual_b[1:]
        block[3:, 1:4] = _cross(dual_a[1:] + dual_b[1:])
        blocks.append(block)
    _, _, rows = np.linalg.svd(np.concatenate(blocks), full_matrices=False)
    first, second = rows[6], rows[7]
    u1, v1, u2, v2 = first[:4], first[4:], second[:4], second[4:]
    # The solution k1 first + k2 second is a unit dual quaternion: real . dual = 0, |real| = 1.
    ratios = np.roots([u1 @ v1, u1 @ v2 + u2 @ v1, u2 @ v2]).real
    if len(ratios) == 0:
        raise InvalidInputError(
            'These views leave the dual quaternions undetermined; add views that turn more.'
        )
    lengths = [s * s * (u1 @ u1) + 2.0 * s * (u1 @ u2) + u2 @ u2 for s in ratios]
    best = int(np.argmax(lengths))
    k2 = math.sqrt(1.0 / lengths[best])
    k1 = ratios[best] * k2
    real, dual = k1 * u1 + k2 * u2, k1 * v1 + k2 * v2
    rotation = Rotation.from_quat(np.roll(real, -1)).as_matrix()
    w, xyz, dw, dxyz = real[0], real[1:], dual[0], dual[1:]
    translation = 2.0 * (w * dxyz - dw * xyz + np.cross(xyz, dxyz))
    return _with_mount(transform(rotation, translation), flange, board)


def _dual_quaternion(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Real and dual part (w, x, y, z) of a rigid transform, real w not negative."""
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat(canonical=True)
    real, t = np.array([w, x, y, z]), matrix[:3, 3]
    dual = 0.5 * np.array(
        [
            -t @ real[1:],
            *(w * t + np.cross(t, real[1:])),
        ]
    )
    return real, dual


def _cross(v: FloatArray) -> FloatArray:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def _shah(flange: Poses, board: Poses) -> HandEyeSolution:
    # A X = Z B with A = T_base_flange, X = T_flange_board, Z = T_base_camera, B = T_camera_board.
    kronecker = sum(np.kron(b[:3, :3], a[:3, :3]) for a, b in zip(flange, board, strict=True))
    left, _, right = np.linalg.svd(np.asarray(kronecker))
    mount = _rotation_from_stack(right[0])
    camera = _rotation_from_stack(left[:, 0])
    return _with_translations(camera, mount, flange, board)


def _rotation_from_stack(vector: FloatArray) -> FloatArray:
    """Rotation from the columns of a matrix known up to scale and sign. Shape (3, 3)."""
    matrix = vector.reshape(3, 3, order='F')
    return _nearest_rotation(matrix * np.sign(np.linalg.det(matrix)))


def _li(flange: Poses, board: Poses) -> HandEyeSolution:
    blocks, right = [], []
    for a, b in zip(flange, board, strict=True):
        block = np.zeros((12, 24))
        # vec(R_a R_x) = (I (x) R_a) vec(R_x); vec(R_z R_b) = (R_b^T (x) I) vec(R_z).
        block[:9, :9] = np.kron(np.eye(3), a[:3, :3])
        block[:9, 9:18] = -np.kron(b[:3, :3].T, np.eye(3))
        block[9:, 9:18] = -np.kron(b[:3, 3], np.eye(3))
        block[9:, 18:21] = a[:3, :3]
        block[9:, 21:] = -np.eye(3)
        blocks.append(block)
        right.append(np.concatenate([np.zeros(9), -a[:3, 3]]))
    solution = np.linalg.lstsq(np.concatenate(blocks), np.concatenate(right), rcond=None)[0]
    camera = _nearest_rotation(solution[9:18].reshape(3, 3, order='F'))
    mount = _nearest_rotation(solution[:9].reshape(3, 3, order='F'))
    # With rotations made orthonormal the translations are solved again.
    return _with_translations(camera, mount, flange, board)


def _with_translations(
    camera: FloatArray, mount: FloatArray, flange: Poses, board: Poses
) -> HandEyeSolution:
    """Least squares of R_a t_x - t_z = R_z t_b - t_a for both translations."""
    left = np.concatenate([np.hstack([a[:3, :3], -np.eye(3)]) for a in flange])
    right = np.concatenate(
        [camera @ b[:3, 3] - a[:3, 3] for a, b in zip(flange, board, strict=True)]
    )
    found = np.linalg.lstsq(left, right, rcond=None)[0]
    return HandEyeSolution(transform(camera, found[3:]), transform(mount, found[:3]))


def _with_mount(T_base_camera: FloatArray, flange: Poses, board: Poses) -> HandEyeSolution:
    """The mount that fits a camera pose best: the mean over the views."""
    mounts = [invert_transform(a) @ T_base_camera @ b for a, b in zip(flange, board, strict=True)]
    rotation = Rotation.from_matrix(np.stack([_nearest_rotation(m[:3, :3]) for m in mounts]))
    translation = np.mean([m[:3, 3] for m in mounts], axis=0)
    return HandEyeSolution(T_base_camera, transform(rotation.mean().as_matrix(), translation))


def _nearest_rotation(matrix: FloatArray) -> FloatArray:
    """Rotation nearest to a matrix (3, 3) in the Frobenius norm."""
    left, _, right = np.linalg.svd(matrix)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray((left * signs) @ right)


METHODS: Final[Mapping[str, Callable[[Poses, Poses], HandEyeSolution]]] = {
    'park': _park,
    'daniilidis': _daniilidis,
    'shah': _shah,
    'li': _li,
}
