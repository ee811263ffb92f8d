# SPDX-License-Identifier: Apache-2.0
"""Elites weighted by reward, and a variance that is held towards the first one."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_cem.optimisers.cem import rank
from deft_cem.optimisers.interface import FloatArray

# Rewards that differ by less are noise of a human score: the temperature is never below it.
_SMALLEST_TEMPERATURE: Final = 0.03


def softmax_weights(rewards: FloatArray, elites: int) -> tuple[list[int], FloatArray]:
    """Best episodes and their weights, exp((R_i - R_best) / std(R_1..R_k)), normalised.

    Args:
        rewards: Of all episodes, in order of trial. Shape (k,).
        elites: E, how many of them count.

    Returns:
        Indices of the elites, best first, and their weights (sum 1). Shape (min(E, k),).
    """
    order = rank(rewards)[:elites]
    temperature = max(float(rewards.std()), _SMALLEST_TEMPERATURE)
    weights = np.exp((rewards[order] - rewards[order[0]]) / temperature)
    return order, weights / weights.sum()


def fit_elites(
    y: FloatArray, rewards: FloatArray, *, elites: int, pseudo_count: float
) -> tuple[FloatArray, FloatArray]:
    """Mean and spread of the next distribution from weighted elites.

    The variance is (E S + X I) / (E + X): X pseudo-elites at the first variance, which is one in
    search coordinates. They keep the search from collapsing onto a few lucky episodes.

    Args:
        y: All rated episodes in search coordinates. Shape (k, d).
        rewards: Shape (k,).
        elites: E.
        pseudo_count: X, 0 or more.

    Returns:
        Mean and standard deviation. Shape (d,) each.
    """
    order, weights = softmax_weights(rewards, elites)
    best = y[order]
    mean = weights @ best
    variance = weights @ (best - mean) ** 2
    return mean, np.sqrt((elites * variance + pseudo_count) / (elites + pseudo_count))
