# SPDX-License-Identifier: Apache-2.0
"""The plan of a session, its methods and what makes two launches the same session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_cem.session.run_config import Method, RunConfig
from deft_cem.session.schedule import Schedule, derived_scene_seed
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError


def make_plan(seed: int = 3, **changes) -> Schedule:
    values = {'warm_up': 10, 'episodes': 30, 'trials': 10, 'trial_objects': 'train'}
    return Schedule(seed=seed, **{**values, **changes})


def scenes(plan: Schedule) -> list[int]:
    return [plan[i].scene_seed for i in range(len(plan))]


def test_the_plan_has_the_parts_of_the_paper() -> None:
    plan = make_plan()
    phases = [plan[i].phase for i in range(len(plan))]
    assert phases == (
        [Phase.WARM_UP] * 10
        + [Phase.FINE_TUNE] * 20
        + [Phase.EVALUATE_POLICY] * 10
        + [Phase.EVALUATE_PRIOR] * 10
    )
    seeds = scenes(plan)
    assert seeds[30:40] == seeds[40:50]
    assert len(set(seeds)) == 40
    assert all(0 < seed < 2**31 for seed in seeds)
    assert [plan.partner(position) for position in (0, 30, 40, 49)] == [None, None, 30, 39]


def test_trials_on_both_object_sets_begin_with_those_of_training() -> None:
    plan, train = make_plan(trial_objects='both'), make_plan()
    trials = [plan[i] for i in range(30, len(plan))]
    assert [trial.phase for trial in trials] == (
        [Phase.EVALUATE_POLICY] * 20 + [Phase.EVALUATE_PRIOR] * 20
    )
    assert [trial.object_set for trial in trials] == (['train'] * 10 + ['test'] * 10) * 2
    seeds = scenes(plan)
    assert seeds[30:50] == seeds[50:]
    assert seeds[:30] == scenes(train)[:30]
    assert [plan.partner(position) for position in (50, 69)] == [30, 49]


def test_without_practice_the_prior_is_tried_on_the_same_scenes() -> None:
    plan = make_plan(practises=False)
    assert [plan[i].phase for i in range(len(plan))] == [Phase.EVALUATE_PRIOR] * 10
    assert scenes(plan) == scenes(make_plan())[40:]
    assert plan.practice_count == 0
    assert plan.partner(3) is None
    with pytest.raises(ConfigurationError, match='1 or more'):
        make_plan(practises=False, trials=0)


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert scenes(make_plan()) == scenes(make_plan())
    assert scenes(make_plan()) != scenes(make_plan(seed=4))


def test_impossible_plans_are_refused() -> None:
    for changes in ({'warm_up': 30}, {'warm_up': 0}, {'trials': -1}, {'trial_objects': 'all'}):
        with pytest.raises(ConfigurationError):
            make_plan(**changes)


def test_another_scene_of_an_episode_follows_from_its_own() -> None:
    seeds = [derived_scene_seed(71, layout) for layout in range(20)]
    assert seeds[0] == 71
    assert len(set(seeds)) == 20
    assert all(0 < seed < 2**31 for seed in seeds)
    assert seeds == [derived_scene_seed(71, layout) for layout in range(20)]


def test_methods_are_known_by_name_and_choose_their_predictor() -> None:
    assert [Method.parse(method.value) for method in Method] == list(Method)
    with pytest.raises(ConfigurationError, match='affordance_only'):
        Method.parse('affordance_onyl')
    assert Method.DEFT.choose_predictor('geometric') == 'geometric'
    assert Method.REAL_WORLD_ONLY.choose_predictor('') == 'heuristic'
    with pytest.raises(ConfigurationError, match="'geometric'"):
        Method.REAL_WORLD_ONLY.choose_predictor('geometric')
    assert [method.practises for method in Method] == [True, False, True]


def test_differences_between_sessions_are_named() -> None:
    settings = {'episodes': 30, 'policy': {'latent': 'mean', 'sizes': (1, 2)}}
    stored = RunConfig('pick_cup', 3, Method.DEFT, '', settings)
    # JSON gives lists where the settings have tuples.
    same = replace(
        stored, settings={'episodes': 30, 'policy': {'latent': 'mean', 'sizes': [1, 2]}}
    )
    assert same.differences(stored) == []
    other = RunConfig(
        'pour_cup',
        4,
        Method.AFFORDANCE_ONLY,
        'geometric',
        {'episodes': 30, 'policy': {'latent': 'sample', 'sizes': (1, 2)}, 'new': 1},
    )
    assert other.differences(stored) == [
        "task is 'pour_cup' and was 'pick_cup'",
        'seed is 4 and was 3',
        "method is 'affordance_only' and was 'deft'",
        "predictor is 'geometric' and was ''",
        'new is 1 and was None',
        "policy.latent is 'sample' and was 'mean'",
    ]
