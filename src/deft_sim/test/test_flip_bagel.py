# SPDX-License-Identifier: Apache-2.0
"""The criterion of Flip Bagel (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.flip_bagel import FlipBagelJudge

HELD = ContactSummary(np.array([1.0, 0.0, 0.0, 2.0, 0.0]), False, 0.0)
LYING = ContactSummary(np.zeros(5), True, 0.0)
START = (1.0, 0.0, 0.0, 0.0, LYING)
TURNED = (0.2, 0.3, 0.08, 2.5, HELD)


def judged(*instants, collided: bool = False) -> SceneEvaluation:
    judge = FlipBagelJudge()
    for up, speed, height, turn, contacts in (START, *instants):
        judge.update(
            bagel_up=up,
            bagel_speed=speed,
            spatula_height=height,
            spatula_turn=turn,
            contacts=contacts,
            collided=collided,
        )
    return judge.evaluate()


def test_the_other_side_up_is_a_success() -> None:
    verdict = judged(TURNED, (-0.99, 0.0, 0.08, 2.5, HELD))
    assert verdict.success
    assert verdict.score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'never touched'),
        ([(1.0, 0.0, 0.0, 0.0, HELD)], 0.1, 'not lifted'),
        ([TURNED, (0.99, 0.0, 0.08, 2.5, HELD)], 0.6, 'not flipped'),  # turned and back again
        ([TURNED, (-0.5, 0.0, 0.08, 2.5, HELD)], 0.6, 'not flipped'),  # leans on its edge
        ([TURNED, (-0.99, 0.4, 0.08, 2.5, HELD)], 0.6, 'not flipped'),  # still falling
    ],
)
def test_anything_else_is_none(instants, score, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)
    assert words in verdict.explanation


def test_a_bagel_that_the_arm_turned_over_is_not_flipped() -> None:
    verdict = judged(TURNED, (-0.99, 0.0, 0.08, 2.5, HELD), collided=True)
    assert (verdict.success, verdict.score) == (False, 0.0)
