# SPDX-License-Identifier: Apache-2.0
"""The criterion of Stir Spoon (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.stir_spoon import SCENES, StirSpoonJudge, leaning

Instant = tuple[float, float, float, ContactSummary]
"""Angle [deg], radius [m], height over the rim [m], contacts."""


def contacts(*forces: float) -> ContactSummary:
    """Of index, middle, ring, thumb and palm."""
    return ContactSummary(np.array(forces), False, 0.0)


FREE, PUSHED = contacts(0, 0, 0, 0, 0), contacts(0, 2, 0, 0, 0)
PINCHED = contacts(3, 0, 0, 3, 0)  # index and thumb: half of the best grasp


def sweep(
    start: float,
    end: float,
    summary: ContactSummary = PINCHED,
    *,
    radius: float = 0.03,
    height: float = -0.02,
) -> list[Instant]:
    """From one angle to another [deg] in steps of about 5 degrees."""
    count = 2 + int(abs(end - start) / 5.0)
    return [(angle, radius, height, summary) for angle in np.linspace(start, end, count)]


def judged(*instants: Instant, collided: bool = False) -> SceneEvaluation:
    judge = StirSpoonJudge()
    for angle, radius, height, summary in instants:
        place = [radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle)), height]
        judge.update(np.array(place), summary, collided=collided)
    return judge.evaluate()


LOST = [(0.0, 0.03, -0.02, FREE)]


@pytest.mark.parametrize(
    ('instants', 'score'),
    [
        (sweep(90, 271), 0.60),
        (sweep(90, -91), 0.60),  # either way
        (sweep(90, 90 + np.degrees(5.0)), 0.90),
        (sweep(90, 400, contacts(1, 1, 1, 1, 0)), 1.0),
        (sweep(0, 100) + sweep(100, 10) + sweep(10, -100), 0.656),  # 200 degrees to and fro
    ],
)
def test_half_a_turn_in_the_hand_is_a_success(instants, score) -> None:
    verdict = judged(*instants)
    assert verdict.success
    assert verdict.score == pytest.approx(score, abs=0.01)
    collided = judged(*instants, collided=True)
    assert (collided.success, collided.score) == (False, 0.0)


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'nothing has happened'),
        (LOST, 0.0, 'never touched'),
        ([(0.0, 0.03, -0.02, PUSHED)], 0.10, 'touched but not grasped'),
        (sweep(90, 260), 0.175 + 0.20 * 17 / 18, 'stirred only 170 degrees'),  # the case
        (sweep(90, 400) + LOST, 0.375, 'then lost'),  # dropped at the end
        (sweep(90, 400, PUSHED), 0.10, 'not grasped'),  # pushed around with one finger
        (sweep(90, 400, FREE), 0.0, 'never touched'),
        (sweep(90, 400, height=0.02), 0.175, 'stirred only 0'),  # above the pot
        (sweep(90, 400, radius=0.005), 0.175, 'stirred only 0'),  # turned on the spot
        (sweep(90, 180) + LOST + sweep(270, 350), 0.175 + 0.20 * 17 / 18, 'only 170'),  # in two
        (sweep(0, 90) + sweep(90, 0) + sweep(0, 90), 0.275, 'stirred only 90'),  # to and fro
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
            st.floats(-400.0, 400.0),
            st.floats(0.0, 0.08),
            st.floats(-0.06, 0.1),
            st.sampled_from([FREE, PUSHED, PINCHED]),
        ),
        max_size=12,
    )
)
def test_success_scores_higher_than_any_failure(instants: list[Instant]) -> None:
    verdict = judged(*instants)
    assert 0.0 <= verdict.score <= 1.0
    assert (verdict.score >= 0.50) if verdict.success else (verdict.score <= 0.45 + 1e-9)


@pytest.mark.parametrize('name', SCENES)
def test_a_leaning_spoon_touches_floor_wall_and_rim_without_overlap(name: str) -> None:
    spoon, pot = SCENES[name]
    position, slope = leaning(spoon, pot)
    cos, sin = np.cos(slope), np.sin(slope)
    rotation = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    bowl = spoon.bowl_points() @ rotation.T + position
    assert bowl[:, 2].min() == pytest.approx(pot.floor, abs=1e-6)
    assert -bowl[:, 0].min() == pytest.approx(pot.radius - pot.wall, abs=0.003)
    assert 0.1 < slope < 0.6
