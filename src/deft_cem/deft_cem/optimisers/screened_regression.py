# SPDX-License-Identifier: Apache-2.0
"""Candidates around the top of a regressed quadratic, screened by a Gaussian process in 22-D."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from deft_cem.optimisers.ask_tell import Fit, FloatArray, ResidualOptimiser, rank, require_elites
from deft_cem.optimisers.gaussian_process import BowlProcess, shorten
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_cem.optimisers.search_basis import COORDINATE_GROUPS, synergy_basis

# Rewards that hardly differ tell nothing: their spread is taken as at least this.
_SMALLEST_SPREAD: Final = 0.05
# Rewards that differ by less are noise of a human score: the temperature is never below it.
_SMALLEST_TEMPERATURE: Final = 0.03


@dataclass(frozen=True)
class ScreenedRegressionSettings:
    """What may be set.

    Attributes:
        candidates: Residuals that are drawn and screened for one episode.
        optimism: Posterior standard deviations that are added to the posterior mean.
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
    optimism: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    length_scale: float = field(default=1.5, metadata={'minimum': 0.01, 'maximum': 100.0})
    noise: float = field(default=0.3, metadata={'minimum': 0.01, 'maximum': 100.0})
    bowl: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    memory: int = field(default=120, metadata={'minimum': 10, 'maximum': 1000})
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})
    ridge: float = field(default=30.0, metadata={'minimum': 1e-3, 'maximum': 1e6})
    curvature: float = field(default=1.0, metadata={'minimum': 1e-3, 'maximum': 1e3})
    radius: float = field(default=6.0, metadata={'minimum': 0.1, 'maximum': 100.0})
    spread: float = field(default=0.7, metadata={'minimum': 0.01, 'maximum': 10.0})
    damping: float = field(default=0.6, metadata={'minimum': 0.01, 'maximum': 10.0})


@dataclass(frozen=True, eq=False)
class ScreenedFit(Fit):
    """What candidates are drawn from and screened by.

    Attributes:
        search_mean: y_q, middle of the candidates; zero in the warm-up. Shape (22,).
        process: Screens them; None in the warm-up.
    """

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
    errors are little alike, so that the mean is as good as the best of them late, and better than
    each early. Samples, mean and recommendation are clipped to `limit` first standard deviations
    per parameter, and what is learnt is the clipped sample.
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
        """Start from the first distribution, y ~ N(0, I).

        Args:
            initial_std: Shape (22,). Spread per parameter, all > 0. [m | rad | rad]
            seed: Of the samples.
            settings: Of the method; None takes the defaults.
            elites: E.
            warm_up: M.

        Raises:
            ConfigurationError: A number the method cannot run with.
            InvalidInputError: A spread that is not positive, or another number of parameters.
        """
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
    """Best episodes and their weights, exp((R_i - R_best) / std(R_1..R_k)), normalised.

    Args:
        rewards: Of all episodes, in order of trial. Shape (k,).
        elites: E, how many of them count.

    Returns:
        Indices of the elites, best first, and their weights (sum 1). Shape (min(E, k),).
    """
    order = rank(rewards)[:elites]
    temperature = max(float(rewards.std()), _SMALLEST_TEMPERATURE)
    weights = np.exp((rewards[order] - rewards[order[0]]) / temperature)
    return order, weights / weights.sum()


def regress_optimum(
    y: FloatArray, rewards: FloatArray, *, ridge: float, curvature: float, radius: float
) -> FloatArray:
    """Top of a quadratic of known curvature, fitted to all episodes by ridge regression.

    The model is t(y) = a + g.y - kappa (|y|^2 / d - 1), of which only the slope g is learnt, also
    from failures. With standardised rewards t and centred Y,

        t' = t + kappa (|y|^2 / d - 1), centred
        g  = (Y'Y + lambda I)^-1 Y' t'
        y* = d g / (2 kappa), shortened to the radius.

    Args:
        y: Search coordinates of all episodes. Shape (k, d).
        rewards: Shape (k,).
        ridge: lambda.
        curvature: kappa.
        radius: Largest |y*|.

    Returns:
        y*. Shape (d,).
    """
    count, dimension = y.shape
    target = standardised(rewards) + curvature * (np.sum(y**2, axis=1) / dimension - 1.0)
    target = target - target.mean()
    centred = y - y.mean(axis=0)
    # The dual form: k is smaller than d for most of a session.
    gram = centred @ centred.T + ridge * np.eye(count)
    slope = centred.T @ np.linalg.solve(gram, target)
    return shorten(dimension / (2.0 * curvature) * slope, radius)
