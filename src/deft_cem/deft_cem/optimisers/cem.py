# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy method of the paper (section 3.2, Algorithm 1; constants of Table 4)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deft_cem.optimisers.interface import FloatArray, Sample
from deft_cem.optimisers.paper_parameters import DEFAULT_ELITES, DEFAULT_WARM_UP
from deft_core.errors import ConfigurationError, InvalidInputError

STATE_VERSION = 1


def _numbers(values: object, name: str, dimension: int) -> FloatArray:
    """Convert JSON numbers to a finite (dimension,) array or refuse with the field's name."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = f'optimiser state: {name} must be {dimension} numbers, got {values!r}'
        raise InvalidInputError(message) from error
    if array.shape != (dimension,) or not np.all(np.isfinite(array)):
        raise InvalidInputError(
            f'optimiser state: {name} must be {dimension} finite numbers, got shape {array.shape}'
        )
    return array


class CrossEntropyMethod:
    """Diagonal Gaussian over residuals, refitted to the best episodes so far.

    Exactly Algorithm 1: D starts as N(0, sigma^2); after every rated episode k > M all episodes
    1..k are ranked by reward, the best E (all, while k < E) are the elites, and D becomes their
    mean and their standard deviation. The paper leaves four things open; they are decided here:

    - The fit is diagonal: the covariance of ten points in 22 dimensions has rank 9 and would
      lock the search into a subspace.
    - The fit is the maximum-likelihood one (divides by E, no floor), the plain reading of "fit".
    - Equal rewards rank in the order in which they were tried (a stable sort), so a run is
      reproducible and does not depend on the sorting library.
    - An episode whose grasp could not be tried *because of its parameters* (unreachable, or
      stopped by a collision) is told reward 0: it did not complete the task, and where not to
      go is worth knowing. An episode that failed for another reason (estop, a device, no
      reward) is withdrawn: it is never ranked and does not count towards k.

    Example:
        >>> optimiser = CrossEntropyMethod(np.ones(2), np.random.default_rng(0),
        ...                                elites=3, warm_up=5)
        >>> for _ in range(20):
        ...     sample = optimiser.ask()
        ...     optimiser.tell(sample.index, float(np.exp(-np.sum((sample.residual - 1) ** 2))))
        >>> bool(np.all(optimiser.recommendation > 0))
        True
    """

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        *,
        elites: int = DEFAULT_ELITES,
        warm_up: int = DEFAULT_WARM_UP,
    ) -> None:
        """Start from N(0, initial_std^2).

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples; its state is part of `state_dict`. Must be a PCG64
                (`np.random.default_rng`), whose state is a few integers.
            elites: E, number of episodes the distribution is fitted to.
            warm_up: M, number of rated episodes drawn from the first distribution.

        Raises:
            ConfigurationError: A size that Algorithm 1 cannot run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
        """
        spread = np.array(initial_std, dtype=np.float64)
        if spread.ndim != 1 or spread.size == 0:
            raise InvalidInputError(f'initial_std must have shape (d,), got {spread.shape}')
        if not np.all(np.isfinite(spread)) or not np.all(spread > 0.0):
            raise InvalidInputError(
                f'initial_std must be finite and > 0 in every parameter, got {spread.tolist()}'
            )
        if elites < 2:
            raise ConfigurationError(
                f'elites is {elites}, expected at least 2: the spread of one point is zero'
            )
        if warm_up < 1:
            raise ConfigurationError(
                f'warm_up is {warm_up}, expected at least 1: a fit needs two episodes'
            )
        if not isinstance(rng.bit_generator, np.random.PCG64):
            raise InvalidInputError(
                f'the generator is {type(rng.bit_generator).__name__}, expected PCG64; '
                'make it with np.random.default_rng(seed)'
            )
        self._initial_std = spread
        self._rng = rng
        self._elites = elites
        self._warm_up = warm_up
        self._mean = np.zeros_like(spread)
        self._std = spread.copy()
        self._residuals: list[FloatArray] = []
        # Reward of each proposal; None while pending and for good once withdrawn.
        self._rewards: list[float | None] = []
        self._pending: Sample | None = None

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return int(self._initial_std.size)

    @property
    def mean(self) -> FloatArray:
        """Mean of the present distribution. Shape (d,). [m | rad | rad]."""
        return self._mean.copy()

    @property
    def std(self) -> FloatArray:
        """Standard deviation of the present distribution. Shape (d,). [m | rad | rad]."""
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
        """Mean of the elites (zero before the first fit). Shape (d,). [m | rad | rad]."""
        return self.mean

    @property
    def elite_indices(self) -> tuple[int, ...]:
        """Proposal numbers of the best E rated episodes, best first (Omega of Algorithm 1)."""
        rated = [
            (index, reward) for index, reward in enumerate(self._rewards) if reward is not None
        ]
        ranked = sorted(rated, key=lambda pair: -pair[1])  # stable: ties keep their order
        return tuple(index for index, _ in ranked[: self._elites])

    def ask(self) -> Sample:
        """Draw the next residual from D.

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
        residual = self._mean + self._std * self._rng.standard_normal(self.dimension)
        residual.setflags(write=False)
        self._residuals.append(residual)
        self._rewards.append(None)
        self._pending = Sample(len(self._residuals) - 1, residual, self.mean, self.std)
        return self._pending

    def tell(self, index: int, reward: float) -> None:
        """Rate the pending proposal and, past the warm-up, refit D.

        Args:
            index: `Sample.index` of the pending proposal.
            reward: The operator's score, 0..1.

        Raises:
            InvalidInputError: Another index, or a reward that is not a number in 0..1.
        """
        self._require_pending(index)
        if not math.isfinite(reward) or not 0.0 <= reward <= 1.0:
            raise InvalidInputError(
                f'reward of proposal {index} is {reward!r}, expected a number from 0 to 1'
            )
        self._rewards[index] = float(reward)
        self._pending = None
        if self.rated_count > self._warm_up:
            elite = np.stack([self._residuals[i] for i in self.elite_indices])
            self._mean = elite.mean(axis=0)
            self._std = elite.std(axis=0)

    def withdraw(self, index: int) -> None:
        """Take the pending proposal back; it is never ranked and does not count towards k.

        Args:
            index: `Sample.index` of the pending proposal.

        Raises:
            InvalidInputError: No such proposal is pending.
        """
        self._require_pending(index)
        self._pending = None

    def _require_pending(self, index: int) -> None:
        if self._pending is None or self._pending.index != index:
            waiting = 'none' if self._pending is None else str(self._pending.index)
            raise InvalidInputError(f'proposal {index} is not pending (pending: {waiting})')

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit.

        Returns:
            JSON values only: numbers, strings, lists, dicts and None. Python writes the
            shortest decimal that reads back as the same float64, so JSON loses nothing.
        """
        return {
            'version': STATE_VERSION,
            'method': 'cem',
            'elites': self._elites,
            'warm_up': self._warm_up,
            'initial_std': self._initial_std.tolist(),
            'mean': self._mean.tolist(),
            'std': self._std.tolist(),
            'residuals': [residual.tolist() for residual in self._residuals],
            'rewards': list(self._rewards),
            'pending': None if self._pending is None else self._pending.index,
            'generator': dict(self._rng.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; on an error nothing is changed.

        Args:
            state: The saved state, for example read back from JSON.

        Raises:
            InvalidInputError: A state of another version, method, size, or a broken one.
        """
        expected = set(self.state_dict())
        if set(state) != expected:
            raise InvalidInputError(
                f'optimiser state has the keys {sorted(state)}, expected {sorted(expected)}'
            )
        for key, value in (
            ('version', STATE_VERSION),
            ('method', 'cem'),
            ('elites', self._elites),
            ('warm_up', self._warm_up),
            ('initial_std', self._initial_std.tolist()),
        ):
            if state[key] != value:
                raise InvalidInputError(
                    f'optimiser state has {key} = {state[key]!r}, this optimiser has {value!r}; '
                    'resume with the configuration the session was started with'
                )
        mean = _numbers(state['mean'], 'mean', self.dimension)
        std = _numbers(state['std'], 'std', self.dimension)
        residuals = [_numbers(row, 'residual', self.dimension) for row in state['residuals']]
        rewards = list(state['rewards'])
        pending = state['pending']
        if len(rewards) != len(residuals):
            raise InvalidInputError(
                f'optimiser state has {len(residuals)} residuals but {len(rewards)} rewards'
            )
        for reward in rewards:
            if reward is not None and not (
                isinstance(reward, int | float) and 0.0 <= reward <= 1.0
            ):
                raise InvalidInputError(f'optimiser state has the reward {reward!r}, not in 0..1')
        if pending is not None and (pending != len(residuals) - 1 or rewards[pending] is not None):
            raise InvalidInputError(
                f'optimiser state has proposal {pending!r} pending, '
                f'expected the last of {len(residuals)} and without a reward'
            )
        generator = np.random.PCG64()
        try:
            generator.state = state['generator']
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise InvalidInputError(
                f'optimiser state: the random generator cannot be restored ({error})'
            ) from error
        self._mean, self._std = mean, std
        for residual in residuals:
            residual.setflags(write=False)
        self._residuals, self._rewards = residuals, rewards
        self._rng.bit_generator.state = generator.state
        self._pending = (
            None if pending is None else Sample(pending, residuals[pending], self.mean, self.std)
        )
