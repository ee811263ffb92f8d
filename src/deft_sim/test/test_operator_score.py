# SPDX-License-Identifier: Apache-2.0
"""What a person makes of an exact score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_sim.environment import TableTopEnvironment
from deft_sim.operator_score import OperatorConfiguration, as_a_person_scores

PERSON, ORACLE = OperatorConfiguration(0.2, 0.1), OperatorConfiguration(0.0, 0.0)


@given(st.floats(0.0, 1.0), st.integers(0, 1000))
def test_a_person_has_six_marks_and_an_oracle_is_exact(exact: float, seed: int) -> None:
    mark = as_a_person_scores(exact, PERSON, np.random.default_rng(seed))
    assert mark in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    oracle = as_a_person_scores(exact, ORACLE, np.random.default_rng(seed))
    assert oracle == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize('exact', [0.3, 0.5, 0.7])
def test_marks_are_noisy_but_not_biased(exact: float) -> None:
    rng = np.random.default_rng(0)
    marks = np.array([as_a_person_scores(exact, PERSON, rng) for _ in range(1000)])
    assert len(set(marks.tolist())) >= 3
    assert marks.mean() == pytest.approx(exact, abs=0.02)


def test_nothing_gets_nothing() -> None:
    rng = np.random.default_rng(0)
    assert not any(as_a_person_scores(0.0, PERSON, rng) for _ in range(100))


def test_the_cell_answers_as_a_person_and_the_same_when_asked_again(
    environment: TableTopEnvironment,
) -> None:
    trajectory = environment.task.load_trajectory(config_directory())
    said = []
    for seed in (1, 2, 3):
        environment.reset(seed, 'red_mug')
        assert environment.execute(environment.cell.expert_grasp(), trajectory) is (
            Outcome.COMPLETED
        )
        exact, verdict = environment.score(exact=True), environment.score()
        assert verdict == environment.score()
        assert (verdict.success, verdict.explanation) == (exact.success, exact.explanation)
        assert abs(verdict.score - exact.score) < 0.5
        said.append(verdict.score)
    assert set(said) <= {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}
