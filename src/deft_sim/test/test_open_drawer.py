# SPDX-License-Identifier: Apache-2.0
"""The criterion of Open Drawer (paper, Appendix F) and the score around it."""

from __future__ import annotations

import pytest

from deft_sim.tasks import SceneEvaluation
from deft_sim.tasks.open_drawer import OpenDrawerJudge


def judged(
    *positions: float, touched: bool = True, collided: bool = False, first: float = 0.01
) -> SceneEvaluation:
    judge = OpenDrawerJudge()
    judge.update(first, touched=False, collided=False)
    for position in positions:
        judge.update(position, touched=touched, collided=collided)
    return judge.evaluate()


@pytest.mark.parametrize(
    ('position', 'score'), [(0.0201, 0.257), (0.05, 0.575), (0.09, 1.0), (0.16, 1.0)]
)
def test_a_centimetre_more_is_a_success(position, score) -> None:
    verdict = judged(position)
    assert verdict.success
    assert verdict.score == pytest.approx(score, abs=1e-3)
    assert verdict.explanation.startswith('opened by')


@pytest.mark.parametrize(
    ('positions', 'arguments', 'score'),
    [
        ((0.019,), {}, 0.15),  # 9 mm
        ((0.090, 0.012), {}, 0.15),  # pulled and pushed back
        ((0.000,), {}, 0.15),  # pushed shut
        ((0.010,), {'touched': False}, 0.0),
        ((0.090,), {'collided': True}, 0.0),
        ((0.035,), {'first': 0.030}, 0.15),  # open from the start
    ],
)
def test_anything_else_is_none(positions, arguments, score) -> None:
    verdict = judged(*positions, **arguments)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)


def test_nothing_seen_is_nothing_won() -> None:
    assert OpenDrawerJudge().evaluate() == SceneEvaluation(
        0.0, False, 'nothing has happened since the scene was laid out'
    )
