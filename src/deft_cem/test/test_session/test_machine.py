# SPDX-License-Identifier: Apache-2.0
"""The course of a session: the table and its promises."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deft_cem.session.machine import OPEN, RUNNING, Effect, Event, State, transition
from deft_core.errors import InvalidInputError

EPISODE = (
    Event.SCENE_READY,
    Event.OBSERVED,
    Event.PREDICTED,
    Event.SAMPLED,
    Event.EXECUTED,
    Event.REWARDED,
)
OPERATOR = (Event.PAUSE, Event.RESUME, Event.REDO, Event.SKIP, Event.ABORT)
ANSWERS = (Event.EPISODES_REMAIN, Event.PRACTICE_COMPLETE, Event.TRIALS_COMPLETE)


def run(state: State, *events: Event) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, more = transition(state, event)
        effects.extend(more)
    return state, effects


def refused(state: State, event: Event) -> str:
    with pytest.raises(InvalidInputError) as caught:
        transition(state, event)
    return str(caught.value)


def test_a_whole_session() -> None:
    state, effects = run(
        State.IDLE,
        Event.START,
        Event.EPISODES_REMAIN,
        *EPISODE,
        Event.EPISODES_REMAIN,
        *EPISODE,
        Event.PRACTICE_COMPLETE,
        Event.TRAINED,
        Event.EPISODES_REMAIN,
        *EPISODE,
        Event.TRIALS_COMPLETE,
    )
    assert state is State.DONE
    assert effects.count(Effect.EXECUTE) == effects.count(Effect.ANNOUNCE) == 3
    assert effects.index(Effect.SAMPLE) < effects.index(Effect.EXECUTE)
    assert effects.count(Effect.TRAIN) == 1
    assert effects[-1] is Effect.FINISH


@pytest.mark.parametrize('answer', ANSWERS)
def test_a_session_goes_on_wherever_it_was_interrupted(answer: Event) -> None:
    state, effects = run(State.IDLE, Event.START, answer)
    expected = {
        Event.EPISODES_REMAIN: (State.RESET, Effect.PREPARE_SCENE),
        Event.PRACTICE_COMPLETE: (State.TRAIN, Effect.TRAIN),
        Event.TRIALS_COMPLETE: (State.DONE, Effect.FINISH),
    }
    assert (state, effects[-1]) == expected[answer]


@pytest.mark.parametrize('state', list(State))
def test_an_emergency_stop_halts_every_state(state: State) -> None:
    assert transition(state, Event.EMERGENCY_STOP) == (State.HALTED, (Effect.STOP_MOTION,))


@pytest.mark.parametrize('state', list(State))
@pytest.mark.parametrize('event', [Event.FAULT, Event.CANCEL])
def test_faults_halt_every_session_that_is_not_over(state: State, event: Event) -> None:
    if state in OPEN or (state, event) == (State.DONE, Event.FAULT):  # no summary
        assert transition(state, event)[0] is State.HALTED
    else:
        refused(state, event)


def test_an_interrupted_motion_discards_before_the_scene_is_laid_out_again() -> None:
    state, effects = run(State.EXECUTE, Event.INTERRUPTED)
    assert state is State.RESET
    assert effects == [Effect.DISCARD, Effect.PREPARE_SCENE]


@pytest.mark.parametrize('state', sorted(RUNNING, key=lambda state: state.value))
def test_a_running_episode_can_be_redone_skipped_and_aborted(state: State) -> None:
    for event, following, effect in (
        (Event.REDO, State.RESET, Effect.REPEAT),
        (Event.SKIP, State.IDLE, Effect.SKIP),
        (Event.ABORT, State.PAUSED, Effect.DISCARD),
    ):
        reached, effects = transition(state, event)
        assert reached is following
        assert effects[:2] == (Effect.STOP_MOTION, effect)


def test_a_refusal_says_why() -> None:
    assert 'being laid out' in refused(State.RESET, Event.REDO)
    assert 'resume it first' in refused(State.PAUSED, Event.SKIP)
    assert 'trained' in refused(State.TRAIN, Event.ABORT)
    assert 'done' in refused(State.DONE, Event.PAUSE)
    assert 'launch it again' in refused(State.HALTED, Event.RESUME)
    assert 'arm is moving' in refused(State.EXECUTE, Event.RESUME)


class AnySession(RuleBasedStateMachine):
    """A node that carries out effects, with a schedule of a few episodes, under random events.

    Events that an effect brings at once wait in a queue, as in the node; what peers, operator
    and devices do comes in between, in any order and also when it makes no sense.
    """

    @initialize(episodes=st.integers(1, 4), practice=st.integers(0, 3))
    def begin(self, episodes: int, practice: int) -> None:
        self.state = State.IDLE
        self.queue: deque[Event] = deque()
        self.left = episodes
        self.practice_left = practice
        self.trained = practice == 0
        self.sample_open = False  # drawn, and neither rewarded nor discarded
        self.rewarded = self.skipped = self.scheduled = 0
        self.scheduled = episodes + practice
        self.finished = self.stopped = False

    def emit(self, event: Event) -> None:
        self.queue.append(event)
        while self.queue:
            self.step(self.queue.popleft())

    def step(self, event: Event) -> None:
        before = self.state
        try:
            self.state, effects = transition(before, event)
        except InvalidInputError:
            assert event is not Event.EMERGENCY_STOP
            assert self.state is before
            return
        if before is State.HALTED:
            assert self.state is State.HALTED
        if event is Event.EMERGENCY_STOP:
            assert self.state is State.HALTED
        moving = before in (State.RESET, State.EXECUTE, State.AWAIT_REWARD)
        if moving and event in (*OPERATOR, Event.CANCEL, Event.FAULT):
            assert effects[0] is Effect.STOP_MOTION
        for effect in effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        if effect is Effect.CHOOSE:
            self.queue.append(self.following())
        elif effect is Effect.SAMPLE:
            self.sample_open = True  # a sample that is open already is taken again
            self.queue.append(Event.SAMPLED)
        elif effect is Effect.EXECUTE:
            assert self.sample_open, 'a motion without a committed sample'
        elif effect is Effect.ANNOUNCE:
            assert self.sample_open, 'a record without a sample'
            self.sample_open = False
            self.count()
            self.rewarded += 1
        elif effect is Effect.SKIP:
            self.sample_open = False
            self.count()
            self.skipped += 1
        elif effect is Effect.DISCARD:
            self.sample_open = False
        elif effect is Effect.TRAIN:
            assert not self.trained
        elif effect is Effect.FINISH:
            assert not self.finished
            self.finished = True

    def count(self) -> None:
        assert self.left + self.practice_left > 0
        if self.practice_left:
            self.practice_left -= 1
        else:
            self.left -= 1

    def following(self) -> Event:
        assert not self.sample_open, 'the next episode is chosen while one is open'
        if self.practice_left == 0 and not self.trained:
            return Event.PRACTICE_COMPLETE
        return Event.EPISODES_REMAIN if self.left + self.practice_left else Event.TRIALS_COMPLETE

    # The node starts a session once, and answers only what it was asked.
    @precondition(lambda self: self.state is State.IDLE)
    @rule()
    def start(self) -> None:
        self.emit(Event.START)

    @precondition(lambda self: self.state is State.TRAIN)
    @rule()
    def train(self) -> None:
        self.trained = True
        self.emit(Event.TRAINED)

    @rule(
        event=st.sampled_from(
            sorted(
                set(Event)
                - {*ANSWERS, Event.START, Event.TRAINED, Event.EMERGENCY_STOP, Event.FAULT}
                - {Event.CANCEL, Event.SAMPLED},
                key=lambda event: event.value,
            )
        )
    )
    def anything(self, event: Event) -> None:
        self.emit(event)

    @rule(count=st.integers(1, 6))
    def good_course(self, count: int) -> None:
        """What most often happens, so that long sessions are reached."""
        expected = {
            State.RESET: Event.SCENE_READY,
            State.OBSERVE: Event.OBSERVED,
            State.PREDICT: Event.PREDICTED,
            State.EXECUTE: Event.EXECUTED,
            State.AWAIT_REWARD: Event.REWARDED,
            State.PAUSED: Event.RESUME,
        }
        for _ in range(count):
            if self.state in expected:
                self.emit(expected[self.state])

    @precondition(lambda self: self.rewarded > 1)
    @rule(event=st.sampled_from([Event.EMERGENCY_STOP, Event.FAULT, Event.CANCEL]))
    def end(self, event: Event) -> None:
        self.emit(event)
        assert self.state is State.HALTED or (event is Event.CANCEL and self.state is State.DONE)

    @invariant()
    def episodes_add_up(self) -> None:
        if hasattr(self, 'left'):
            done = self.rewarded + self.skipped
            assert done + self.left + self.practice_left == self.scheduled
            if self.state is State.DONE:
                assert self.finished
                assert done == self.scheduled

    @invariant()
    def between_episodes_nothing_waits(self) -> None:
        if hasattr(self, 'left') and self.state is State.IDLE:
            assert self.rewarded + self.skipped == 0, 'IDLE lasts only before the start'


TestAnySession = AnySession.TestCase
TestAnySession.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_every_state_but_the_last_two_can_be_left() -> None:
    for state in State:
        ways_out = set()
        for event in Event:
            try:
                ways_out.add(transition(state, event)[0])
            except InvalidInputError:
                continue
        assert state is State.HALTED or ways_out - {state}
