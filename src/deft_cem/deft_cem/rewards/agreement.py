# SPDX-License-Identifier: Apache-2.0
"""How well a visual reward orders episodes that a person has scored.

To be asked before a visual reward is used for learning: the optimiser follows the order of the
scores, and in the paper the visual rewards cost most of the success (Table 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from deft_core.errors import InvalidInputError
from deft_core.validation import finite_array

MINIMUM_EPISODES: Final = 5
_RESAMPLES: Final = 2000
_INTERVAL: Final = (2.5, 97.5)  # [%]


@dataclass(frozen=True)
class Agreement:
    """Visual scores against given rewards, over some episodes.

    Attributes:
        episodes: Number of episodes.
        correlation: Spearman's rank correlation.
        interval: Its bootstrap 95% interval.
        best_mean: Mean reward of the third of the episodes that looks best: the elites that
            learning from these scores would have.
        all_mean: Mean reward of all.
        ideal_mean: Mean reward of as many truly best ones.
    """

    episodes: int
    correlation: float
    interval: tuple[float, float]
    best_mean: float
    all_mean: float
    ideal_mean: float


def agreement(
    visual: Sequence[float], given: Sequence[float], generator: np.random.Generator
) -> Agreement:
    """Compare the orders of two scores (n,) of the same episodes; larger is better in both.

    Raises:
        InvalidInputError: Fewer than five episodes, other shapes, or scores that are all equal.
    """
    first = finite_array('visual scores', visual, (-1,))
    second = finite_array('given rewards', given, (first.size,))
    if first.size < MINIMUM_EPISODES:
        raise InvalidInputError(
            f'a rank correlation needs at least {MINIMUM_EPISODES} scored episodes, '
            f'got {first.size}'
        )
    for name, values in (('visual scores', first), ('given rewards', second)):
        if np.ptp(values) == 0.0:
            raise InvalidInputError(
                f'all {name} are {values[0]:.3g}; there is no order to compare'
            )
    count = max(1, first.size // 3)
    return Agreement(
        episodes=first.size,
        correlation=float(stats.spearmanr(first, second).statistic),
        interval=_bootstrap(first, second, generator),
        best_mean=float(second[np.argsort(-first, kind='stable')[:count]].mean()),
        all_mean=float(second.mean()),
        ideal_mean=float(np.sort(second)[-count:].mean()),
    )


def _bootstrap(
    first: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    second: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Percentile interval over episodes drawn with replacement."""
    picks = generator.integers(0, first.size, size=(_RESAMPLES, first.size))
    # A draw of one episode alone, or of equal ones, has no correlation.
    usable = [p for p in picks if np.ptp(first[p]) > 0.0 and np.ptp(second[p]) > 0.0]
    found = [float(stats.spearmanr(first[p], second[p]).statistic) for p in usable]
    low, high = np.percentile(found, _INTERVAL)
    return float(low), float(high)
