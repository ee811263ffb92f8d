# SPDX-License-Identifier: Apache-2.0
"""A small Gaussian process for a few dozen episodes, fitted in a few milliseconds.

Squared exponential kernel with one length scale per group of coordinates, noise, and priors on
the logarithms of all of them (maximum a posteriori, L-BFGS with exact gradients); see Rasmussen
and Williams, Gaussian Processes for Machine Learning (2006), sections 2.2, 2.3 and 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpotrf
from scipy.optimize import minimize

from deft_cem.optimisers.interface import FloatArray

_JITTER = 1e-8
_STEPS = 25
_REACH = 3.0  # bounds of the search in prior standard deviations


@dataclass(frozen=True, eq=False)
class LogNormalPriors:
    """Priors on log length scales (one per group), log signal variance and log noise deviation.

    Attributes:
        mean: Shape (groups + 2,).
        std: Shape (groups + 2,).
    """

    mean: FloatArray
    std: FloatArray


def default_priors(group_sizes: npt.ArrayLike) -> LogNormalPriors:
    """Length scales about sqrt(coordinates in the group), unit variance, noise about 0.15."""
    sizes = np.asarray(group_sizes, dtype=np.float64)
    return LogNormalPriors(
        np.concatenate([0.5 * np.log(sizes), [0.0, np.log(0.15)]]),
        np.concatenate([np.full(sizes.size, 0.75), [0.5, 1.0]]),
    )


class GaussianProcess:
    """Posterior over a function of y from noisy values at a few points.

    Attributes:
        theta: Log length scales, log signal variance, log noise deviation. Shape (groups + 2,).
    """

    def __init__(
        self, y: FloatArray, values: FloatArray, groups: npt.NDArray[np.intp], theta: FloatArray
    ) -> None:
        """Condition on values with given hyper-parameters.

        Args:
            y: Shape (n, d).
            values: Zero-mean function values. Shape (n,).
            groups: Group of each coordinate, 0..groups-1. Shape (d,).
            theta: Hyper-parameters. Shape (groups + 2,).
        """
        self.theta = theta
        self._groups = groups
        self._scale = np.exp(-theta[:-2])[groups]
        self._signal = float(np.exp(theta[-2]))
        self._y = y * self._scale
        kernel = self._signal * np.exp(-0.5 * _squared_distances(self._y, self._y))
        kernel[np.diag_indices_from(kernel)] += np.exp(2.0 * theta[-1]) + _JITTER
        self._factor = _cholesky(kernel)
        self._weights = cho_solve((self._factor, True), values, check_finite=False)

    def predict(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the function. Shape (m,) each, for y of shape (m, d)."""
        cross = self._signal * np.exp(-0.5 * _squared_distances(y * self._scale, self._y))
        mean = cross @ self._weights
        half = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = self._signal - np.sum(half**2, axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def mean_and_slope(self, y: FloatArray) -> tuple[float, FloatArray]:
        """Posterior mean and its gradient at one point. Shape (d,)."""
        scaled = y * self._scale
        difference = self._y - scaled
        cross = self._signal * np.exp(-0.5 * np.sum(difference**2, axis=1)) * self._weights
        return float(cross.sum()), (cross @ difference) * self._scale


def fit_hyper_parameters(
    y: FloatArray,
    values: FloatArray,
    groups: npt.NDArray[np.intp],
    priors: LogNormalPriors,
    start: FloatArray | None = None,
) -> FloatArray:
    """Maximum a posteriori hyper-parameters.

    Args:
        y: Shape (n, d).
        values: Zero-mean function values. Shape (n,).
        groups: Group of each coordinate. Shape (d,).
        priors: On the hyper-parameters.
        start: Where to begin; None begins at the prior.

    Returns:
        theta as `GaussianProcess` takes it. Shape (groups + 2,).
    """
    count = len(priors.mean) - 2
    parts = np.stack(
        [_squared_distances(y[:, groups == g], y[:, groups == g]) for g in range(count)]
    )
    low, high = priors.mean - _REACH * priors.std, priors.mean + _REACH * priors.std
    first = priors.mean if start is None else np.clip(start, low, high)
    found = minimize(
        _negative_log_posterior,
        first,
        args=(parts, values, priors),
        jac=True,
        method='L-BFGS-B',
        bounds=np.stack([low, high], axis=1),
        options={'maxiter': _STEPS},
    )
    return np.asarray(found.x, dtype=np.float64)


def _negative_log_posterior(
    theta: FloatArray, parts: FloatArray, values: FloatArray, priors: LogNormalPriors
) -> tuple[float, FloatArray]:
    """Negative log posterior and its gradient (Rasmussen and Williams, eq. 5.8 and 5.9)."""
    inverse_squares = np.exp(-2.0 * theta[:-2])
    noise = np.exp(2.0 * theta[-1])
    kernel = np.exp(theta[-2] - 0.5 * np.tensordot(inverse_squares, parts, axes=1))
    noisy = kernel.copy()
    noisy[np.diag_indices_from(noisy)] += noise + _JITTER
    factor = _cholesky(noisy)
    inverse = cho_solve((factor, True), np.eye(len(values)), check_finite=False)
    weights = inverse @ values
    # dL/dK = (K^-1 - a a') / 2, folded with each derivative of K.
    fold = 0.5 * (inverse - np.outer(weights, weights))
    folded = fold * kernel
    gradient = np.concatenate(
        [
            inverse_squares * np.tensordot(parts, folded, axes=([1, 2], [0, 1])),
            [folded.sum(), 2.0 * noise * np.trace(fold)],
        ]
    )
    deviation = (theta - priors.mean) / priors.std
    objective = (
        0.5 * float(values @ weights)
        + float(np.log(np.diag(factor)).sum())
        + 0.5 * float(deviation @ deviation)
    )
    return objective, gradient + deviation / priors.std


def _squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Between all rows. Shape (len(a), len(b))."""
    gaps = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2.0 * a @ b.T
    return np.asarray(np.maximum(gaps, 0.0), dtype=np.float64)


def _cholesky(matrix: FloatArray) -> FloatArray:
    """Lower factor of a positive definite matrix."""
    factor, failed = dpotrf(matrix, lower=True, clean=True)
    if failed:
        raise np.linalg.LinAlgError(f'covariance is not positive definite at row {failed}')
    return np.asarray(factor, dtype=np.float64)
