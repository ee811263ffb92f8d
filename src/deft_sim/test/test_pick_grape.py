# SPDX-License-Identifier: Apache-2.0
"""The criterion of Pick Grape (paper, Appendix F), the score around it, and how stems break."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from deft_sim.configuration import SimulationSettings
from deft_sim.tasks import ContactSummary, SceneEvaluation
from deft_sim.tasks.pick_grape import BUNCHES, TASK, PickGrapeJudge
from deft_sim.world import World

HELD = ContactSummary(np.array([1.0, 0.0, 0.0, 2.0, 0.0]), False, 0.0)
FREE = ContactSummary(np.zeros(5), False, 0.0)
UP, DOWN = [0.10, 0.11, 0.12], [0.011, 0.011, 0.011]


def judged(*instants, collided: bool = False) -> SceneEvaluation:
    judge = PickGrapeJudge()
    for heights, contacts in instants:
        judge.update(np.array(heights), contacts, collided=collided)
    return judge.evaluate()


def test_all_grapes_held_high_are_a_success() -> None:
    verdict = judged((DOWN, HELD), (UP, HELD))
    assert verdict.success
    assert verdict.score == pytest.approx(1.0)
    assert 'the lowest 10 cm up' in verdict.explanation


@pytest.mark.parametrize(
    ('instants', 'score', 'words'),
    [
        ([], 0.0, 'nothing has happened'),
        ([(DOWN, FREE)], 0.0, 'never touched'),
        ([(DOWN, HELD)], 0.1, 'not lifted'),
        ([(UP, HELD), ([0.10, 0.011, 0.12], HELD)], 0.8, '67% of the grapes'),  # a stem broke
        ([([0.049, 0.06, 0.07], HELD)], 0.1 + 0.9 * 2 / 3, '67%'),
        ([(UP, HELD), (DOWN, FREE)], 0.4, 'then lost'),
        ([(UP, HELD), (UP, FREE)], 0.4, 'then lost'),  # falling
    ],
)
def test_anything_else_is_none(instants, score, words) -> None:
    verdict = judged(*instants)
    assert not verdict.success
    assert verdict.score == pytest.approx(score)
    assert words in verdict.explanation


def test_a_collision_counts_for_nothing() -> None:
    assert judged((UP, HELD), collided=True) == SceneEvaluation(
        0.0, False, 'the arm collided with the table'
    )


@pytest.mark.parametrize(('share', 'stays'), [(0.6, True), (1.5, False)])
def test_a_grape_comes_off_above_its_strength(
    settings: SimulationSettings, share: float, stays: bool
) -> None:
    name = 'red_grapes'
    world = World(settings, TASK, name)
    data = mujoco.MjData(world.model)
    TASK.lay_out(data, name, np.random.default_rng(0))
    mujoco.mj_forward(world.model, data)
    grape = world.model.body('object_grape_0').id
    stem = world.model.body('object').id
    force = share * BUNCHES[name].strength
    for step in range(600):  # pulled apart, ever harder, without going anywhere
        pull = force * min(step / 400.0, 1.0)
        data.xfrc_applied[grape, 2] = 9.81 * BUNCHES[name].grape_mass
        data.xfrc_applied[grape, 0] = pull
        data.xfrc_applied[stem, 0] = -pull
        mujoco.mj_step(world.model, data)
        TASK.tear(data, name)
        if not data.eq_active.all():
            break
    assert bool(data.eq_active[0]) is stays
    assert data.eq_active[1:].all()
