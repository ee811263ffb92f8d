# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests for the small samples of a fine-tuning session.

Ten trials are few: every rate is shown with an interval, and two rates are only called different
when an exact test says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats

from deft_core.errors import InvalidInputError
from deft_core.validation import finite_array

CONFIDENCE = 0.95
SIGNIFICANCE = 1.0 - CONFIDENCE
# All 2^n sign patterns are tried up to this many pairs (65 536 patterns); more pairs than that
# are sampled.
EXACT_PAIRS = 16
RANDOM_SIGNS = 20_000


@dataclass(frozen=True)
class Interval:
    """An estimate and the range that covers it.

    Attributes:
        value: The estimate itself.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """How often something succeeded.

    Attributes:
        successes: Number of successes.
        trials: Number of judged trials, at least 1.
    """

    successes: int
    trials: int

    def __post_init__(self) -> None:
        """Check the counts."""
        if self.trials < 1 or not 0 <= self.successes <= self.trials:
            raise InvalidInputError(
                f'A success rate needs 0 <= successes <= trials and at least one trial, '
                f'got {self.successes} of {self.trials}.'
            )

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
        """Wilson score interval at 95%."""
        return wilson_interval(self.successes, self.trials)


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a proportion (Wilson, 1927).

    It keeps close to its nominal cover at ten trials, where the usual normal interval does not,
    and never leaves [0, 1].

    Args:
        successes: Number of successes.
        trials: Number of trials, at least 1.
        confidence: Cover, between 0 and 1.

    Raises:
        InvalidInputError: Impossible counts or confidence.
    """
    rate = Rate(successes, trials).value
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f'The confidence must lie between 0 and 1, got {confidence}.')
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    shrink = 1.0 + z * z / trials
    centre = (rate + z * z / (2.0 * trials)) / shrink
    half = z / shrink * math.sqrt(rate * (1.0 - rate) / trials + z * z / (4.0 * trials**2))
    # The exact ends at 0 and n successes are 0 and 1; rounding would miss them by 1e-17.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(rate, low, high)


def bootstrap_mean(
    values: npt.ArrayLike,
    generator: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = 10_000,
) -> Interval:
    """Percentile bootstrap interval of the mean of independent values.

    Args:
        values: One number per independent unit (a trial, a seed). Shape (n,), n at least 2.
        generator: Source of the resampling.
        confidence: Cover, between 0 and 1.
        resamples: Number of bootstrap samples.

    Raises:
        InvalidInputError: Fewer than two values, or values that are not finite.
    """
    sample = finite_array('bootstrap values', values, (-1,))
    if sample.size < 2:
        raise InvalidInputError(f'A bootstrap needs at least 2 values, got {sample.size}.')
    picks = generator.integers(0, sample.size, size=(resamples, sample.size))
    means = sample[picks].mean(axis=1)
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return Interval(float(sample.mean()), float(low), float(high))


def compare_rates(first: Rate, second: Rate) -> float:
    """Two-sided p value of Fisher's exact test for two independent rates."""
    table = [[rate.successes, rate.trials - rate.successes] for rate in (first, second)]
    return float(stats.fisher_exact(table).pvalue)


def compare_paired_outcomes(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided p value of the exact McNemar test for trials on the same scenes.

    Only scenes where the two differ say something about which is better.

    Raises:
        InvalidInputError: Sequences of unequal length.
    """
    if len(first) != len(second):
        raise InvalidInputError(
            f'Paired outcomes need equal lengths, got {len(first)} and {len(second)}.'
        )
    gains = sum(1 for a, b in zip(first, second, strict=True) if b and not a)
    losses = sum(1 for a, b in zip(first, second, strict=True) if a and not b)
    if gains + losses == 0:
        return 1.0
    return float(stats.binomtest(gains, gains + losses, 0.5).pvalue)


def paired_permutation_test(differences: npt.ArrayLike, generator: np.random.Generator) -> float:
    """Two-sided p value of the sign-flip permutation test of paired differences.

    Args:
        differences: Second minus first, one per pair. Shape (n,).
        generator: Source of random sign patterns, used above 16 pairs only.

    Raises:
        InvalidInputError: No pair, or differences that are not finite.
    """
    sample = finite_array('paired differences', differences, (-1,))
    if sample.size == 0:
        raise InvalidInputError('A paired test needs at least one pair, got none.')
    if sample.size <= EXACT_PAIRS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=sample.size)))
    else:
        signs = generator.choice((-1.0, 1.0), size=(RANDOM_SIGNS, sample.size))
        # The observed pattern itself counts, else a p value of 0 could come out.
        signs = np.vstack([signs, np.ones(sample.size)])
    # The tolerance keeps patterns that equal the observed sum up to rounding.
    as_extreme = np.abs(signs @ sample) >= abs(float(sample.sum())) - 1e-12
    return float(as_extreme.mean())


def successes_needed(reference: Rate, trials: int) -> int | None:
    """Fewest successes in `trials` that differ upwards from `reference` at the 5% level.

    Returns:
        The count, or None when not even `trials` successes would do.
    """
    start = math.ceil(reference.value * trials)
    for successes in range(start, trials + 1):
        if compare_rates(reference, Rate(successes, trials)) < SIGNIFICANCE:
            return successes
    return None
