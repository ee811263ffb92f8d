# SPDX-License-Identifier: Apache-2.0
"""The criterion of Pick Cup (paper, Appendix F) and the score around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_sim.scoring import PickCupMonitor, SceneEvaluation
from deft_sim.world import ContactSummary


def contacts(force: float = 0.0, *, on_table: bool = False) -> ContactSummary:
    return ContactSummary(np.array([force, 0.0, 0.0, force, 0.0]), on_table, 0.0)


def judged(*instants: tuple[float, ContactSummary, bool], tilt: float = 0.0) -> SceneEvaluation:
    monitor = PickCupMonitor()
    for height, summary, collided in instants:
        monitor.update(height, tilt, summary, collided)
    return monitor.evaluate()


def test_a_lifted_and_held_cup_is_a_full_success() -> None:
    verdict = judged((0.0, contacts(2.0, on_table=True), False), (0.16, contacts(3.0), False))
    assert verdict.success
    assert verdict.score == pytest.approx(0.90)
    assert 'held by 2 of 5' in verdict.explanation


def test_all_four_digits_earn_the_whole_score() -> None:
    grasp = ContactSummary(np.array([1.0, 1.0, 1.0, 2.0, 0.0]), False, 0.0)
    assert judged((0.16, grasp, False)).score == pytest.approx(1.0)


def test_a_tilted_cup_scores_less_but_succeeds() -> None:
    upright = judged((0.16, contacts(3.0), False))
    tilted = judged((0.16, contacts(3.0), False), tilt=0.4)
    assert tilted.success
    assert tilted.score == pytest.approx(upright.score - 0.10)


def test_only_an_opposed_grasp_counts() -> None:
    pushing = ContactSummary(np.array([1.0, 1.0, 1.0, 0.0, 0.0]), True, 0.0)
    assert judged((0.0, pushing, False)).score == pytest.approx(0.10)
    against_palm = ContactSummary(np.array([1.0, 1.0, 1.0, 0.0, 1.0]), True, 0.0)
    assert judged((0.0, against_palm, False)).score == pytest.approx(0.25)


def test_nothing_happened_is_zero() -> None:
    assert judged() == judged()
    assert judged().score == 0.0
    assert judged((0.0, contacts(on_table=True), False)).score == 0.0


def test_touching_alone_earns_little() -> None:
    verdict = judged((0.0, contacts(1.0, on_table=True), False))
    assert not verdict.success
    assert verdict.score == pytest.approx(0.20)


def test_a_dropped_cup_is_no_success() -> None:
    verdict = judged((0.12, contacts(2.0), False), (0.0, contacts(on_table=True), False))
    assert not verdict.success
    assert verdict.score == pytest.approx(0.40)
    assert 'then lost' in verdict.explanation


def test_a_cup_that_slips_is_no_success() -> None:
    verdict = judged((0.15, contacts(2.0), False), (0.12, contacts(2.0), False))
    assert not verdict.success


def test_a_cup_that_leans_on_the_table_is_no_success() -> None:
    assert not judged((0.05, contacts(2.0, on_table=True), False)).success


def test_a_cup_in_the_air_without_a_finger_is_no_success() -> None:
    """Thrown or falling: higher than the limit, but not grasped."""
    verdict = judged((0.10, contacts(0.0), False))
    assert not verdict.success
    assert verdict.score == 0.0


def test_a_collision_ends_it() -> None:
    verdict = judged((0.0, contacts(on_table=True), True), (0.16, contacts(3.0), False))
    assert not verdict.success
    assert verdict.score == 0.0
    assert 'collided' in verdict.explanation


@given(
    st.lists(
        st.tuples(st.floats(-0.01, 0.5), st.floats(0.0, 20.0), st.booleans(), st.booleans()),
        max_size=8,
    )
)
def test_scores_stay_in_range_and_success_scores_highest(
    instants: list[tuple[float, float, bool, bool]],
) -> None:
    verdict = judged(
        *((height, contacts(force, on_table=table), hit) for height, force, table, hit in instants)
    )
    assert 0.0 <= verdict.score <= 1.0
    if verdict.success:
        assert verdict.score > 0.35
    else:
        assert verdict.score <= 0.50 + 1e-9
