# SPDX-License-Identifier: Apache-2.0
"""Candidates around the top of a regressed quadratic, screened by a Gaussian process in 22-D.

All of it works in coordinates y: residual = sigma * (L y), with y ~ N(0, I) at first. Only small
products and inverses of numpy are used: triangular solves and L-BFGS of scipy start threads even
for 30 numbers, and wait for them when the cores are busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from deft_cem.optimisers.ask_tell import Fit, ResidualOptimiser, rank, require_elites
from deft_cem.optimisers.cem import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_core.errors import InvalidInputError
from deft_core.grasp import FINGERS, GRASP_DIMENSION, JOINTS_PER_FINGER
from deft_core.validation import FloatArray

# Rewards that hardly differ tell nothing: their spread is taken as at least this.
_SMALLEST_SPREAD: Final = 0.05
# Rewards that differ by less are noise of a human score: the temperature is never below it.
_SMALLEST_TEMPERATURE: Final = 0.03
_CLIMBING_STEPS: Final = 30
_CLOSE_ENOUGH: Final = 1e-6
ARM_COORDINATES: Final = 6  # position and wrist come first in the vector
SYNERGY_COORDINATES: Final = 2  # then the common closing, and thumb against fingers
DEFAULT_DAMPING: Final = 0.5  # of the finger directions beyond synergies
# Position, wrist, synergies, and what is left of the fingers.
COORDINATE_GROUPS: Final = (3, 3, SYNERGY_COORDINATES, GRASP_DIMENSION - 8)


@dataclass(frozen=True)
class ScreenedRegressionSettings:
    """What may be set.

    Attributes:
        candidates: Residuals that are drawn and screened for one episode.
        optimism: Posterior standard deviations that are added to the posterior mean. At 1 practice
            earns more and learns less, above all where the optimum is far from the prior.
        length_scale: Of a group of n coordinates, in units of sqrt(n).
        noise: Standard deviation of a reward over that of the signal.
        bowl: q, fall of the standardised reward at |y|^2 = d in the prior mean of the process.
        memory: The process sees at most this many of the latest episodes.
        limit: Largest residual. [first standard deviation]
        ridge: lambda of the regression, how strongly its slope is held at zero.
        curvature: kappa of the regression, fall of the standardised reward at |y|^2 = d.
        radius: Largest |y| of each estimate of the optimum.
        spread: Standard deviation of the candidates. [first standard deviation]
        damping: First spread of finger directions beyond synergies, in units of sigma. At 0.5
            tasks for the whole hand are learnt a little faster, and tasks for single fingers
            hardly faster than by the paper's method.
    """

    candidates: int = field(default=200, metadata={'minimum': 1, 'maximum': 100_000})
    optimism: float = field(default=3.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    length_scale: float = field(default=1.5, metadata={'minimum': 0.01, 'maximum': 100.0})
    noise: float = field(default=0.3, metadata={'minimum': 0.01, 'maximum': 100.0})
    bowl: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    memory: int = field(default=120, metadata={'minimum': 10, 'maximum': 1000})
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})
    ridge: float = field(default=30.0, metadata={'minimum': 1e-3, 'maximum': 1e6})
    curvature: float = field(default=1.0, metadata={'minimum': 1e-3, 'maximum': 1e3})
    radius: float = field(default=6.0, metadata={'minimum': 0.1, 'maximum': 100.0})
    spread: float = field(default=0.7, metadata={'minimum': 0.01, 'maximum': 10.0})
    damping: float = field(default=0.7, metadata={'minimum': 0.01, 'maximum': 10.0})


@dataclass(frozen=True, eq=False)
class ScreenedFit(Fit):
    """Middle y_q of the candidates (zero in the warm-up), and what screens them (then None)."""

    search_mean: FloatArray
    process: BowlProcess | None


class ScreenedRegression(ResidualOptimiser):
    """Three estimates of the optimum, and episodes where one of them looks best to another.

    All three work in the coordinates y of hand synergies and use every rewarded episode:

    - y_q, the top of a quadratic of known curvature (`regress_optimum`): right early, when
      episodes are few, and blind to everything but the slope;
    - y_g, the top of the posterior mean of a Gaussian process over all 22 coordinates;
    - y_e, the softmax-weighted mean of the elites: never far from what was tried and worked.

    Candidates are drawn from N(y_q, spread^2 I), and the one of largest posterior mean plus
    `optimism` standard deviations is tried. The recommendation is (y_q + y_g + y_e) / 3: their
    errors are little alike, so that the mean is never much worse than the best of them, and
    better than each early. Samples, mean and recommendation are clipped to `limit` first standard
    deviations per parameter, and what is learnt is the clipped sample.
    """

    def __init__(
        self,
        initial_std: FloatArray,
        seed: int,
        settings: ScreenedRegressionSettings | None = None,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from the first distribution, y ~ N(0, I), of spread (22,). [m | rad | rad]."""
        self._settings = settings or ScreenedRegressionSettings()
        require_elites(elites)
        super().__init__(initial_std, seed, warm_up=warm_up)
        self._elites = elites
        self._basis = synergy_basis(self.initial_std, damping=self._settings.damping)
        sizes = np.repeat(COORDINATE_GROUPS, COORDINATE_GROUPS)
        self._length_scales = self._settings.length_scale * np.sqrt(sizes)

    def fit(self, residuals: FloatArray, rewards: FloatArray) -> ScreenedFit:
        """Recommend from the first episode on; search around y_q from M episodes on."""
        settings, zero = self._settings, np.zeros(self.dimension)
        first_std = self._basis.marginal_std(1.0)
        if not len(rewards):
            return ScreenedFit(zero, first_std, zero, zero, None)
        y = self._basis.to_search(residuals)
        regressed = regress_optimum(
            y,
            rewards,
            ridge=settings.ridge,
            curvature=settings.curvature,
            radius=settings.radius,
        )
        order, weights = softmax_weights(rewards, self._elites)
        elite = weights @ y[order]
        process = BowlProcess(
            y[-settings.memory :],
            standardised(rewards[-settings.memory :]),
            length_scales=self._length_scales,
            noise=settings.noise,
            bowl=settings.bowl,
        )
        top = process.top([elite, regressed], settings.radius)
        recommendation = self._residual((regressed + top + elite) / 3.0)
        if len(rewards) < self.warm_up:
            return ScreenedFit(zero, first_std, recommendation, zero, None)
        std = self._basis.marginal_std(settings.spread)
        return ScreenedFit(self._residual(regressed), std, recommendation, regressed, process)

    def draw(self, fit: Fit, rng: np.random.Generator) -> FloatArray:
        """The most promising of many candidates; in the warm-up the first one."""
        assert isinstance(fit, ScreenedFit), 'of another optimiser'
        if fit.process is None:
            return self._residual(rng.standard_normal(self.dimension))
        noise = rng.standard_normal((self._settings.candidates, self.dimension))
        candidates = fit.search_mean + self._settings.spread * noise
        mean, std = fit.process.predict(candidates)
        promise = mean + self._settings.optimism * std
        return self._residual(candidates[int(np.argmax(promise))])

    def _residual(self, y: FloatArray) -> FloatArray:
        """Residual of search coordinates, within the limit. Shape (22,). [m | rad | rad]."""
        bound = self._settings.limit * self.initial_std
        return np.clip(self._basis.to_residual(y), -bound, bound)


def standardised(rewards: FloatArray) -> FloatArray:
    """Rewards with mean zero and, where they differ enough, unit spread. Shape (k,).

    What an operator means by 0.6 differs from task to task.
    """
    spread = max(float(rewards.std()), _SMALLEST_SPREAD)
    return np.asarray((rewards - rewards.mean()) / spread, dtype=np.float64)


def softmax_weights(rewards: FloatArray, elites: int) -> tuple[list[int], FloatArray]:
    """Elites, best first, and weights exp((R_i - R_best) / std(R_1..R_k)) of sum 1."""
    order = rank(rewards)[:elites]
    temperature = max(float(rewards.std()), _SMALLEST_TEMPERATURE)
    weights = np.exp((rewards[order] - rewards[order[0]]) / temperature)
    return order, weights / weights.sum()


def regress_optimum(
    y: FloatArray, rewards: FloatArray, *, ridge: float, curvature: float, radius: float
) -> FloatArray:
    """Top (d,) of a quadratic of known curvature, fitted to all y (k, d) by ridge regression.

    The model is t(y) = a + g.y - kappa (|y|^2 / d - 1), of which only the slope g is learnt, also
    from failures. With standardised rewards t and centred Y,

        t' = t + kappa (|y|^2 / d - 1), centred
        g  = (Y'Y + lambda I)^-1 Y' t'
        y* = d g / (2 kappa), shortened to the radius.
    """
    count, dimension = y.shape
    target = standardised(rewards) + curvature * (np.sum(y**2, axis=1) / dimension - 1.0)
    target = target - target.mean()
    centred = y - y.mean(axis=0)
    # The dual form: k is smaller than d for most of a session.
    gram = centred @ centred.T + ridge * np.eye(count)
    slope = centred.T @ np.linalg.solve(gram, target)
    return shorten(dimension / (2.0 * curvature) * slope, radius)


class BowlProcess:
    """Posterior over the standardised reward: a bowl, plus a squared exponential process.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 2.2, equations
    2.25 and 2.26. Length scales and noise are constants: nothing is fitted to 30 noisy scores.

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
        """Condition on standardised rewards (n,) of episodes at y (n, d).

        Args:
            y: Search coordinates.
            values: Standardised rewards.
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
        """Highest posterior mean, climbing from each start; within the radius. Shape (d,)."""
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


class SearchBasis:
    """A linear map L (d, d) between residuals and search coordinates in units of sigma (d,)."""

    def __init__(self, sigma: FloatArray, matrix: FloatArray) -> None:
        """Prepare the map."""
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
        """Spread of each parameter where y has spread `std`. Shape (d,). [m | rad | rad]."""
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


def _helmert(size: int) -> FloatArray:
    """Orthonormal rows: the mean, then each entry against the mean of those before it."""
    rows = np.zeros((size, size))
    rows[0] = 1.0 / np.sqrt(size)
    for k in range(1, size):
        rows[k, :k] = 1.0
        rows[k, k] = -k
        rows[k] /= np.sqrt(k * (k + 1))
    return rows
