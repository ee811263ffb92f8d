# SPDX-License-Identifier: Apache-2.0
"""The criterion of Pick Spoon (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.pick_spoon import PickSpoonJudge


def contacts(*forces: float, on_table: bool = False) -> ContactSummary:
    """Of index, middle, ring, thumb and palm."""
    return ContactSummary(np.array(forces), on_table, 0.0)


FREE, LYING = contacts(0, 0, 0, 0, 0), contacts(0, 0, 0, 0, 0, on_table=True)
PINCHED = contacts(3, 0, 0, 3, 0)  # index and thumb: half of the best grasp
DRAGGED = contacts(3, 0, 0, 3, 0, on_table=True)
PUSHED = contacts(1, 1, 1, 0, 0, on_table=True)


def judged(
    *instants: tuple[float, ContactSummary], tilt: float = 0.0, collided: bool = False
) -> SceneEvaluation:
    judge = PickSpoonJudge()
    for height, summary in instants:
        judge.update(height, tilt, summary, collided=collided)
    return judge.evaluate()


@pytest.mark.parametrize(
    ('instants', 'score'),
    [
        ([(0.0, DRAGGED), (0.14, PINCHED)], 0.90),
        ([(0.14, contacts(1, 1, 1, 2, 0))], 1.0),  # all four digits
        ([(0.05, PINCHED)], 0.80),
        ([(0.14, contacts(0, 0, 0, 0, 1))], 0.80),  # hangs on the palm: held all the same
    ],
)
def test_a_spoon_off_the_table_is_a_success(instants, score) -> None:
    verdict = judged(*instants)
    assert verdict.success
    assert verdict.score == pytest.approx(score)
    assert judged(*instants, tilt=0.5).score == pytest.approx(score - 0.10)
    collided = judged(*instants, collided=True)
    assert (collided.success, collided.score) == (False, 0.0)


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'nothing has happened'),
        ([(0.0, LYING)], 0.0, 'never touched'),
        ([(0.0, PUSHED)], 0.10, 'touched but not lifted'),  # only an opposed grasp counts
        ([(0.0, DRAGGED)], 0.175, 'touched but not lifted'),
        # Held with the bowl on the table: the case.
        ([(0.0, LYING), (0.09, DRAGGED)], 0.175, 'touched but not lifted'),
        ([(0.12, PINCHED), (0.10, DRAGGED)], 0.275, 'then lost or left on the table'),
        ([(0.12, PINCHED), (0.0, LYING)], 0.275, 'then lost'),  # dropped at the end
        ([(0.14, PINCHED), (0.11, PINCHED)], 0.275, 'then lost'),  # slips
        ([(0.10, FREE)], 0.0, 'never touched'),  # thrown
    ],
)
def test_anything_else_is_none(instants, score, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)
    assert words in verdict.explanation


@given(st.lists(st.tuples(st.floats(-0.01, 0.5), st.floats(0.0, 20.0), st.booleans()), max_size=8))
def test_success_scores_higher_than_any_failure(
    instants: list[tuple[float, float, bool]],
) -> None:
    verdict = judged(
        *((height, contacts(force, 0, 0, force, 0, on_table=on)) for height, force, on in instants)
    )
    assert 0.0 <= verdict.score <= 1.0
    assert (verdict.score >= 0.40) if verdict.success else (verdict.score <= 0.35 + 1e-9)
