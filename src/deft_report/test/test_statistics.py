# SPDX-License-Identifier: Apache-2.0
"""That scipy is asked the right questions."""

from __future__ import annotations

import numpy as np
import pytest

from deft_core.errors import InvalidInputError
from deft_report.statistics import (
    Rate,
    bootstrap_mean,
    compare_paired_outcomes,
    compare_rates,
    paired_permutation_test,
)


def test_rates_count_what_was_judged_and_are_wide_at_ten_trials() -> None:
    assert Rate.of([True, None, False, True]) == Rate(2, 3)
    assert Rate.of([None]) is None
    interval = Rate(5, 10).interval
    assert (round(interval.low, 2), round(interval.high, 2)) == (0.24, 0.76)
    assert (Rate(0, 10).interval.low, Rate(10, 10).interval.high) == (0.0, 1.0)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_mean(generator.normal(0.4, 0.2, 30), generator, resamples=400)
        hits += interval.low <= 0.4 <= interval.high
    # 95% nominal; the percentile method falls a little short at n = 30.
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize('values', [[], [0.3], [0.1, float('nan')]])
def test_bootstrap_refuses_what_has_no_spread(values) -> None:
    with pytest.raises(InvalidInputError):
        bootstrap_mean(values, np.random.default_rng(0))


def test_five_against_eight_of_ten_is_not_separable() -> None:
    assert compare_rates(Rate(5, 10), Rate(8, 10)) == pytest.approx(0.35, abs=0.005)


def test_paired_outcomes_count_only_disagreements() -> None:
    prior = [False] * 6 + [True] * 4
    pairs = list(zip(prior, [True] * 10, strict=True))
    assert compare_paired_outcomes(pairs) == pytest.approx(2 * 0.5**6)
    assert compare_paired_outcomes(list(zip(prior, prior, strict=True))) == 1.0


def test_permutation_test_is_exact_for_few_pairs_and_never_says_zero() -> None:
    generator = np.random.default_rng(0)
    assert paired_permutation_test([1.0] * 10, generator) == pytest.approx(2 / 2**10)
    assert paired_permutation_test([0.0, 0.0], generator) == 1.0
    assert 0.0 < paired_permutation_test([1.0] * 40, generator) < 1e-3
