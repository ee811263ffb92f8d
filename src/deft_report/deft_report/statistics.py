# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests for the small samples of a fine-tuning session.

Ten trials are few: every rate is shown with an interval, and two rates are only called different
when an exact test says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from deft_core.errors import InvalidInputError
from deft_core.validation import finite_array

SIGNIFICANCE = 0.05
RANDOM_SIGNS = 20_000  # sign patterns of a permutation test; up to 14 pairs all are tried


@dataclass(frozen=True)
class Interval:
    """An estimate and the range that covers it at 95%."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """How often something succeeded, in at least one judged trial."""

    successes: int
    trials: int

    @classmethod
    def of(cls, outcomes: Sequence[bool | None]) -> Rate | None:
        """Count the judged outcomes; None when none was judged."""
        judged = [outcome for outcome in outcomes if outcome is not None]
        return cls(sum(judged), len(judged)) if judged else None

    @property
    def value(self) -> float:
        """Share of successes, 0 to 1."""
        return self.successes / self.trials

    @property
    def interval(self) -> Interval:
        """Wilson score interval: the usual normal one does not keep its cover at ten trials."""
        found = stats.binomtest(self.successes, self.trials).proportion_ci(method='wilson')
        return Interval(self.value, float(found.low), float(found.high))


def bootstrap_mean(
    values: npt.ArrayLike, generator: np.random.Generator, *, resamples: int = 10_000
) -> Interval:
    """Percentile bootstrap interval of the mean of independent values of shape (n,).

    Raises:
        InvalidInputError: Fewer than two values, or values that are not finite.
    """
    sample = finite_array('bootstrap values', values, (-1,))
    if sample.size < 2:
        raise InvalidInputError(f'A bootstrap needs at least 2 values, got {sample.size}.')
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=resamples, method='percentile', rng=generator
    ).confidence_interval
    return Interval(float(sample.mean()), float(found.low), float(found.high))


def compare_rates(first: Rate, second: Rate) -> float:
    """Two-sided p value of Fisher's exact test for two independent rates."""
    table = [[rate.successes, rate.trials - rate.successes] for rate in (first, second)]
    return float(stats.fisher_exact(table).pvalue)


def compare_paired_outcomes(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Two-sided p value of the exact McNemar test for trials on the same scenes.

    Only scenes where the two differ say something about which is better.
    """
    gains = [second for first, second in pairs if first != second]
    return float(stats.binomtest(sum(gains), len(gains)).pvalue) if gains else 1.0


def paired_permutation_test(differences: npt.ArrayLike, generator: np.random.Generator) -> float:
    """Two-sided p value of the sign-flip permutation test of paired differences of shape (n,)."""
    sample = np.asarray(differences, dtype=np.float64)
    test = stats.permutation_test(
        (sample, np.zeros_like(sample)),
        lambda first, second, axis: np.mean(first - second, axis=axis),
        permutation_type='samples',
        n_resamples=RANDOM_SIGNS,
        rng=generator,
    )
    return float(test.pvalue)
