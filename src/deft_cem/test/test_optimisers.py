# SPDX-License-Identifier: Apache-2.0
"""What every optimiser of the catalogue must do, whatever its idea is."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_cem.optimisers.interface import ResidualOptimiser
from deft_cem.optimisers.paper_parameters import initial_standard_deviation
from deft_cem.optimisers.registry import (
    CATALOGUE,
    DEFAULT_METHOD,
    OptimiserSettings,
    Practice,
)
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError

METHODS = sorted(CATALOGUE)
REWARDS = st.one_of(st.floats(0.0, 1.0, allow_nan=False), st.sampled_from([0.0, 0.5, 1.0]))
SIGMA = initial_standard_deviation()


def make(method: str, seed: int = 0, warm_up: int = 4, **parameters) -> ResidualOptimiser:
    return OptimiserSettings(method, parameters).make(
        SIGMA, np.random.default_rng(seed), Practice(elites=3, warm_up=warm_up)
    )


def through_json(method: str, optimiser: ResidualOptimiser) -> ResidualOptimiser:
    """A fresh one with the state of another, as after a restart."""
    fresh = make(method, seed=987654321)
    fresh.load_state_dict(json.loads(json.dumps(optimiser.state_dict(), allow_nan=False)))
    return fresh


def practise(optimiser: ResidualOptimiser, reward: Callable[[np.ndarray], float], count: int):
    for _ in range(count):
        sample = optimiser.ask()
        optimiser.tell(sample.index, reward(sample.residual / SIGMA))


@pytest.mark.parametrize('method', METHODS)
@settings(max_examples=25, deadline=None)
@given(
    actions=st.lists(
        st.tuples(
            st.one_of(REWARDS, st.none()),  # None withdraws
            st.sampled_from(['go on', 'resume while pending', 'resume after', 'bad reward']),
        ),
        min_size=1,
        max_size=16,
    ),
    seed=st.integers(0, 2**63),
)
def test_any_history_resumes_bit_for_bit(method: str, actions, seed: int) -> None:
    straight, resumed = make(method, seed), make(method, seed)
    for reward, event in actions:
        expected, sample = straight.ask(), resumed.ask()
        if event == 'resume while pending':
            resumed = through_json(method, resumed)
            assert resumed.pending is not None
            sample = resumed.pending
        for name in ('residual', 'mean', 'std'):
            assert getattr(sample, name).tobytes() == getattr(expected, name).tobytes()
        assert np.all(np.isfinite(sample.residual))
        if event == 'bad reward':
            for wrong in (math.nan, -0.5, 1.5):
                with pytest.raises(InvalidInputError):
                    resumed.tell(sample.index, wrong)
        for optimiser in (straight, resumed):
            if reward is None:
                optimiser.withdraw(sample.index)
            else:
                optimiser.tell(sample.index, reward)
        if event == 'resume after':
            resumed = through_json(method, resumed)
        assert np.all(np.isfinite(resumed.recommendation))
        assert np.all(resumed.std >= 0.0)
    assert json.dumps(resumed.state_dict()) == json.dumps(straight.state_dict())


@pytest.mark.parametrize('method', METHODS)
def test_equal_seeds_give_equal_sessions_and_others_do_not(method: str) -> None:
    def session(seed: int) -> str:
        optimiser = make(method, seed)
        practise(optimiser, lambda z: float(np.exp(-np.sum(z[:6] ** 2) / 10)), 8)
        return json.dumps(optimiser.state_dict())

    assert session(1) == session(1)
    assert session(1) != session(2)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('value', [0.0, 0.3, 1.0])
def test_equal_rewards_keep_the_search_alive_and_near(method: str, value: float) -> None:
    optimiser = make(method)
    practise(optimiser, lambda _: value, 14)
    assert np.all(optimiser.std > 0.0)
    assert np.linalg.norm(optimiser.recommendation / SIGMA) < np.sqrt(22)


@pytest.mark.parametrize('method', METHODS)
def test_withdrawn_episodes_teach_nothing(method: str) -> None:
    """With the same draws, a search goes the same way whether or not one was withdrawn."""
    optimiser = make(method)
    practise(optimiser, lambda z: float(np.exp(-np.sum(z[:6] ** 2) / 10)), 6)
    before = optimiser.recommendation, optimiser.mean, optimiser.std
    lost = optimiser.ask()
    optimiser.withdraw(lost.index)
    assert optimiser.rated_count == 6
    assert optimiser.pending is None
    for old, new in zip(
        before, (optimiser.recommendation, optimiser.mean, optimiser.std), strict=True
    ):
        assert old.tobytes() == new.tobytes()
    assert optimiser.ask().index == lost.index + 1


@pytest.mark.parametrize('method', METHODS)
def test_the_warm_up_is_drawn_from_the_first_distribution(method: str) -> None:
    optimiser = make(method, warm_up=6)
    first = optimiser.std
    for number in range(6):
        sample = optimiser.ask()
        assert np.array_equal(sample.mean, np.zeros(22))
        assert np.array_equal(sample.std, first)
        optimiser.tell(sample.index, number / 10)
    practise(optimiser, lambda _: 0.9, 1)
    assert not np.array_equal(optimiser.mean, np.zeros(22))


@pytest.mark.parametrize('method', METHODS)
def test_first_samples_have_the_spread_they_say(method: str) -> None:
    optimiser = make(method, warm_up=3000)
    drawn = []
    for _ in range(3000):
        sample = optimiser.ask()
        drawn.append(sample.residual)
        optimiser.withdraw(sample.index)
    np.testing.assert_allclose(np.std(drawn, axis=0), optimiser.std, rtol=0.06)
    # Table 4 is the budget: no method starts with a quite different spread of any parameter.
    assert np.all(optimiser.std / SIGMA < 1.5)
    assert np.all(optimiser.std / SIGMA > 0.5)


@pytest.mark.parametrize('method', [m for m in METHODS if m != 'cem'])
def test_bounds_hold_for_samples_and_recommendation(method: str) -> None:
    optimiser = make(method, limit=0.5)
    for _ in range(12):
        sample = optimiser.ask()
        assert np.all(np.abs(sample.residual) <= 0.5 * SIGMA)
        optimiser.tell(sample.index, 1.0 if sample.residual[0] > 0 else 0.0)
        assert np.all(np.abs(optimiser.recommendation) <= 0.5 * SIGMA)
        assert np.all(np.abs(optimiser.mean) <= 0.5 * SIGMA)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(
    'reward', [math.nan, math.inf, -math.inf, -0.01, 1.01, True, '0.5', None, [0.5]]
)
def test_what_is_no_reward_is_refused_and_changes_nothing(method: str, reward: object) -> None:
    optimiser = make(method)
    practise(optimiser, lambda _: 0.5, 5)
    sample = optimiser.ask()
    before = copy.deepcopy(optimiser.state_dict())
    with pytest.raises(InvalidInputError, match='from 0 to 1'):
        optimiser.tell(sample.index, reward)
    assert optimiser.state_dict() == before
    optimiser.tell(sample.index, np.float64(0.5))


@pytest.mark.parametrize('method', METHODS)
def test_out_of_order_is_refused(method: str) -> None:
    optimiser = make(method)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(0, 0.5)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.withdraw(0)
    sample = optimiser.ask()
    with pytest.raises(InvalidInputError, match='still waits'):
        optimiser.ask()
    optimiser.tell(sample.index, 0.5)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(sample.index, 0.5)
    with pytest.raises(ValueError, match='read-only'):
        sample.residual[0] = 1.0


def _numbers_in(value: object, path: tuple = ()):
    """Paths to all lists of numbers in a state."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers_in(item, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], float):
        yield path


@pytest.mark.parametrize('method', METHODS)
def test_a_broken_state_is_refused_and_changes_nothing(method: str) -> None:
    optimiser = make(method)
    practise(optimiser, lambda z: float(np.exp(-np.sum(z[:6] ** 2) / 10)), 6)
    good = json.loads(json.dumps(optimiser.state_dict()))
    target = make(method)
    before = copy.deepcopy(target.state_dict())
    broken = [{k: v for k, v in good.items() if k != key} for key in good]
    broken += [
        {**good, 'version': 1},
        {**good, 'method': 'other'},
        {**good, 'warm_up': 5},
        {**good, 'parameters': {**good['parameters'], 'elites': 99}},
        {**good, 'rewards': good['rewards'][:-1]},
        {**good, 'rewards': [*good['rewards'][:-1], 2.0]},
        {**good, 'rewards': 'all'},
        {**good, 'pending': 0},
        {**good, 'pending': 'last'},
        {**good, 'std': [-1.0] * 22},
        {**good, 'residuals': [[0.0] * 21] * 6},
        {**good, 'search': None},
        {**good, 'search': {**good['search'], 'more': 1}},
        {**good, 'generator': {'bit_generator': 'MT19937'}},
        {**good, 'generator': None},
        {**good, 'extra': 1},
    ]
    for path in _numbers_in(good):
        for wrong in (math.nan, None, 'x'):
            if path == ('rewards',) and wrong is None:
                continue  # a withdrawn episode
            state = copy.deepcopy(good)
            inner = state
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]][0] = wrong
            broken.append(state)
    for state in broken:
        with pytest.raises(InvalidInputError):
            target.load_state_dict(state)
        assert target.state_dict() == before
    target.load_state_dict(good)
    assert target.state_dict() == optimiser.state_dict()


def test_a_state_of_one_method_is_refused_by_another() -> None:
    state = make('cem').state_dict()
    with pytest.raises(InvalidInputError, match='optimiser'):
        make('softmax_cem').load_state_dict(state)


@pytest.mark.parametrize('method', METHODS)
def test_the_recommendation_climbs(method: str) -> None:
    """Numeric truth: on a smooth hill the recommendation gets nearer to the top, on average."""
    top = np.zeros(22)
    top[[0, 1, 3, 4]] = 1.2, -1.0, 1.2, 1.0
    gained = []
    for seed in range(6):
        optimiser = make(method, seed, warm_up=10)
        noise = np.random.default_rng(seed)

        def reward(z: np.ndarray, noise: np.random.Generator = noise) -> float:
            height = np.exp(-np.sum((z - top)[:6] ** 2) / 8.0)
            return float(np.clip(height + 0.03 * noise.standard_normal(), 0.0, 1.0))

        practise(optimiser, reward, 30)
        error = np.linalg.norm((optimiser.recommendation / SIGMA - top)[:6])
        gained.append(1.0 - error / np.linalg.norm(top))
    assert np.mean(gained) > (0.1 if method == 'cem' else 0.25)


@pytest.mark.parametrize('method', METHODS)
def test_long_sessions_stay_finite(method: str) -> None:
    optimiser = make(method)
    practise(optimiser, lambda z: float(z[0] > 1.0), 60)
    assert np.all(np.isfinite(optimiser.recommendation))
    json.dumps(optimiser.state_dict(), allow_nan=False)


def test_the_default_is_in_the_catalogue() -> None:
    assert OptimiserSettings().method == DEFAULT_METHOD
    assert DEFAULT_METHOD in CATALOGUE


@pytest.mark.parametrize(
    ('method', 'parameters', 'told'),
    [
        ('cma', {}, 'known'),
        ('softmax_cen', {}, "did you mean 'softmax_cem'"),
        ('cem', {'elites': 5}, 'unknown entry'),
        ('softmax_cem', {'pseudo_cout': 5.0}, "did you mean 'pseudo_count'"),
        ('softmax_cem', {'pseudo_count': -1.0}, 'must be 0.0 to'),
        ('softmax_cem', {'pseudo_count': math.nan}, 'finite'),
        ('softmax_cem', {'basis': 'fourier'}, "'synergies'"),
        ('quadratic_regression', {'ridge': '30'}, 'must be float'),
        ('quadratic_regression', {'limit': 0.0}, 'limit must be'),
    ],
)
def test_wrong_settings_are_refused_before_a_session(method, parameters, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        OptimiserSettings(method, parameters)


@pytest.mark.parametrize('method', METHODS)
def test_wrong_sizes_are_refused(method: str) -> None:
    entry = OptimiserSettings(method)
    rng = np.random.default_rng(0)
    for std, generator, practice in (
        (np.zeros(22), rng, Practice(3, 4)),
        (np.full(22, np.nan), rng, Practice(3, 4)),
        (np.ones((2, 11)), rng, Practice(3, 4)),
        (SIGMA, rng, Practice(3, 0)),
        (SIGMA, np.random.Generator(np.random.MT19937(0)), Practice(3, 4)),
    ):
        with pytest.raises(DeftError):
            entry.make(std, generator, practice)
