# SPDX-License-Identifier: Apache-2.0
"""A Gaussian process with known hyper-parameters: a few dozen episodes in a fraction of a ms.

Squared exponential kernel; Rasmussen and Williams, Gaussian Processes for Machine Learning (2006),
section 2.2, equations 2.25 and 2.26. Length scales and noise are not fitted: from 30 noisy scores
a maximum a posteriori fit recommended no better residuals and took most of the time of an update.

Only small products and inverses of numpy are used: triangular solves and L-BFGS of scipy start
threads even for 30 numbers, and wait tens of milliseconds for them when the cores are busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from deft_cem.optimisers.ask_tell import FloatArray

_CLIMBING_STEPS: Final = 30
_CLOSE_ENOUGH: Final = 1e-6


class BowlProcess:
    """Posterior over the standardised reward: a bowl, plus a squared exponential process.

    The prior mean is the bowl c - q (|y|^2 / d - 1): the reward is expected to fall away from the
    grasp prior. The constant c is the mean of what the bowl leaves of the values.
    """

    def __init__(
        self,
        y: FloatArray,
        values: FloatArray,
        *,
        length_scales: FloatArray,
        noise: float,
        bowl: float,
    ) -> None:
        """Condition on standardised rewards.

        Args:
            y: Search coordinates of the episodes. Shape (n, d), n at least 1.
            values: Standardised rewards. Shape (n,).
            length_scales: Per coordinate. Shape (d,).
            noise: Standard deviation of a reward, in units of the signal's.
            bowl: q.
        """
        self._rate = 1.0 / length_scales
        self._points = y * self._rate
        self._y = y
        self._bowl = bowl / y.shape[1]
        rest = values + self._bowl * np.sum(y**2, axis=1)
        self._constant = float(rest.mean())
        kernel = np.exp(-0.5 * _squared_distances(self._points, self._points))
        kernel[np.diag_indices_from(kernel)] += noise**2
        self._inverse = np.linalg.inv(kernel)  # well conditioned: the noise is on its diagonal
        self._weights = self._inverse @ (rest - self._constant)

    def predict(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (without noise). Shape (m,) each, for y of shape (m, d)."""
        cross = np.exp(-0.5 * _squared_distances(y * self._rate, self._points))
        mean = self._constant - self._bowl * np.sum(y**2, axis=1) + cross @ self._weights
        variance = 1.0 - np.sum((cross @ self._inverse) * cross, axis=1)
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def mean_at(self, y: FloatArray) -> float:
        """Posterior mean at one point. Shape (d,)."""
        difference = self._points - y * self._rate
        pull = np.exp(-0.5 * np.sum(difference**2, axis=1)) * self._weights
        return float(self._constant - self._bowl * (y @ y) + pull.sum())

    def slope_and_curvature(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient (d,) and Hessian (d, d) of the posterior mean at one point. Shape (d,)."""
        difference = self._points - y * self._rate
        pull = np.exp(-0.5 * np.sum(difference**2, axis=1)) * self._weights
        scaled = difference * self._rate
        slope = pull @ scaled - 2.0 * self._bowl * y
        curvature = (scaled.T * pull) @ scaled
        diagonal = pull.sum() * self._rate**2 + 2.0 * self._bowl
        curvature[np.diag_indices_from(curvature)] -= diagonal
        return slope, curvature

    def top(self, starts: Sequence[FloatArray], radius: float) -> FloatArray:
        """Where the posterior mean is highest.

        Args:
            starts: Where to climb from; the first of equal tops wins.
            radius: A longer result is shortened to it.

        Returns:
            Shape (d,).
        """
        tops = [self._climb(start) for start in starts]
        return shorten(max(tops, key=self.mean_at), radius)

    def _climb(self, start: FloatArray) -> FloatArray:
        """Damped Newton steps (Levenberg); each step goes up or is not taken. Shape (d,)."""
        y, height, damping = start, self.mean_at(start), 0.1
        slope, curvature = self.slope_and_curvature(y)
        for _ in range(_CLIMBING_STEPS):
            step = np.linalg.solve(damping * np.eye(y.size) - curvature, slope)
            reached = self.mean_at(y + step)
            if reached <= height:
                damping *= 4.0
                continue
            gained, y, height = reached - height, y + step, reached
            if gained < _CLOSE_ENOUGH:
                break
            damping *= 0.25
            slope, curvature = self.slope_and_curvature(y)
        return y


def shorten(y: FloatArray, radius: float) -> FloatArray:
    """The same direction, with at most this length. Shape (d,)."""
    length = float(np.linalg.norm(y))
    return y if length <= radius else y * (radius / length)


def _squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Between all rows. Shape (len(a), len(b))."""
    gaps = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2.0 * a @ b.T
    return np.asarray(np.maximum(gaps, 0.0), dtype=np.float64)
