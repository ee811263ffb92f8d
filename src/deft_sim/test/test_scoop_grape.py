# SPDX-License-Identifier: Apache-2.0
"""The criterion of Scoop Grape (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.scoop_grape import ScoopGrapeJudge

Instant = tuple[float, int, ContactSummary]
"""Height of the bowl [m], grapes in it, contacts."""


def contacts(*forces: float, on_table: bool = False) -> ContactSummary:
    """Of index, middle, ring, thumb and palm."""
    return ContactSummary(np.array(forces), on_table, 0.0)


FREE = contacts(0, 0, 0, 0, 0)
PINCHED = contacts(3, 0, 0, 3, 0)  # index and thumb: half of the best grasp
PUSHED = contacts(1, 1, 1, 0, 0)
DRAGGED = contacts(3, 0, 0, 3, 0, on_table=True)
START: Instant = (0.006, 3, FREE)


def judged(*instants: Instant, collided: bool = False) -> SceneEvaluation:
    judge = ScoopGrapeJudge()
    for height, grapes, summary in instants:
        judge.update(height, grapes, summary, collided=collided)
    return judge.evaluate()


@pytest.mark.parametrize(
    ('instants', 'score'),
    [
        ([START, (0.126, 3, PINCHED)], 0.90),
        ([START, (0.126, 1, PINCHED)], 0.80),  # one grape is enough
        ([START, (0.056, 3, PINCHED)], 0.825),
        ([START, (0.126, 3, contacts(1, 1, 1, 2, 0))], 1.0),
    ],
)
def test_a_lifted_spoon_with_a_grape_is_a_success(instants, score) -> None:
    verdict = judged(*instants)
    assert verdict.success
    assert verdict.score == pytest.approx(score)
    collided = judged(*instants, collided=True)
    assert (collided.success, collided.score) == (False, 0.0)


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'nothing has happened'),
        ([START], 0.0, 'never touched'),
        ([START, (0.006, 3, PUSHED)], 0.10, 'touched but not lifted'),
        ([START, (0.006, 3, PINCHED)], 0.175, 'touched but not lifted'),
        # The case: the spoon is held, the grape is not on it any more.
        ([START, (0.056, 2, PINCHED), (0.126, 0, PINCHED)], 0.275, 'rolled off'),
        ([START, (0.126, 0, PINCHED)], 0.175, 'rolled off'),
        ([START, (0.126, 3, PINCHED), (0.006, 3, FREE)], 0.375, 'then lost'),  # dropped
        ([START, (0.126, 3, PINCHED), (0.096, 3, PINCHED)], 0.375, 'then lost'),  # slips
        ([START, (0.030, 3, PINCHED)], 0.223, 'not lifted'),  # still in the dish
        ([START, (0.060, 3, DRAGGED)], 0.175, 'not lifted'),  # its end on the table
        ([START, (0.126, 3, contacts(0, 0, 0, 0, 2))], 0.30, 'then lost'),  # lies on the palm
        ([START, (0.126, 3, FREE)], 0.0, 'never touched'),  # thrown
    ],
)
def test_anything_else_is_none(instants, score, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)
    assert words in verdict.explanation


@given(
    st.lists(
        st.tuples(
            st.floats(-0.01, 0.5),
            st.integers(0, 7),
            st.sampled_from([FREE, PINCHED, PUSHED, DRAGGED]),
        ),
        max_size=8,
    )
)
def test_success_scores_higher_than_any_failure(instants: list[Instant]) -> None:
    verdict = judged(*instants)
    assert 0.0 <= verdict.score <= 1.0
    assert (verdict.score >= 0.50) if verdict.success else (verdict.score <= 0.45 + 1e-9)
