# SPDX-License-Identifier: Apache-2.0
"""What a person writes down who watched an episode: a coarse mark with an error.

A judge (`tasks`) gives every partial progress its exact worth. A person beside the table sees the
same, says it in a few marks, and would not say the same tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deft_core.configuration import bounds


@dataclass(frozen=True)
class OperatorConfiguration:
    """How a person scores; zeros make an oracle."""

    score_step: float = field(metadata=bounds(0.0, 0.5))
    score_sigma: float = field(metadata=bounds(0.0, 0.5))


def as_a_person_scores(
    exact: float, operator: OperatorConfiguration, generator: np.random.Generator
) -> float:
    """The mark that a person gives for a score from 0 to 1.

    Nothing gets nothing: nobody sees progress where there was none. Everything else is perceived
    with a normal error and said in steps.
    """
    error = operator.score_sigma * generator.standard_normal()
    if exact <= 0.0:
        return 0.0
    mark = float(np.clip(exact + error, 0.0, 1.0))
    if operator.score_step > 0.0:
        mark = round(mark / operator.score_step) * operator.score_step
    return min(round(mark, 6), 1.0)
