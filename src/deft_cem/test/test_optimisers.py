# SPDX-License-Identifier: Apache-2.0
"""What every optimiser of the registry must do, and the paper's against Algorithm 1."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_cem.optimisers.ask_tell import ResidualOptimiser, Sample
from deft_cem.optimisers.cem import CrossEntropyMethod, initial_standard_deviation
from deft_cem.optimisers.registry import METHODS, OptimiserSettings
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError

NAMES = sorted(METHODS)
REWARDS = st.one_of(st.floats(0.0, 1.0, allow_nan=False), st.sampled_from([0.0, 0.5, 1.0]))
SIGMA = initial_standard_deviation()
every_method = pytest.mark.parametrize('method', NAMES)


def make(method: str, seed: int = 0, warm_up: int = 4, **parameters) -> ResidualOptimiser:
    return OptimiserSettings(method, parameters).make(SIGMA, seed, elites=3, warm_up=warm_up)


def practise(optimiser: ResidualOptimiser, reward: Callable[[np.ndarray], float], count: int):
    for _ in range(count):
        sample = optimiser.ask()
        optimiser.tell(sample.index, reward(sample.residual / SIGMA))


def hill(z: np.ndarray) -> float:
    return float(np.exp(-np.sum(z[:6] ** 2) / 10))


def answer(optimiser: ResidualOptimiser, sample: Sample, reward: float | None) -> None:
    if reward is None:
        optimiser.discard(sample.index)
    else:
        optimiser.tell(sample.index, reward)


def everything(optimiser: ResidualOptimiser) -> bytes:
    pending = optimiser.pending
    arrays = [optimiser.mean, optimiser.std, optimiser.recommendation]
    if pending is not None:
        arrays += [pending.residual, pending.mean, pending.std, np.array(pending.index)]
    return b''.join(array.tobytes() for array in arrays)


@every_method
@settings(max_examples=40, deadline=None)
@given(
    answers=st.lists(st.one_of(REWARDS, st.none()), min_size=1, max_size=16),
    kills=st.sets(st.integers(0, 15)),
    seed=st.integers(0, 2**63),
)
def test_telling_the_rewards_again_goes_on_bit_for_bit(method, answers, kills, seed) -> None:
    """Killed while any of the samples is pending; None discards."""
    straight, resumed = make(method, seed), make(method, seed)
    for step, reward in enumerate(answers):
        expected = straight.ask()
        if step in kills:
            resumed = make(method, seed)
            for before in answers[:step]:
                answer(resumed, resumed.ask(), before)
        sample = resumed.ask()
        assert everything(resumed) == everything(straight)
        assert np.all(np.isfinite(sample.residual))
        for optimiser, asked in ((straight, expected), (resumed, sample)):
            answer(optimiser, asked, reward)
        assert everything(resumed) == everything(straight)
        assert np.all(np.isfinite(resumed.recommendation))
        assert np.all(resumed.std >= 0.0)


@every_method
def test_another_process_draws_the_same(method: str) -> None:
    script = (
        'from deft_cem.optimisers.registry import OptimiserSettings;'
        'from deft_cem.optimisers.cem import initial_standard_deviation;'
        f'o = OptimiserSettings({method!r}).make('
        'initial_standard_deviation(), 7, elites=3, warm_up=4);'
        '[o.tell(o.ask().index, k % 4 / 4) for k in range(12)];'
        'print(o.ask().residual.tobytes().hex())'
    )
    printed = [
        subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    optimiser = make(method, 7)
    for k in range(12):
        optimiser.tell(optimiser.ask().index, k % 4 / 4)
    here = optimiser.ask().residual.tobytes().hex()
    assert {process.stdout.split()[-1] for process in printed} == {here}


@every_method
def test_other_seeds_and_other_samples_are_drawn_apart(method: str) -> None:
    drawn = []
    for seed in (1, 2):
        optimiser = make(method, seed, warm_up=20)
        for _ in range(3):
            sample = optimiser.ask()
            drawn.append(sample.residual.tobytes())
            optimiser.discard(sample.index)
    assert len(set(drawn)) == 6


@every_method
@settings(max_examples=15, deadline=None)
@given(rewards=st.lists(REWARDS, min_size=1, max_size=14), seed=st.integers(0, 1000))
def test_a_fit_to_foreign_episodes_is_that_of_own_ones(method, rewards, seed) -> None:
    """Offline, from pairs alone, as a bag of another session holds them."""
    optimiser = make(method, seed)
    residuals = []
    for reward in rewards:
        sample = optimiser.ask()
        residuals.append(sample.residual)
        optimiser.tell(sample.index, reward)
    fit = make(method, seed=5).fit(np.array(residuals), np.array(rewards))
    assert fit.recommendation.tobytes() == optimiser.recommendation.tobytes()
    assert fit.std.tobytes() == optimiser.std.tobytes()


@every_method
@pytest.mark.parametrize('value', [0.0, 0.3, 1.0])
def test_equal_rewards_keep_the_search_alive_and_near(method: str, value: float) -> None:
    optimiser = make(method)
    practise(optimiser, lambda _: value, 14)
    assert np.all(optimiser.std > 0.0)
    assert np.linalg.norm(optimiser.recommendation / SIGMA) < np.sqrt(22)


@every_method
def test_discarded_episodes_teach_nothing_and_do_not_count(method: str) -> None:
    optimiser = make(method)
    practise(optimiser, hill, 6)
    before = everything(optimiser)
    lost = optimiser.ask()
    optimiser.discard(lost.index)
    assert optimiser.rewarded_count == 6
    assert everything(optimiser) == before
    assert optimiser.ask().index == lost.index + 1


@every_method
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


@every_method
def test_first_samples_have_the_spread_they_say(method: str) -> None:
    optimiser = make(method, warm_up=3000)
    drawn = []
    for _ in range(3000):
        sample = optimiser.ask()
        drawn.append(sample.residual)
        optimiser.discard(sample.index)
    np.testing.assert_allclose(np.std(drawn, axis=0), optimiser.std, rtol=0.06)
    # Table 4 is the budget: no method starts with a quite different spread of any parameter.
    assert np.all(optimiser.std / SIGMA < 1.5)
    assert np.all(optimiser.std / SIGMA > 0.5)


def test_bounds_hold_for_samples_and_recommendation() -> None:
    optimiser = make('screened_regression', limit=0.5)
    for _ in range(12):
        sample = optimiser.ask()
        assert np.all(np.abs(sample.residual) <= 0.5 * SIGMA)
        optimiser.tell(sample.index, 1.0 if sample.residual[0] > 0 else 0.0)
        assert np.all(np.abs(optimiser.recommendation) <= 0.5 * SIGMA)
        assert np.all(np.abs(optimiser.mean) <= 0.5 * SIGMA)


@every_method
@pytest.mark.parametrize('reward', [math.nan, -math.inf, -0.01, 1.01, True, '0.5', None, [0.5]])
def test_what_is_no_reward_is_refused_and_changes_nothing(method: str, reward: object) -> None:
    optimiser = make(method)
    practise(optimiser, lambda _: 0.5, 5)
    sample = optimiser.ask()
    before = everything(optimiser)
    with pytest.raises(InvalidInputError, match='from 0 to 1'):
        optimiser.tell(sample.index, reward)
    assert everything(optimiser) == before
    optimiser.tell(sample.index, np.float64(0.5))


@every_method
def test_out_of_order_is_refused(method: str) -> None:
    optimiser = make(method)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(0, 0.5)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.discard(0)
    sample = optimiser.ask()
    with pytest.raises(InvalidInputError, match='still waits'):
        optimiser.ask()
    optimiser.tell(sample.index, 0.5)
    with pytest.raises(InvalidInputError, match='not pending'):
        optimiser.tell(sample.index, 0.5)
    with pytest.raises(ValueError, match='read-only'):
        sample.residual[0] = 1.0


@every_method
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


@pytest.mark.parametrize(
    ('method', 'parameters', 'told'),
    [
        ('cma', {}, 'known'),
        ('screened_regresion', {}, "did you mean 'screened_regression'"),
        ('cem', {'elites': 5}, 'unknown entry'),
        ('screened_regression', {'optimsm': 5.0}, "did you mean 'optimism'"),
        ('screened_regression', {'optimism': math.nan}, 'finite'),
        ('screened_regression', {'ridge': '30'}, 'must be float'),
        ('screened_regression', {'limit': 0.0}, 'limit must be'),
    ],
)
def test_wrong_settings_are_refused_before_a_session(method, parameters, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        OptimiserSettings(method, parameters)


@every_method
@pytest.mark.parametrize(
    ('std', 'elites', 'warm_up'),
    [
        (np.zeros(22), 3, 4),
        (np.full(22, np.nan), 3, 4),
        (np.ones((2, 11)), 3, 4),
        (SIGMA, 3, 0),
        (SIGMA, 1, 4),
    ],
)
def test_wrong_sizes_are_refused(method: str, std, elites: int, warm_up: int) -> None:
    with pytest.raises(DeftError):
        OptimiserSettings(method).make(std, 0, elites=elites, warm_up=warm_up)


def test_first_distribution_is_table_4() -> None:
    assert SIGMA.tolist() == [0.02] * 3 + [0.2] * 3 + [0.05] * 16


@settings(deadline=None)
@given(rewards=st.lists(REWARDS, min_size=1, max_size=30), seed=st.integers(0, 2**32 - 1))
def test_the_papers_refit_equals_its_definition(rewards: list[float], seed: int) -> None:
    """From k = M + 1 on all episodes so far are ranked, ties by trial; the fit is the ML one."""
    first = np.linspace(0.5, 1.5, 5)
    optimiser = CrossEntropyMethod(first, seed, elites=6, warm_up=4)
    residuals = []
    for reward in rewards:
        sample = optimiser.ask()
        residuals.append(sample.residual)
        optimiser.tell(sample.index, reward)
    order = sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))[:6]
    elite = np.stack([residuals[i] for i in order])
    fitted = len(rewards) > 4
    mean = elite.mean(axis=0) if fitted else np.zeros(5)
    std = np.sqrt(np.mean((elite - mean) ** 2, axis=0)) if fitted else first
    np.testing.assert_array_equal(optimiser.mean, mean)
    np.testing.assert_array_equal(optimiser.std, std)
    np.testing.assert_array_equal(optimiser.recommendation, optimiser.mean)
