# SPDX-License-Identifier: Apache-2.0
"""The calibration board: its size, its picture, and where it is in an image."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from deft_core.camera import CameraIntrinsics, ColorImage
from deft_core.configuration import bounds, load_named, nearest
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, shown
from deft_core.files import write_atomically
from deft_core.rotations import matrix_from_rotation_vector, transform, transform_points
from deft_core.validation import FloatArray

_LEAST_CORNERS: Final = 6
_PRINT_RESOLUTION: Final = 12_000.0  # [pixel/m] about 300 dots per inch
_LARGEST_SIDE: Final = 10_000  # [pixel] of a picture to print
_INCH: Final = 0.0254  # [m]
_BORDER_SQUARES: Final = 0.5  # white margin of the picture


class NoBoardError(DeftError):
    """The image does not show enough of the calibration board."""


@dataclass(frozen=True)
class BoardConfiguration:
    """A ChArUco board: a chessboard whose white squares hold markers."""

    name: str  # file name in `config/boards` without extension
    squares_x: int = field(metadata=bounds(3, 40))  # columns of the chessboard
    squares_y: int = field(metadata=bounds(3, 40))  # rows of the chessboard
    square_length: float = field(metadata=bounds(0.002, 0.5, 'm'))  # side as printed
    marker_length: float = field(metadata=bounds(0.001, 0.5, 'm'))  # side as printed
    dictionary: str  # predefined ArUco dictionary, as OpenCV names it

    def __post_init__(self) -> None:
        """Refuse boards that cannot be printed."""
        names = [name for name in dir(cv2.aruco) if name.startswith('DICT_')]
        if self.dictionary not in names:
            raise ConfigurationError(
                f'Board {self.name}: unknown dictionary {self.dictionary!r}; '
                f'{nearest(self.dictionary, names)}'
            )
        if not self.marker_length < self.square_length:
            raise ConfigurationError(
                f'Board {self.name}: marker_length {self.marker_length} m must be smaller than '
                f'square_length {self.square_length} m.'
            )
        markers = self.squares_x * self.squares_y // 2
        offered = len(self._dictionary().bytesList)
        if markers > offered:
            raise ConfigurationError(
                f'Board {self.name} needs {markers} markers, {self.dictionary} has {offered}; '
                'take a larger dictionary.'
            )

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the chessboard. [m]."""
        return self.squares_x * self.square_length, self.squares_y * self.square_length

    @property
    def corner_count(self) -> int:
        """Number of inner corners."""
        return (self.squares_x - 1) * (self.squares_y - 1)

    def board(self) -> Any:
        """The board as OpenCV's object."""
        return cv2.aruco.CharucoBoard(
            (self.squares_x, self.squares_y),
            self.square_length,
            self.marker_length,
            self._dictionary(),
        )

    def _dictionary(self) -> Any:
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))


def load_board(name: str, directory: Path) -> BoardConfiguration:
    """A board by name from the `boards` folder of a configuration folder."""
    return load_named(BoardConfiguration, directory / 'boards', name)


def draw_board(board: BoardConfiguration, pixels_per_metre: float) -> npt.NDArray[np.uint8]:
    """Grey picture (height, width) of the board with a white margin of half a square."""
    square = max(8, round(board.square_length * pixels_per_metre))
    margin = round(_BORDER_SQUARES * square)
    size = (board.squares_x * square + 2 * margin, board.squares_y * square + 2 * margin)
    try:
        return np.asarray(board.board().generateImage(size, marginSize=margin), dtype=np.uint8)
    except cv2.error as error:
        raise ConfigurationError(
            f'Board {board.name}: a marker of {board.marker_length} m in a square of '
            f'{board.square_length} m is too small to draw.'
        ) from error


def drawn_size(board: BoardConfiguration) -> tuple[float, float]:
    """Width and height of the picture with its margin. [m]."""
    margin = 2.0 * _BORDER_SQUARES * board.square_length
    return board.size[0] + margin, board.size[1] + margin


def save_board_page(board: BoardConfiguration, path: Path) -> tuple[float, float]:
    """Write the board as a PNG that knows its size; returns the width and height to print [m].

    Raises:
        RecordingError: The file cannot be written.
    """
    width, height = drawn_size(board)
    picture = draw_board(board, min(_PRINT_RESOLUTION, _LARGEST_SIDE / max(width, height)))
    # Whole pixels per square: the resolution follows from them, not the other way round.
    dots_per_inch = picture.shape[1] / width * _INCH
    page = io.BytesIO()
    Image.fromarray(picture).save(page, format='PNG', dpi=(dots_per_inch, dots_per_inch))
    write_atomically(path, page.getvalue())
    return width, height


@dataclass(frozen=True, eq=False)
class BoardDetection:
    """Corners of the board that an image shows."""

    corners: FloatArray  # pixel centres are whole numbers, shape (n, 2) [pixel]
    identifiers: npt.NDArray[np.int64]  # number of each corner on the board, shape (n,)
    # the corners on the board: x along its rows, y along its columns, z into it, origin at the
    # outer corner of the first square, shape (n, 3) [m]
    points: FloatArray


class BoardDetector:
    """Finds the corners of one board in colour images."""

    def __init__(self, board: BoardConfiguration) -> None:
        """Build the detector."""
        self.board = board
        self._detectors = [cv2.aruco.CharucoDetector(board.board())]
        if board.squares_y % 2 == 0:
            # OpenCV before 4.6 began such boards with the other colour, and so do their makers.
            legacy = board.board()
            legacy.setLegacyPattern(True)
            self._detectors.append(cv2.aruco.CharucoDetector(legacy))

    def detect(self, color: ColorImage) -> BoardDetection:
        """Find the board in an RGB image (height, width, 3).

        Raises:
            NoBoardError: Fewer than six corners are seen, or all on one line.
        """
        grey = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
        count = markers = 0
        for detector in self._detectors:
            corners, identifiers, _, seen_markers = detector.detectBoard(grey)
            count = 0 if identifiers is None else len(identifiers)
            if count >= _LEAST_CORNERS:
                break
            markers = 0 if seen_markers is None else len(seen_markers)
        else:
            raise NoBoardError(self._why_no_board(count, markers))
        return make_detection(
            self.board,
            np.asarray(corners, dtype=np.float64).reshape(-1, 2),
            np.asarray(identifiers, dtype=np.int64).ravel(),
        )

    def _why_no_board(self, corners: int, markers: int) -> str:
        board = self.board
        if markers > _LEAST_CORNERS and corners == 0:
            return (
                f'The image shows {markers} markers of {board.dictionary}, but not where a board '
                f'of {board.squares_x} x {board.squares_y} squares has them; are the squares and '
                f'the dictionary of {board.name} those of the board?'
            )
        return (
            f'The image shows {corners} corners of board {board.name}, at least {_LEAST_CORNERS} '
            'are needed; bring it nearer, into the light, and facing the camera.'
        )


def make_detection(
    board: BoardConfiguration, corners: FloatArray, identifiers: npt.NDArray[np.int64]
) -> BoardDetection:
    """A detection from seen corners, shape (n, 2) [pixel], and their numbers, shape (n,).

    Raises:
        NoBoardError: There are fewer than six, or all on one line; a number is none of the board
            or there twice.
    """
    count = len(identifiers)
    if count < _LEAST_CORNERS:
        raise NoBoardError(
            f'The image shows {count} corners of board {board.name}, at least {_LEAST_CORNERS} '
            'are needed; bring it nearer, into the light, and facing the camera.'
        )
    if len(np.unique(identifiers)) < count or not (
        0 <= identifiers.min() <= identifiers.max() < board.corner_count
    ):
        raise NoBoardError(
            f'Corners of board {board.name} have the numbers 0 to {board.corner_count - 1} once '
            f'each, got {shown(identifiers.tolist())}.'
        )
    points = np.asarray(board.board().getChessboardCorners(), dtype=np.float64)[identifiers]
    if np.linalg.matrix_rank(points[:, :2] - points[0, :2], tol=1e-6) < 2:
        raise NoBoardError(
            f'All {count} seen corners of board {board.name} lie on one line; show more of the '
            'board.'
        )
    return BoardDetection(corners, identifiers, points)


@dataclass(frozen=True, eq=False)
class BoardPose:
    """Where a board stands before the camera.

    Attributes:
        T_camera_board: Maps board coordinates to the optical frame. Shape (4, 4). [m].
        reprojection_error: Root mean square over the corners. [pixel].
        ambiguity: Error of this pose over that of its mirror image, 0 to 1; near 1 the image
            does not tell them apart.
        obliqueness: Angle between line of sight and the board's normal. [rad].
    """

    T_camera_board: FloatArray
    reprojection_error: float
    ambiguity: float
    obliqueness: float


def locate_board(detection: BoardDetection, camera: CameraIntrinsics) -> BoardPose:
    """Pose of a board from its corners (infinitesimal plane-based pose, then Levenberg-Marquardt).

    Raises:
        NoBoardError: No pose explains the corners.
    """
    points, corners = detection.points, detection.corners
    try:
        count, rotations, translations, errors = cv2.solvePnPGeneric(
            points, corners, camera.matrix, camera.coefficients, flags=cv2.SOLVEPNP_IPPE
        )
        rotation, translation = cv2.solvePnPRefineLM(
            points, corners, camera.matrix, camera.coefficients, rotations[0], translations[0]
        )
        pose = transform(matrix_from_rotation_vector(rotation.ravel()), translation.ravel())
    # No pose at all, or corners that no board can give.
    except (cv2.error, IndexError, InvalidInputError) as error:
        raise NoBoardError(
            'No pose of the board explains its corners; take another view.'
        ) from error
    residual = reprojection_residuals(pose, detection, camera)
    flips = np.asarray(errors, dtype=np.float64).ravel()
    ambiguity = float(flips[0] / flips[1]) if count > 1 and flips[1] > 0.0 else 0.0
    middle = transform_points(pose, points.mean(axis=0)[None])[0]
    cosine = float(abs(pose[:3, 2] @ middle) / np.linalg.norm(middle))
    return BoardPose(
        T_camera_board=pose,
        reprojection_error=root_mean_square(residual),
        ambiguity=ambiguity,
        obliqueness=math.acos(min(1.0, cosine)),
    )


def reprojection_residuals(
    T_camera_board: FloatArray, detection: BoardDetection, camera: CameraIntrinsics
) -> FloatArray:
    """Where the pose puts each corner minus where it was seen. Shape (n, 2). [pixel]."""
    seen = transform_points(T_camera_board, detection.points)
    return np.asarray(camera.project(seen) - detection.corners)


def root_mean_square(residuals: FloatArray) -> float:
    """Root mean square length of residuals (n, 2), per corner. [pixel]."""
    return float(np.sqrt(np.mean(np.sum(residuals**2, axis=1))))
