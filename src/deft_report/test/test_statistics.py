# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deft_core.errors import InvalidInputError
from deft_report.statistics import (
    Rate,
    bootstrap_mean,
    compare_paired_outcomes,
    compare_rates,
    paired_permutation_test,
    successes_needed,
    wilson_interval,
)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts):
    successes, trials = counts
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method='wilson')
    interval = wilson_interval(successes, trials)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_wilson_at_ten_trials_is_wide():
    interval = wilson_interval(5, 10)
    assert (round(interval.low, 2), round(interval.high, 2)) == (0.24, 0.76)


@pytest.mark.parametrize(('successes', 'trials'), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(InvalidInputError, match=f'{successes} of {trials}'):
        wilson_interval(successes, trials)


def test_rate_leaves_out_what_nobody_judged():
    assert Rate.of([True, None, False, True]) == Rate(2, 3)
    assert Rate.of([None]) is None


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_mean(generator.normal(0.4, 0.2, 30), generator, resamples=400)
        hits += interval.low <= 0.4 <= interval.high
    # 95% nominal; the percentile method falls a little short at n = 30.
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_repeats_with_the_same_generator():
    values = [0.1, 0.4, 0.9]
    first = bootstrap_mean(values, np.random.default_rng(4))
    assert first == bootstrap_mean(values, np.random.default_rng(4))
    assert first.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize('values', [[], [0.3], [0.1, float('nan')]])
def test_bootstrap_refuses_what_has_no_spread(values):
    with pytest.raises(InvalidInputError):
        bootstrap_mean(values, np.random.default_rng(0))


def test_five_against_eight_of_ten_is_not_separable():
    assert compare_rates(Rate(5, 10), Rate(8, 10)) == pytest.approx(0.35, abs=0.005)


def test_paired_outcomes_count_only_disagreements():
    prior = [False] * 6 + [True] * 4
    policy = [True] * 10
    assert compare_paired_outcomes(prior, policy) == pytest.approx(2 * 0.5**6)
    assert compare_paired_outcomes(prior, prior) == 1.0
    with pytest.raises(InvalidInputError, match='equal lengths'):
        compare_paired_outcomes(prior, policy[:3])


def test_permutation_test_is_exact_for_few_pairs():
    generator = np.random.default_rng(0)
    assert paired_permutation_test([1.0] * 10, generator) == pytest.approx(2 / 2**10)
    assert paired_permutation_test([0.0, 0.0], generator) == 1.0
    with pytest.raises(InvalidInputError, match='at least one pair'):
        paired_permutation_test([], generator)


def test_permutation_test_samples_many_pairs_and_never_says_zero():
    p_value = paired_permutation_test([1.0] * 40, np.random.default_rng(0))
    assert 0.0 < p_value < 1e-3


def test_successes_needed_is_the_first_separable_count():
    needed = successes_needed(Rate(3, 10), 10)
    assert needed is not None
    assert compare_rates(Rate(3, 10), Rate(needed, 10)) < 0.05
    assert compare_rates(Rate(3, 10), Rate(needed - 1, 10)) >= 0.05
    assert successes_needed(Rate(8, 10), 10) is None
