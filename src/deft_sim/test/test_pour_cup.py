# SPDX-License-Identifier: Apache-2.0
"""The criterion of Pour Cup (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.pour_cup import PourCupJudge

HELD = ContactSummary(np.array([1.0, 1.0, 0.0, 2.0, 0.0]), False, 0.0)
ONE_FINGER = ContactSummary(np.array([1.0, 0.0, 0.0, 0.0, 0.0]), False, 0.0)
LEANING = ContactSummary(np.array([1.0, 1.0, 0.0, 2.0, 0.0]), True, 0.0)
FREE = ContactSummary(np.zeros(5), False, 0.0)
STANDING = ContactSummary(np.zeros(5), True, 0.0)


def judged(*instants, collided: bool = False) -> SceneEvaluation:
    judge = PourCupJudge()
    for lowest, turn, poured, contacts in instants:
        judge.update(lowest=lowest, turn=turn, poured=poured, contacts=contacts, collided=collided)
    return judge.evaluate()


@pytest.mark.parametrize(
    ('instants', 'score'),
    [
        ([(0.10, 0.0, 0.0, HELD), (0.10, 2.2, 1.0, HELD)], 1.0),
        ([(0.10, 2.2, 0.0, HELD)], 0.7),  # nothing fell out: the paper asks for the turn alone
        ([(0.05, 1.6, 0.5, HELD)], 0.10 + 0.10 + 0.40 * 1.6 / 2.1 + 0.15),
    ],
)
def test_a_held_cup_upside_down_is_a_success(instants, score) -> None:
    verdict = judged(*instants)
    assert verdict.success
    assert verdict.score == pytest.approx(score)


@pytest.mark.parametrize(
    ('instants', 'words'),
    [
        ([], 'nothing has happened'),
        ([(0.0, 0.0, 0.0, STANDING)], 'never touched'),
        ([(0.10, 1.5, 1.0, HELD)], 'turned by 86 degrees'),
        ([(0.00, 3.1, 1.0, LEANING)], 'not lifted'),  # pressed upside down on the table
        ([(0.02, 2.2, 1.0, HELD)], 'not lifted'),
        ([(0.10, 2.2, 1.0, HELD), (0.0, 3.1, 1.0, STANDING)], 'then lost'),
        ([(0.10, 2.2, 1.0, HELD), (0.04, 2.2, 1.0, FREE)], 'then lost'),  # falling
        ([(0.10, 2.2, 1.0, ONE_FINGER)], 'then lost'),
        ([(0.0, 1.6, 1.0, STANDING)], 'never touched'),  # knocked over by something else
    ],
)
def test_anything_else_is_none(instants, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score <= 0.89
    assert words in verdict.explanation


def test_a_collision_counts_for_nothing() -> None:
    verdict = judged((0.10, 2.2, 1.0, HELD), collided=True)
    assert (verdict.success, verdict.score) == (False, 0.0)
