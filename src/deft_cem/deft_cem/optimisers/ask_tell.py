# SPDX-License-Identifier: Apache-2.0
"""Ask and tell: control is inverted so that a real episode fits in between."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class Sample:
    """A proposed residual, and mean and spread it was drawn from. Shape (d,). [m | rad | rad].

    `index` counts proposals from 0; a discarded one keeps its number.
    """

    index: int
    residual: FloatArray
    mean: FloatArray
    std: FloatArray


@dataclass(frozen=True, eq=False)
class Fit:
    """Mean and spread to draw from, and the residual to deploy. Shape (d,). [m | rad | rad]."""

    mean: FloatArray
    std: FloatArray
    recommendation: FloatArray


class ResidualOptimiser(ABC):
    """Search for the residual of the largest reward; a method adds `fit` and `draw`.

    There is no state to save: sample k is drawn from a generator seeded by (seed, k), and all
    else follows from the rewards. Going on after a kill is asking and telling the stored rewards
    again, in order, which gives the same samples bit for bit.

    What every method does with the cases that practice brings:

    - **Unreachable or colliding grasps** are told reward 0 by the session: the task was not
      completed because of the parameters, and where not to go is worth knowing.
    - **Failed and mis-executed episodes** (stop, device, no score) are discarded: they are not
      counted, and nothing is learnt from them.
    - **Equal rewards** rank in the order in which they were tried.
    - **Rewards** that are no finite number from 0 to 1 are refused; nothing changes.
    """

    def __init__(self, initial_std: FloatArray, seed: int, *, warm_up: int) -> None:
        """Begin with the spread (d,) of the `warm_up` (M) first episodes. [m | rad | rad].

        Raises:
            ConfigurationError: A number that no search can run with.
            InvalidInputError: A spread that is not positive.
        """
        spread = np.array(initial_std, dtype=np.float64)
        if spread.ndim != 1 or spread.size == 0:
            raise InvalidInputError(f'initial_std must have shape (d,), got {spread.shape}')
        if not np.all(np.isfinite(spread)) or not np.all(spread > 0.0):
            raise InvalidInputError(
                f'initial_std must be finite and > 0 in every parameter, got {spread.tolist()}'
            )
        if warm_up < 1:
            raise ConfigurationError(
                f'warm_up is {warm_up}, expected at least 1: a fit needs two episodes'
            )
        self.initial_std = spread
        self.warm_up = warm_up
        self._seed = seed
        self._asked = 0
        self._pending: Sample | None = None
        self._residuals: list[FloatArray] = []  # of the rewarded episodes
        self._rewards: list[float] = []
        self._fit: Fit | None = None  # of them; None before the first use

    @abstractmethod
    def fit(self, residuals: FloatArray, rewards: FloatArray) -> Fit:
        """What residuals (k, d) in order of trial and rewards (k,) teach; nothing is kept."""

    @abstractmethod
    def draw(self, fit: Fit, rng: np.random.Generator) -> FloatArray:
        """A residual to try. Shape (d,). [m | rad | rad]."""

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return int(self.initial_std.size)

    @property
    def mean(self) -> FloatArray:
        """Mean of the distribution that is sampled now. Shape (d,). [m | rad | rad]."""
        return self._known().mean.copy()

    @property
    def std(self) -> FloatArray:
        """Its standard deviation, per parameter. Shape (d,). [m | rad | rad]."""
        return self._known().std.copy()

    @property
    def recommendation(self) -> FloatArray:
        """The residual to deploy; zero before the first fit. Shape (d,). [m | rad | rad]."""
        return self._known().recommendation.copy()

    @property
    def pending(self) -> Sample | None:
        """The proposal that waits for `tell` or `discard`, if any."""
        return self._pending

    @property
    def rewarded_count(self) -> int:
        """Number of episodes with a reward: k of Algorithm 1."""
        return len(self._rewards)

    def ask(self) -> Sample:
        """Draw the next residual; it is `pending` until it is told or discarded."""
        if self._pending is not None:
            raise InvalidInputError(
                f'proposal {self._pending.index} still waits for its reward; '
                'tell or discard it before asking for the next'
            )
        known = self._known()
        seed = np.random.SeedSequence(self._seed, spawn_key=(self._asked,))
        residual = self.draw(known, np.random.default_rng(seed))
        residual.setflags(write=False)
        self._pending = Sample(self._asked, residual, self.mean, self.std)
        self._asked += 1
        return self._pending

    def tell(self, sample_index: int, reward: float) -> None:
        """Reward the pending proposal and learn from it.

        Raises:
            InvalidInputError: Another index, or a reward that is not a number in 0..1.
        """
        sample = self._require_pending(sample_index)
        if not _is_reward(reward):
            raise InvalidInputError(
                f'reward of proposal {sample_index} is {reward!r}, expected a number from 0 to 1'
            )
        self._residuals.append(sample.residual)
        self._rewards.append(float(reward))
        self._pending = self._fit = None
        self._known()

    def discard(self, sample_index: int) -> None:
        """Forget the pending proposal; it is never learnt from and does not count towards k."""
        self._require_pending(sample_index)
        self._pending = None

    def _known(self) -> Fit:
        if self._fit is None:
            residuals = np.reshape(self._residuals, (-1, self.dimension))
            self._fit = self.fit(residuals, np.array(self._rewards))
        return self._fit

    def _require_pending(self, sample_index: int) -> Sample:
        if self._pending is None or self._pending.index != sample_index:
            waiting = 'none' if self._pending is None else str(self._pending.index)
            raise InvalidInputError(f'proposal {sample_index} is not pending (pending: {waiting})')
        return self._pending


def rank(rewards: FloatArray) -> list[int]:
    """Indices by falling reward; equal rewards keep the order in which they were tried."""
    return [int(index) for index in np.argsort(-rewards, kind='stable')]


def require_elites(elites: int) -> None:
    """Refuse a number of elites whose spread is zero."""
    if elites < 2:
        raise ConfigurationError(
            f'elites is {elites}, expected at least 2: the spread of one point is zero'
        )


def _is_reward(value: object) -> bool:
    """Whether the value is a finite number from 0 to 1; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return math.isfinite(value) and 0.0 <= float(value) <= 1.0
