# SPDX-License-Identifier: Apache-2.0
"""The criterion of Squeeze Lemon (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.squeeze_lemon import SqueezeLemonJudge

HELD = ContactSummary(np.array([1.0, 1.0, 0.0, 2.0, 0.0]), False, 0.0)
ONE_FINGER = ContactSummary(np.array([1.0, 0.0, 0.0, 0.0, 0.0]), False, 0.0)
PRESSED = ContactSummary(np.array([1.0, 1.0, 0.0, 2.0, 0.0]), True, 0.0)
FREE = ContactSummary(np.zeros(5), False, 0.0)
LYING = ContactSummary(np.zeros(5), True, 0.0)
START = (0.025, 0.17, False, LYING)
CARRIED = (0.11, 0.10, False, HELD)


def judged(*instants, collided: bool = False) -> SceneEvaluation:
    judge = SqueezeLemonJudge()
    for height, distance, on_juicer, contacts in (START, *instants):
        judge.update(
            height=height,
            distance=distance,
            on_juicer=on_juicer,
            contacts=contacts,
            collided=collided,
        )
    return judge.evaluate()


def test_a_fruit_held_on_the_tip_is_a_success() -> None:
    verdict = judged(CARRIED, (0.06, 0.01, True, HELD))
    assert verdict.success
    assert verdict.score == pytest.approx(1.0)
    assert 'held on the juicer' in verdict.explanation


@pytest.mark.parametrize(
    ('instants', 'words'),
    [
        ([], 'never touched'),
        ([(0.025, 0.17, False, PRESSED)], 'not lifted'),
        ([CARRIED, (0.06, 0.01, False, HELD)], 'above it'),  # hovers over the tip
        ([CARRIED, (0.06, 0.03, True, HELD)], '30 mm from its tip'),  # on the plate's edge
        ([CARRIED, (0.03, 0.01, True, HELD)], 'held on the juicer'),  # beside the cone
        ([CARRIED, (0.06, 0.01, True, FREE)], 'then lost'),  # lies there by itself
        ([CARRIED, (0.06, 0.01, True, ONE_FINGER)], 'then lost'),
        ([CARRIED, (0.025, 0.09, True, PRESSED)], 'then lost'),  # pressed on the table
        ([CARRIED, (0.025, 0.09, False, LYING)], 'then lost'),  # dropped
    ],
)
def test_anything_else_is_none(instants, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score < 0.61
    assert words in verdict.explanation


def test_a_collision_counts_for_nothing() -> None:
    verdict = judged(CARRIED, (0.06, 0.01, True, HELD), collided=True)
    assert (verdict.success, verdict.score) == (False, 0.0)
