# SPDX-License-Identifier: Apache-2.0
"""Scores on a scale of their own: what an operator means by 0.6 differs from task to task."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_cem.optimisers.interface import FloatArray

# Rewards that hardly differ tell nothing: their spread is taken as at least this.
SMALLEST_SPREAD: Final = 0.05


def standardised(rewards: FloatArray) -> FloatArray:
    """Rewards with mean zero and, where they differ enough, unit spread. Shape (k,)."""
    spread = max(float(rewards.std()), SMALLEST_SPREAD)
    return np.asarray((rewards - rewards.mean()) / spread, dtype=np.float64)
