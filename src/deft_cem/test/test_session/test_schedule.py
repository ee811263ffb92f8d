# SPDX-License-Identifier: Apache-2.0
"""The schedule of a session, its baselines and what makes two launches the same session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_cem.session.run_config import Baseline, RunConfig
from deft_cem.session.schedule import Schedule, derived_scene_seed
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError


def make_schedule(seed: int = 3, **changes) -> Schedule:
    values = {'warm_up': 10, 'episodes': 30, 'trials': 10, 'trial_objects': 'train'}
    return Schedule(seed=seed, **{**values, **changes})


def scenes(schedule: Schedule) -> list[int]:
    return [schedule[i].scene_seed for i in range(len(schedule))]


def test_the_plan_has_the_parts_of_the_paper() -> None:
    schedule = make_schedule()
    phases = [schedule[i].phase for i in range(len(schedule))]
    assert phases == (
        [Phase.WARM_UP] * 10
        + [Phase.FINE_TUNE] * 20
        + [Phase.EVALUATE_POLICY] * 10
        + [Phase.EVALUATE_PRIOR] * 10
    )
    seeds = scenes(schedule)
    assert seeds[30:40] == seeds[40:50]
    assert len(set(seeds)) == 40
    assert all(0 < seed < 2**31 for seed in seeds)
    assert [schedule.partner(position) for position in (0, 30, 40, 49)] == [None, None, 30, 39]


def test_trials_on_both_object_sets_begin_with_those_of_training() -> None:
    schedule, train = make_schedule(trial_objects='both'), make_schedule()
    trials = [schedule[i] for i in range(30, len(schedule))]
    assert [trial.phase for trial in trials] == (
        [Phase.EVALUATE_POLICY] * 20 + [Phase.EVALUATE_PRIOR] * 20
    )
    assert [trial.object_set for trial in trials] == (['train'] * 10 + ['test'] * 10) * 2
    seeds = scenes(schedule)
    assert seeds[30:50] == seeds[50:]
    assert seeds[:30] == scenes(train)[:30]
    assert [schedule.partner(position) for position in (50, 69)] == [30, 49]


def test_without_practice_the_prior_is_tried_on_the_same_scenes() -> None:
    schedule = make_schedule(practises=False)
    assert [schedule[i].phase for i in range(len(schedule))] == [Phase.EVALUATE_PRIOR] * 10
    assert scenes(schedule) == scenes(make_schedule())[40:]
    assert schedule.practice_count == 0
    assert schedule.partner(3) is None
    with pytest.raises(ConfigurationError, match='1 or more'):
        make_schedule(practises=False, trials=0)


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert scenes(make_schedule()) == scenes(make_schedule())
    assert scenes(make_schedule()) != scenes(make_schedule(seed=4))


def test_impossible_plans_are_refused() -> None:
    for changes in ({'warm_up': 30}, {'warm_up': 0}, {'trials': -1}, {'trial_objects': 'all'}):
        with pytest.raises(ConfigurationError):
            make_schedule(**changes)


def test_another_scene_of_an_episode_follows_from_its_own() -> None:
    seeds = [derived_scene_seed(71, layout) for layout in range(20)]
    assert seeds[0] == 71
    assert len(set(seeds)) == 20
    assert all(0 < seed < 2**31 for seed in seeds)
    assert seeds == [derived_scene_seed(71, layout) for layout in range(20)]


def test_baselines_are_known_by_name_and_choose_their_predictor() -> None:
    assert [Baseline.parse(one.value) for one in Baseline] == list(Baseline)
    with pytest.raises(ConfigurationError, match='affordance_only'):
        Baseline.parse('affordance_onyl')
    assert Baseline.DEFT.choose_predictor('geometric') == 'geometric'
    assert Baseline.REAL_WORLD_ONLY.choose_predictor('') == 'heuristic'
    with pytest.raises(ConfigurationError, match="'geometric'"):
        Baseline.REAL_WORLD_ONLY.choose_predictor('geometric')
    assert [one.practises for one in Baseline] == [True, False, True]


def test_differences_between_sessions_are_named() -> None:
    settings = {'episodes': 30, 'policy': {'latent': 'mean', 'sizes': (1, 2)}}
    stored = RunConfig('pick_cup', 3, Baseline.DEFT, '', settings)
    # JSON gives lists where the settings have tuples.
    same = replace(
        stored, settings={'episodes': 30, 'policy': {'latent': 'mean', 'sizes': [1, 2]}}
    )
    assert same.differences(stored) == []
    other = RunConfig(
        'pour_cup',
        4,
        Baseline.AFFORDANCE_ONLY,
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
