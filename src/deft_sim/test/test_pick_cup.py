# SPDX-License-Identifier: Apache-2.0
"""The criterion of Pick Cup (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.pick_cup import PickCupJudge


def contacts(*forces: float, on_table: bool = False) -> ContactSummary:
    """Of index, middle, ring, thumb and palm."""
    return ContactSummary(np.array(forces), on_table, 0.0)


FREE, STANDING = contacts(0, 0, 0, 0, 0), contacts(0, 0, 0, 0, 0, on_table=True)
PINCHED = contacts(3, 0, 0, 3, 0)  # index and thumb: half of the best grasp
PUSHED = contacts(1, 1, 1, 0, 0, on_table=True)
LEANING = contacts(2, 0, 0, 2, 0, on_table=True)


def judged(
    *instants: tuple[float, ContactSummary], tilt: float = 0.0, collided: bool = False
) -> SceneEvaluation:
    judge = PickCupJudge()
    for height, summary in instants:
        judge.update(height, tilt, summary, collided=collided)
    return judge.evaluate()


@pytest.mark.parametrize(
    ('instants', 'score'),
    [
        ([(0.0, LEANING), (0.16, PINCHED)], 0.90),
        ([(0.16, contacts(1, 1, 1, 2, 0))], 1.0),  # all four digits
    ],
)
def test_a_lifted_and_held_cup_is_a_success(instants, score) -> None:
    verdict = judged(*instants)
    assert verdict.success
    assert verdict.score == pytest.approx(score)
    assert 'of 5 parts of the hand' in verdict.explanation
    tilted = judged(*instants, tilt=0.4)
    assert tilted.success
    assert tilted.score == pytest.approx(score - 0.10)
    collided = judged(*instants, collided=True)
    assert (collided.success, collided.score) == (False, 0.0)
    assert 'collided' in collided.explanation


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'nothing has happened'),
        ([(0.0, STANDING)], 0.0, 'never touched'),
        ([(0.0, LEANING)], 0.20, 'touched but not lifted'),
        ([(0.0, PUSHED)], 0.10, 'touched but not lifted'),  # only an opposed grasp counts
        ([(0.0, contacts(1, 1, 1, 0, 1, on_table=True))], 0.25, 'touched'),  # against the palm
        ([(0.12, PINCHED), (0.0, STANDING)], 0.40, 'then lost'),
        ([(0.15, PINCHED), (0.12, PINCHED)], 0.40, 'then lost'),  # slips
        ([(0.05, LEANING)], 0.20, 'touched'),  # rests on the table with one edge
        ([(0.10, FREE)], 0.0, 'never touched'),  # thrown
    ],
)
def test_anything_else_is_none(instants, score, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)
    assert words in verdict.explanation


@given(st.lists(st.tuples(st.floats(-0.01, 0.5), st.floats(0.0, 20.0), st.booleans()), max_size=8))
def test_scores_stay_in_range_and_success_scores_highest(
    instants: list[tuple[float, float, bool]],
) -> None:
    verdict = judged(
        *((height, contacts(force, 0, 0, force, 0, on_table=on)) for height, force, on in instants)
    )
    assert 0.0 <= verdict.score <= 1.0
    assert (verdict.score > 0.35) if verdict.success else (verdict.score <= 0.50 + 1e-9)
