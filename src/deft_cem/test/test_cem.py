# SPDX-License-Identifier: Apache-2.0
"""The optimiser against Algorithm 1, bad input, and bit-exact resumption."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_cem.optimisers.cem import CrossEntropyMethod
from deft_cem.optimisers.paper_parameters import initial_standard_deviation
from deft_core.errors import ConfigurationError, InvalidInputError

REWARDS = st.floats(0.0, 1.0, allow_nan=False)


def make(seed: int = 0, elites: int = 3, warm_up: int = 4, dimension: int = 5):
    return CrossEntropyMethod(
        np.linspace(0.5, 1.5, dimension),
        np.random.default_rng(seed),
        elites=elites,
        warm_up=warm_up,
    )


def test_first_distribution_is_table_4() -> None:
    std = initial_standard_deviation()
    assert std.tolist() == [0.02] * 3 + [0.2] * 3 + [0.05] * 16


def test_warm_up_keeps_the_first_distribution_and_episode_eleven_refits() -> None:
    optimiser = CrossEntropyMethod(initial_standard_deviation(), np.random.default_rng(1))
    for k in range(1, 11):
        sample = optimiser.ask()
        optimiser.tell(sample.index, k / 20)
        assert np.array_equal(optimiser.mean, np.zeros(22))
        assert np.array_equal(optimiser.std, initial_standard_deviation())
    sample = optimiser.ask()
    optimiser.tell(sample.index, 1.0)
    assert not np.array_equal(optimiser.mean, np.zeros(22))
    assert sample.index in optimiser.elite_indices


@settings(deadline=None)
@given(rewards=st.lists(REWARDS, min_size=5, max_size=30), seed=st.integers(0, 2**32 - 1))
def test_refit_equals_the_definition(rewards: list[float], seed: int) -> None:
    """All episodes so far are ranked, not a generation, and the fit is the ML one."""
    optimiser = make(seed)
    residuals = []
    for reward in rewards:
        sample = optimiser.ask()
        residuals.append(sample.residual)
        optimiser.tell(sample.index, reward)
    order = sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))[:3]
    elite = np.stack([residuals[i] for i in order])
    assert optimiser.elite_indices == tuple(order)
    np.testing.assert_array_equal(optimiser.mean, elite.mean(axis=0))
    np.testing.assert_array_equal(
        optimiser.std, np.sqrt(np.mean((elite - elite.mean(axis=0)) ** 2, axis=0))
    )
    np.testing.assert_array_equal(optimiser.recommendation, optimiser.mean)


def test_with_fewer_episodes_than_elites_all_are_elites() -> None:
    optimiser = make(elites=10, warm_up=2)
    residuals = []
    for reward in (0.1, 0.9, 0.5):
        sample = optimiser.ask()
        residuals.append(sample.residual)
        optimiser.tell(sample.index, reward)
    assert optimiser.elite_indices == (1, 2, 0)
    np.testing.assert_allclose(optimiser.mean, np.mean(residuals, axis=0))


def test_equal_rewards_rank_in_order_of_trial() -> None:
    optimiser = make()
    for _ in range(6):
        optimiser.tell(optimiser.ask().index, 0.0)
    assert optimiser.elite_indices == (0, 1, 2)


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(st.one_of(REWARDS, st.none()), min_size=1, max_size=25),
    cut=st.integers(0, 24),
    while_pending=st.booleans(),
    seed=st.integers(0, 2**63),
)
def test_resumed_run_is_bit_equal(actions, cut: int, while_pending: bool, seed: int) -> None:
    """Through JSON, at any point, also while a sample waits for its reward."""
    straight, resumed = make(seed), make(seed)
    for step, action in enumerate(actions):
        expected = straight.ask()
        sample = resumed.ask()
        if step == cut and while_pending:
            resumed = reload(resumed)
            assert resumed.pending is not None
            sample = resumed.pending
        assert sample.residual.tobytes() == expected.residual.tobytes()
        for optimiser in (straight, resumed):
            if action is None:
                optimiser.withdraw(sample.index)
            else:
                optimiser.tell(sample.index, action)
        if step == cut and not while_pending:
            resumed = reload(resumed)
    assert json.dumps(resumed.state_dict()) == json.dumps(straight.state_dict())


def reload(optimiser: CrossEntropyMethod) -> CrossEntropyMethod:
    fresh = make(seed=987654321)
    fresh.load_state_dict(json.loads(json.dumps(optimiser.state_dict())))
    return fresh


def test_withdrawn_episode_is_neither_ranked_nor_counted() -> None:
    optimiser = make()
    lost = optimiser.ask()
    optimiser.withdraw(lost.index)
    for _ in range(4):
        optimiser.tell(optimiser.ask().index, 0.0)
    assert optimiser.rated_count == 4
    assert np.array_equal(optimiser.mean, np.zeros(5))  # k is not yet > M
    assert lost.index not in optimiser.elite_indices


@pytest.mark.parametrize('reward', [math.nan, math.inf, -0.01, 1.01])
def test_bad_reward_is_refused_and_changes_nothing(reward: float) -> None:
    optimiser = make()
    sample = optimiser.ask()
    before = copy.deepcopy(optimiser.state_dict())
    with pytest.raises(InvalidInputError, match='from 0 to 1'):
        optimiser.tell(sample.index, reward)
    assert optimiser.state_dict() == before


def test_ask_and_tell_out_of_order_are_refused() -> None:
    optimiser = make()
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(0, 0.5)
    sample = optimiser.ask()
    with pytest.raises(InvalidInputError, match='still waits'):
        optimiser.ask()
    optimiser.tell(sample.index, 0.5)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(sample.index, 0.5)


def test_sizes_algorithm_1_cannot_run_with_are_refused() -> None:
    with pytest.raises(ConfigurationError, match='at least 2'):
        make(elites=1)
    with pytest.raises(ConfigurationError, match='two episodes'):
        make(warm_up=0)
    with pytest.raises(InvalidInputError, match='> 0'):
        CrossEntropyMethod(np.zeros(3), np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match='PCG64'):
        CrossEntropyMethod(np.ones(3), np.random.Generator(np.random.MT19937(0)))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('version', 3),
        ('method', 'other'),
        ('elites', 4),
        ('mean', [0.0] * 4),
        ('std', [math.nan] * 5),
        ('rewards', []),
        ('rewards', [2.0, 0.1]),
        ('pending', 0),
        ('generator', {'bit_generator': 'MT19937'}),
    ],
)
def test_broken_state_is_refused_and_changes_nothing(key: str, value: object) -> None:
    optimiser = make()
    for _ in range(2):
        optimiser.tell(optimiser.ask().index, 0.5)
    state = json.loads(json.dumps(optimiser.state_dict()))
    before = copy.deepcopy(state)
    state[key] = value
    with pytest.raises(InvalidInputError):
        optimiser.load_state_dict(state)
    assert optimiser.state_dict() == before


def test_search_moves_towards_the_optimum() -> None:
    """Numeric truth: on a smooth bowl the recommendation gets nearer, on average over seeds."""
    target = np.full(5, 1.0)
    distances = []
    for seed in range(8):
        optimiser = make(seed, elites=5, warm_up=10)
        for _ in range(60):
            sample = optimiser.ask()
            distance = float(np.sum((sample.residual - target) ** 2))
            optimiser.tell(sample.index, math.exp(-distance / 5.0))
        distances.append(np.linalg.norm(optimiser.recommendation - target))
    assert np.mean(distances) < 0.8 * np.linalg.norm(target)
