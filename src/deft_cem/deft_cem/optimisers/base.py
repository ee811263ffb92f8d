# SPDX-License-Identifier: Apache-2.0
"""What all optimisers share: proposals, rewards, the generator, saving and resuming."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

import numpy as np

from deft_cem.optimisers.interface import FloatArray, Sample
from deft_cem.optimisers.saved_state import (
    finite_numbers,
    generator_state,
    require_equal,
    require_keys,
)
from deft_core.errors import ConfigurationError, InvalidInputError

STATE_VERSION: Final = 2


class AskTellOptimiser(ABC):
    """Book-keeping of one search; a method adds how to draw and what to learn.

    What every method does with the cases that practice brings:

    - **Unreachable or colliding grasps** are told reward 0 by the session: the task was not
      completed because of the parameters, and where not to go is worth knowing.
    - **Failed and mis-executed episodes** (stop, device, no score) are withdrawn: they are not
      counted, and nothing is learnt from them.
    - **Equal rewards** rank in the order in which they were tried.
    - **Rewards** that are no finite number from 0 to 1 are refused; nothing changes.
    - **Bounds**: with a `limit`, proposals and recommendation are clipped to `limit` times the
      first standard deviation per parameter, and what is learnt is the clipped proposal.

    Subclasses set `_mean`, `_std` and `_recommendation` in `_learn` and nothing else there; what
    more they must remember goes through `_search_state` and `_restore_search_state`.
    """

    method: ClassVar[str]

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        *,
        warm_up: int,
        limit: float | None = None,
    ) -> None:
        """Start with no episodes and a recommendation of zero.

        Args:
            initial_std: Shape (d,). First spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples; its state is part of `state_dict`. Must be a PCG64
                (`np.random.default_rng`), whose state is a few integers.
            warm_up: M, number of rated episodes drawn from the first distribution.
            limit: Largest residual in units of `initial_std`; None leaves it free.

        Raises:
            ConfigurationError: A number that no search can run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
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
        if limit is not None and not limit > 0.0:
            raise ConfigurationError(f'limit is {limit}, expected a number > 0')
        if not isinstance(rng.bit_generator, np.random.PCG64):
            raise InvalidInputError(
                f'the generator is {type(rng.bit_generator).__name__}, expected PCG64; '
                'make it with np.random.default_rng(seed)'
            )
        self._initial_std = spread
        self._rng = rng
        self._warm_up = warm_up
        self._limit = limit
        self._mean = np.zeros_like(spread)
        self._std = spread.copy()
        self._recommendation = np.zeros_like(spread)
        self._residuals: list[FloatArray] = []
        # Reward of each proposal; None while pending and for good once withdrawn.
        self._rewards: list[float | None] = []
        self._pending: Sample | None = None

    @abstractmethod
    def _draw(self) -> FloatArray:
        """The next residual before clipping. Shape (d,). [m | rad | rad]."""

    @abstractmethod
    def _learn(self, residuals: FloatArray, rewards: FloatArray) -> None:
        """Take in all rated episodes so far, in order of trial; called once per reward.

        Args:
            residuals: Shape (k, d). [m | rad | rad]
            rewards: Shape (k,). 0..1.
        """

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """What a saved state must agree on, as JSON values."""

    def _search_state(self) -> dict[str, Any]:
        """What the method remembers beyond mean, std and recommendation, as JSON values."""
        return {}

    def _restore_search_state(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Take back what `_search_state` gave (the keys are checked before).

        Every value must be checked before anything is changed.

        Raises:
            InvalidInputError: A broken value.
        """

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return int(self._initial_std.size)

    @property
    def mean(self) -> FloatArray:
        """Mean of the distribution that is sampled now. Shape (d,). [m | rad | rad]."""
        return self._mean.copy()

    @property
    def std(self) -> FloatArray:
        """Its standard deviation, per coordinate. Shape (d,). [m | rad | rad]."""
        return self._std.copy()

    @property
    def pending(self) -> Sample | None:
        """The proposal that waits for `tell` or `withdraw`, if any."""
        return self._pending

    @property
    def rated_count(self) -> int:
        """Number of episodes with a reward: k of Algorithm 1."""
        return sum(reward is not None for reward in self._rewards)

    @property
    def recommendation(self) -> FloatArray:
        """The residual to deploy; zero before the first fit. Shape (d,). [m | rad | rad]."""
        return self._recommendation.copy()

    def ask(self) -> Sample:
        """Draw the next residual.

        Returns:
            The proposal; `pending` until it is told or withdrawn.

        Raises:
            InvalidInputError: The proposal before is still pending.
        """
        if self._pending is not None:
            raise InvalidInputError(
                f'proposal {self._pending.index} still waits for its reward; '
                'tell or withdraw it before asking for the next'
            )
        residual = self._clip(self._draw())
        residual.setflags(write=False)
        self._residuals.append(residual)
        self._rewards.append(None)
        self._pending = Sample(len(self._residuals) - 1, residual, self.mean, self.std)
        return self._pending

    def tell(self, index: int, reward: float) -> None:
        """Rate the pending proposal and learn from it.

        Args:
            index: `Sample.index` of the pending proposal.
            reward: The operator's score, 0..1.

        Raises:
            InvalidInputError: Another index, or a reward that is not a number in 0..1.
        """
        self._require_pending(index)
        if not _is_reward(reward):
            raise InvalidInputError(
                f'reward of proposal {index} is {reward!r}, expected a number from 0 to 1'
            )
        self._rewards[index] = float(reward)
        self._pending = None
        self._learn(*self._rated())

    def withdraw(self, index: int) -> None:
        """Take the pending proposal back; it is never learnt from and does not count towards k.

        Args:
            index: `Sample.index` of the pending proposal.

        Raises:
            InvalidInputError: No such proposal is pending.
        """
        self._require_pending(index)
        self._pending = None

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit.

        Returns:
            JSON values only: numbers, strings, lists, dicts and None. Python writes the
            shortest decimal that reads back as the same float64, so JSON loses nothing.
        """
        return {
            'version': STATE_VERSION,
            'method': self.method,
            'parameters': self._parameters(),
            'warm_up': self._warm_up,
            'limit': self._limit,
            'initial_std': self._initial_std.tolist(),
            'mean': self._mean.tolist(),
            'std': self._std.tolist(),
            'recommendation': self._recommendation.tolist(),
            'residuals': [residual.tolist() for residual in self._residuals],
            'rewards': list(self._rewards),
            'pending': None if self._pending is None else self._pending.index,
            'generator': dict(self._rng.bit_generator.state),
            'search': self._search_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; on an error nothing is changed.

        Args:
            state: The saved state, for example read back from JSON.

        Raises:
            InvalidInputError: A state of another version, method, size, or a broken one.
        """
        own = self.state_dict()
        require_keys(state, own, 'optimiser state')
        for key in ('version', 'method', 'parameters', 'warm_up', 'limit', 'initial_std'):
            require_equal(key, state[key], own[key])
        mean, std, recommendation = (
            finite_numbers(state[key], key, self.dimension)
            for key in ('mean', 'std', 'recommendation')
        )
        if np.any(std < 0.0):
            raise InvalidInputError('optimiser state: std must not be negative')
        residuals = [finite_numbers(row, 'residual', self.dimension) for row in state['residuals']]
        rewards = _checked_rewards(state['rewards'], len(residuals))
        pending = state['pending']
        if pending is not None and (pending != len(residuals) - 1 or rewards[pending] is not None):
            raise InvalidInputError(
                f'optimiser state has proposal {pending!r} pending, '
                f'expected the last of {len(residuals)} and without a reward'
            )
        generator = generator_state(state['generator'])
        require_keys(state['search'], own['search'], 'search state')
        self._restore_search_state(state['search'])
        self._mean, self._std, self._recommendation = mean, std, recommendation
        for residual in residuals:
            residual.setflags(write=False)
        self._residuals, self._rewards = residuals, rewards
        self._rng.bit_generator.state = generator
        self._pending = (
            None if pending is None else Sample(pending, residuals[pending], self.mean, self.std)
        )

    def _rated(self) -> tuple[FloatArray, FloatArray]:
        """Residuals and rewards of the rated episodes. Shape (k, d) and (k,), k at least 1."""
        pairs = zip(self._residuals, self._rewards, strict=True)
        rated = [(residual, reward) for residual, reward in pairs if reward is not None]
        return np.stack([residual for residual, _ in rated]), np.array([r for _, r in rated])

    def _clip(self, residual: FloatArray) -> FloatArray:
        """The residual within the bounds. Shape (d,). [m | rad | rad]."""
        if self._limit is None:
            return residual
        bound = self._limit * self._initial_std
        return np.clip(residual, -bound, bound)

    def _require_pending(self, index: int) -> None:
        if self._pending is None or self._pending.index != index:
            waiting = 'none' if self._pending is None else str(self._pending.index)
            raise InvalidInputError(f'proposal {index} is not pending (pending: {waiting})')


def _is_reward(value: object) -> bool:
    """Whether the value is a finite number from 0 to 1; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return math.isfinite(value) and 0.0 <= float(value) <= 1.0


def _checked_rewards(values: object, count: int) -> list[float | None]:
    """Rewards of a saved state."""
    if not isinstance(values, list) or len(values) != count:
        raise InvalidInputError(
            f'optimiser state has {count} residuals, expected as many rewards, got {values!r}'
        )
    for reward in values:
        if reward is not None and not _is_reward(reward):
            raise InvalidInputError(f'optimiser state has the reward {reward!r}, not in 0..1')
    return [None if reward is None else float(reward) for reward in values]
