# SPDX-License-Identifier: Apache-2.0
"""The course of a session as a table: (state, event) -> (state, effects).

Pure: no clock, no I/O, no ROS. Effects are names of what the session node has to do; each of
them ends in an event. An event that has no row in the table is refused, except the emergency
stop, which halts every state, and FAULT and CANCEL, which halt every state but the last two.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

from deft_core.errors import InvalidInputError


class State(Enum):
    """Where a session stands; values as in deft_msgs/SessionStatus."""

    IDLE = 0
    RESET = 1
    OBSERVE = 2
    PREDICT = 3
    SAMPLE = 4
    EXECUTE = 5
    AWAIT_REWARD = 6
    TRAIN = 7
    PAUSED = 8
    HALTED = 9
    DONE = 10


class Event(Enum):
    """What can happen to a session."""

    START = 'start'  # all peers are there
    SCENE_READY = 'scene ready'  # arm aside, scene laid out
    OBSERVED = 'observed'
    NO_OBJECT = 'no object'  # nothing to grasp was seen: lay the scene out again
    PREDICTED = 'predicted'
    NO_PROPOSAL = 'no proposal'  # the object cannot be grasped as it lies
    SAMPLED = 'sampled'  # the residual is drawn and committed
    EXECUTED = 'executed'  # the motion ended, the hand still holds
    NOT_EXECUTABLE = 'not executable'  # the parameters cannot be tried: reward 0
    INTERRUPTED = 'interrupted'  # the motion failed for a reason outside the parameters
    REWARDED = 'rewarded'
    EPISODES_REMAIN = 'episodes remain'  # after an episode: another of the same part
    PRACTICE_COMPLETE = 'practice complete'  # after an episode: N episodes are rated
    TRIALS_COMPLETE = 'trials complete'  # after an episode: nothing is left to do
    TRAINED = 'trained'
    PAUSE = 'pause'
    RESUME = 'resume'
    CANCEL = 'cancel'
    FAULT = 'fault'  # a peer failed or did not answer
    EMERGENCY_STOP = 'emergency stop'


class Effect(Enum):
    """What the session node has to do on a transition."""

    PREPARE_SCENE = 'prepare scene'  # arm home, then ask the operator for the scene
    SEGMENT = 'segment'
    PREDICT = 'predict'
    SAMPLE = 'sample'
    EXECUTE = 'execute'
    ASK_REWARD = 'ask reward'  # take the last image, then wait for the score
    SCORE_ZERO = 'score zero'  # take the last image and rate the episode 0
    RECORD = 'record'  # publish the episode, then say what comes next
    WITHDRAW = 'withdraw'  # the open proposal does not count
    TRAIN = 'train'  # wait for the recorder, then train
    STOP_MOTION = 'stop motion'
    FINISH = 'finish'  # write the summary


# States of a session that is not over; in IDLE it waits for its peers.
OPEN: Final = frozenset(State) - {State.HALTED, State.DONE}
Step = tuple[State, tuple[Effect, ...]]

_TABLE: Final[MappingProxyType[tuple[State, Event], Step]] = MappingProxyType(
    {
        (State.IDLE, Event.START): (State.RESET, (Effect.PREPARE_SCENE,)),
        (State.RESET, Event.SCENE_READY): (State.OBSERVE, (Effect.SEGMENT,)),
        (State.OBSERVE, Event.OBSERVED): (State.PREDICT, (Effect.PREDICT,)),
        # Nothing was sampled yet, so the same episode simply starts over.
        (State.OBSERVE, Event.NO_OBJECT): (State.RESET, (Effect.PREPARE_SCENE,)),
        (State.PREDICT, Event.PREDICTED): (State.SAMPLE, (Effect.SAMPLE,)),
        (State.PREDICT, Event.NO_PROPOSAL): (State.RESET, (Effect.PREPARE_SCENE,)),
        (State.SAMPLE, Event.SAMPLED): (State.EXECUTE, (Effect.EXECUTE,)),
        (State.EXECUTE, Event.EXECUTED): (State.AWAIT_REWARD, (Effect.ASK_REWARD,)),
        (State.EXECUTE, Event.NOT_EXECUTABLE): (State.AWAIT_REWARD, (Effect.SCORE_ZERO,)),
        (State.EXECUTE, Event.INTERRUPTED): (
            State.RESET,
            (Effect.WITHDRAW, Effect.PREPARE_SCENE),
        ),
        (State.AWAIT_REWARD, Event.REWARDED): (State.AWAIT_REWARD, (Effect.RECORD,)),
        (State.AWAIT_REWARD, Event.EPISODES_REMAIN): (State.RESET, (Effect.PREPARE_SCENE,)),
        (State.AWAIT_REWARD, Event.PRACTICE_COMPLETE): (State.TRAIN, (Effect.TRAIN,)),
        (State.AWAIT_REWARD, Event.TRIALS_COMPLETE): (State.DONE, (Effect.FINISH,)),
        (State.TRAIN, Event.TRIALS_COMPLETE): (State.DONE, (Effect.FINISH,)),
        (State.TRAIN, Event.TRAINED): (State.RESET, (Effect.PREPARE_SCENE,)),
        # The summary could not be written.
        (State.DONE, Event.FAULT): (State.HALTED, ()),
        # Pausing is possible where the robot stands still and nothing is pending: while the
        # operator lays out the scene. The episode then starts over.
        (State.RESET, Event.PAUSE): (State.PAUSED, (Effect.STOP_MOTION,)),
        (State.PAUSED, Event.RESUME): (State.RESET, (Effect.PREPARE_SCENE,)),
    }
)


def transition(state: State, event: Event) -> Step:
    """What follows from an event.

    Args:
        state: Present state.
        event: What happened.

    Returns:
        The next state and what has to be done, in order.

    Raises:
        InvalidInputError: The event has no meaning in this state; nothing changes.
    """
    if event is Event.EMERGENCY_STOP:
        return State.HALTED, (Effect.STOP_MOTION,)
    if event in (Event.FAULT, Event.CANCEL) and state in OPEN:
        return State.HALTED, (Effect.STOP_MOTION,)
    step = _TABLE.get((state, event))
    if step is None:
        raise InvalidInputError(
            f'{event.value!r} is not possible while the session is {state.name}'
        )
    return step
