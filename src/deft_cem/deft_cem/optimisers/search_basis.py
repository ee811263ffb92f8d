# SPDX-License-Identifier: Apache-2.0
"""Coordinates y that a search works in: residual = sigma * (L y), with y ~ N(0, I) at first."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.ask_tell import FloatArray
from deft_core.errors import InvalidInputError
from deft_core.grasp import FINGERS, GRASP_DIMENSION, JOINTS_PER_FINGER

ARM_COORDINATES: Final = 6  # position and wrist come first in the vector
SYNERGY_COORDINATES: Final = 2  # then the common closing, and thumb against fingers
DEFAULT_DAMPING: Final = 0.5  # of the finger directions beyond synergies
# Position, wrist, synergies, and what is left of the fingers.
COORDINATE_GROUPS: Final = (3, 3, SYNERGY_COORDINATES, GRASP_DIMENSION - 8)


class SearchBasis:
    """A linear map between residuals and search coordinates.

    Attributes:
        sigma: First standard deviation per parameter. Shape (d,). [m | rad | rad]
        matrix: L. Shape (d, d), invertible.
    """

    def __init__(self, sigma: FloatArray, matrix: FloatArray) -> None:
        """Prepare the map.

        Args:
            sigma: Shape (d,), all > 0. [m | rad | rad]
            matrix: L. Shape (d, d).

        Raises:
            InvalidInputError: The shapes do not fit.
        """
        if matrix.shape != (sigma.size, sigma.size):
            raise InvalidInputError(
                f'the basis has shape {matrix.shape}, expected {(sigma.size, sigma.size)}'
            )
        self.sigma = sigma
        self.matrix = matrix
        self._inverse = np.linalg.inv(matrix)

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return int(self.sigma.size)

    def to_residual(self, y: FloatArray) -> FloatArray:
        """Residual of search coordinates. Shape (d,) or (n, d). [m | rad | rad]."""
        return (y @ self.matrix.T) * self.sigma

    def to_search(self, residual: FloatArray) -> FloatArray:
        """Search coordinates of a residual. Shape (d,) or (n, d)."""
        return (residual / self.sigma) @ self._inverse.T

    def marginal_std(self, std: FloatArray | float) -> FloatArray:
        """Spread of each parameter when y has independent coordinates with spread `std`.

        Args:
            std: Shape (d,), or one number for all.

        Returns:
            Shape (d,). [m | rad | rad]
        """
        spread = np.broadcast_to(std, (self.dimension,))
        return np.asarray(self.sigma * np.sqrt((self.matrix**2) @ (spread**2)))


def synergy_basis(
    sigma: FloatArray, *, gain: float = 2.0, damping: float = DEFAULT_DAMPING
) -> SearchBasis:
    """Hand synergies: closing as a whole, thumb against fingers, and what is left, damped.

    With independent noise per joint the whole hand hardly closes or opens: the common direction
    moves 1/4 sigma per joint. Human and robot grasps vary mostly along a few such directions
    (Santello, Flanders and Soechting, Postural hand synergies for tool use, J. Neurosci. 1998), so
    they get `gain` times the spread, and the other 14 directions `damping` times. With 2 and 0.5
    the spread of a single joint stays about that of Table 4.

    The 16 joint directions are products of contrasts between fingers and contrasts between the
    joints of one finger (rows of Helmert matrices), all orthonormal.

    Args:
        sigma: First standard deviation per grasp parameter. Shape (22,). [m | rad | rad]
        gain: Spread of the two synergies in units of sigma.
        damping: Spread of the other finger directions in units of sigma.

    Raises:
        InvalidInputError: Another number of parameters, or a factor that is not positive.
    """
    if sigma.shape != (GRASP_DIMENSION,):
        raise InvalidInputError(
            f'hand synergies need the {GRASP_DIMENSION} grasp parameters, got shape {sigma.shape}'
        )
    if not (gain > 0.0 and damping > 0.0):
        raise InvalidInputError(f'gain {gain} and damping {damping} must be > 0')
    joints = len(JOINTS_PER_FINGER)
    directions = np.kron(_helmert(len(FINGERS)), _helmert(joints))
    # Row 0 closes everything; the last contrast between fingers is thumb against the others.
    thumb = (len(FINGERS) - 1) * joints
    order = [0, thumb, *(row for row in range(len(directions)) if row not in {0, thumb})]
    scale = np.full(len(directions), damping)
    scale[:SYNERGY_COORDINATES] = gain
    matrix = np.eye(GRASP_DIMENSION)
    matrix[ARM_COORDINATES:, ARM_COORDINATES:] = directions[order].T * scale
    return SearchBasis(sigma, matrix)


def _helmert(size: int) -> npt.NDArray[np.float64]:
    """Orthonormal rows: the mean, then each entry against the mean of those before it."""
    rows = np.zeros((size, size))
    rows[0] = 1.0 / np.sqrt(size)
    for k in range(1, size):
        rows[k, :k] = 1.0
        rows[k, k] = -k
        rows[k] /= np.sqrt(k * (k + 1))
    return rows
