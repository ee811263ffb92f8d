# SPDX-License-Identifier: Apache-2.0
"""The course of a session: the table, its promises, and the plan of episodes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_cem.session_machine import OPEN, Effect, Event, State, transition
from deft_cem.session_plan import SessionPlan
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, InvalidInputError

EPISODE = (
    Event.SCENE_READY,
    Event.OBSERVED,
    Event.PREDICTED,
    Event.SAMPLED,
    Event.EXECUTED,
    Event.REWARDED,
)


def run(state: State, *events: Event) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, more = transition(state, event)
        effects.extend(more)
    return state, effects


def test_a_whole_session() -> None:
    state, effects = run(
        State.IDLE,
        Event.START,
        *EPISODE,
        Event.EPISODES_REMAIN,
        *EPISODE,
        Event.PRACTICE_COMPLETE,
        Event.TRAINED,
        *EPISODE,
        Event.TRIALS_COMPLETE,
    )
    assert state is State.DONE
    assert effects.count(Effect.EXECUTE) == effects.count(Effect.RECORD) == 3
    assert effects.index(Effect.SAMPLE) < effects.index(Effect.EXECUTE)
    assert effects.count(Effect.TRAIN) == 1
    assert effects[-1] is Effect.FINISH


@pytest.mark.parametrize('state', list(State))
def test_an_emergency_stop_halts_every_state(state: State) -> None:
    assert transition(state, Event.EMERGENCY_STOP) == (State.HALTED, (Effect.STOP_MOTION,))


@pytest.mark.parametrize('state', list(State))
@pytest.mark.parametrize('event', [Event.FAULT, Event.CANCEL])
def test_faults_halt_every_session_that_is_not_over(state: State, event: Event) -> None:
    if state in OPEN or (state, event) == (State.DONE, Event.FAULT):  # no summary
        assert transition(state, event)[0] is State.HALTED
    else:
        with pytest.raises(InvalidInputError):
            transition(state, event)


def test_an_interrupted_motion_withdraws_before_the_scene_is_laid_out_again() -> None:
    state, effects = run(State.EXECUTE, Event.INTERRUPTED)
    assert state is State.RESET
    assert effects == [Effect.WITHDRAW, Effect.PREPARE_SCENE]


@settings(deadline=None)
@given(events=st.lists(st.sampled_from(list(Event)), max_size=200))
def test_random_events_keep_the_promises(events: list[Event]) -> None:
    """Whatever happens: each motion has its own sample, each sample at most one record."""
    state = State.IDLE
    open_sample = False
    for event in events:
        try:
            following, effects = transition(state, event)
        except InvalidInputError:
            assert event is not Event.EMERGENCY_STOP
            continue
        if state is State.HALTED:
            assert following is State.HALTED
        for effect in effects:
            if effect is Effect.SAMPLE:
                assert not open_sample
                open_sample = True
            elif effect is Effect.EXECUTE:
                assert open_sample
            elif effect is Effect.WITHDRAW:
                assert open_sample
                open_sample = False
        # RECORD needs REWARDED, which the node gives once; the next part ends the episode.
        if event in (Event.EPISODES_REMAIN, Event.PRACTICE_COMPLETE, Event.TRIALS_COMPLETE):
            assert open_sample
            open_sample = False
        state = following


def test_every_state_but_the_last_two_can_be_left() -> None:
    for state in State:
        ways_out = set()
        for event in Event:
            try:
                ways_out.add(transition(state, event)[0])
            except InvalidInputError:
                continue
        assert state is State.HALTED or ways_out - {state}


def make_plan(seed: int = 3, **changes) -> SessionPlan:
    values = {'warm_up': 10, 'episodes': 30, 'trials': 10, 'trial_objects': 'train'}
    return SessionPlan(seed=seed, **{**values, **changes})


def test_the_plan_has_the_parts_of_the_paper() -> None:
    plan = make_plan()
    phases = [plan[i].phase for i in range(len(plan))]
    assert phases == (
        [Phase.WARM_UP] * 10
        + [Phase.FINE_TUNE] * 20
        + [Phase.EVALUATE_POLICY] * 10
        + [Phase.EVALUATE_PRIOR] * 10
    )
    seeds = [plan[i].scene_seed for i in range(len(plan))]
    assert seeds[30:40] == seeds[40:50]
    assert len(set(seeds)) == 40
    assert all(0 < seed < 2**31 for seed in seeds)


def test_the_plan_depends_on_the_seed_alone() -> None:
    def scenes(plan: SessionPlan) -> list[int]:
        return [plan[i].scene_seed for i in range(len(plan))]

    assert scenes(make_plan()) == scenes(make_plan())
    assert scenes(make_plan()) != scenes(make_plan(seed=4))


def test_impossible_plans_are_refused() -> None:
    for changes in ({'warm_up': 30}, {'warm_up': 0}, {'trials': -1}, {'trial_objects': 'both'}):
        with pytest.raises(ConfigurationError):
            make_plan(**changes)
