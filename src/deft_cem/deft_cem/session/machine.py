# SPDX-License-Identifier: Apache-2.0
"""The course of a session as a table: (state, event) -> (state, effects).

Pure: no clock, no I/O, no ROS. Effects are names of what the session node has to do; those that
take time end in an event. An event that has no row in the table is refused with the reason,
except the emergency stop, which halts every state, and FAULT and CANCEL, which halt every state
but the last two.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

from deft_core.errors import InvalidInputError


class State(Enum):
    """Where a session stands; values as in deft_msgs/SessionStatus.

    The paper's evaluation is no state of its own: its trials run through the same states as
    practice, and the phase of the episode tells them apart.
    """

    IDLE = 0  # before the start, and for no time at all between two episodes
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
    EPISODES_REMAIN = 'episodes remain'  # answers to CHOOSE
    PRACTICE_COMPLETE = 'practice complete'
    TRIALS_COMPLETE = 'trials complete'
    SCENE_READY = 'scene ready'  # arm aside, scene laid out
    NOT_HOME = 'not home'  # the arm did not get aside, for a passing reason
    OBSERVED = 'observed'
    NO_OBJECT = 'no object'  # nothing to grasp was seen
    PREDICTED = 'predicted'
    NO_PROPOSAL = 'no proposal'  # the object cannot be grasped as it lies
    SAMPLED = 'sampled'  # the residual is drawn and committed
    EXECUTED = 'executed'  # the motion ended, the hand still holds
    NOT_EXECUTABLE = 'not executable'  # the parameters cannot be tried: reward 0
    INTERRUPTED = 'interrupted'  # the motion failed for a reason outside the parameters
    REWARDED = 'rewarded'
    TRAINED = 'trained'
    PAUSE = 'pause'
    RESUME = 'resume'
    REDO = 'redo episode'  # the same residual once more
    SKIP = 'skip episode'  # its place in the schedule stays empty
    ABORT = (
        'abort episode'  # stop now; its place in the schedule is taken again, by a new residual
    )
    CANCEL = 'stop'
    FAULT = 'fault'  # a peer failed or did not answer
    EMERGENCY_STOP = 'emergency stop'


class Effect(Enum):
    """What the session node has to do on a transition."""

    CHOOSE = 'choose'  # say what comes next
    PREPARE_SCENE = 'prepare scene'  # arm home, then ask the operator for the scene
    CHANGE_SCENE = 'change scene'  # the episode gets another scene
    SEGMENT = 'segment'
    PREDICT = 'predict'
    SAMPLE = 'sample'
    EXECUTE = 'execute'
    ASK_REWARD = 'ask reward'  # take the last image, then wait for the score
    SCORE_ZERO = 'score zero'  # take the last image and reward the episode with 0
    ANNOUNCE = 'announce'  # the rewarded episode is on the disk: tell everybody
    REPEAT = 'repeat'  # the open proposal, if any, is to be tried once more
    DISCARD = 'discard'  # the open proposal, if any, does not count
    SKIP = 'skip'  # discard, and leave the place in the schedule empty
    TRAIN = 'train'
    STOP_MOTION = 'stop motion'  # and wait for no answer any more
    FINISH = 'finish'  # write the summary


# States of a session that is not over; in IDLE it waits for its peers.
OPEN: Final = frozenset(State) - {State.HALTED, State.DONE}
# States in which an episode runs that nobody has rewarded.
RUNNING: Final = frozenset({State.OBSERVE, State.PREDICT, State.EXECUTE, State.AWAIT_REWARD})
Step = tuple[State, tuple[Effect, ...]]

_AGAIN: Final = (State.RESET, (Effect.PREPARE_SCENE,))
_ELSEWHERE: Final = (State.RESET, (Effect.CHANGE_SCENE, Effect.PREPARE_SCENE))
_REDO: Final = (State.RESET, (Effect.STOP_MOTION, Effect.REPEAT, Effect.PREPARE_SCENE))
_SKIP: Final = (State.IDLE, (Effect.STOP_MOTION, Effect.SKIP, Effect.CHOOSE))
_ABORT: Final = (State.PAUSED, (Effect.STOP_MOTION, Effect.DISCARD))
_TABLE: Final[MappingProxyType[tuple[State, Event], Step]] = MappingProxyType(
    {
        (State.IDLE, Event.START): (State.IDLE, (Effect.CHOOSE,)),
        (State.IDLE, Event.EPISODES_REMAIN): _AGAIN,
        (State.IDLE, Event.PRACTICE_COMPLETE): (State.TRAIN, (Effect.TRAIN,)),
        (State.IDLE, Event.TRIALS_COMPLETE): (State.DONE, (Effect.FINISH,)),
        (State.RESET, Event.SCENE_READY): (State.OBSERVE, (Effect.SEGMENT,)),
        (State.RESET, Event.NOT_HOME): _AGAIN,
        # The scene is at fault, so the episode starts over in another one.
        (State.OBSERVE, Event.NO_OBJECT): _ELSEWHERE,
        (State.PREDICT, Event.NO_PROPOSAL): _ELSEWHERE,
        (State.OBSERVE, Event.OBSERVED): (State.PREDICT, (Effect.PREDICT,)),
        (State.PREDICT, Event.PREDICTED): (State.SAMPLE, (Effect.SAMPLE,)),
        (State.SAMPLE, Event.SAMPLED): (State.EXECUTE, (Effect.EXECUTE,)),
        (State.EXECUTE, Event.EXECUTED): (State.AWAIT_REWARD, (Effect.ASK_REWARD,)),
        (State.EXECUTE, Event.NOT_EXECUTABLE): (State.AWAIT_REWARD, (Effect.SCORE_ZERO,)),
        (State.EXECUTE, Event.INTERRUPTED): (
            State.RESET,
            (Effect.DISCARD, Effect.PREPARE_SCENE),
        ),
        (State.AWAIT_REWARD, Event.REWARDED): (State.IDLE, (Effect.ANNOUNCE, Effect.CHOOSE)),
        (State.TRAIN, Event.TRAINED): (State.IDLE, (Effect.CHOOSE,)),
        # The summary could not be written.
        (State.DONE, Event.FAULT): (State.HALTED, ()),
        # A pause takes effect where nothing is under way but the scene; a node that is asked
        # for it earlier asks again when the scene's turn comes.
        (State.RESET, Event.PAUSE): (State.PAUSED, (Effect.STOP_MOTION,)),
        (State.PAUSED, Event.RESUME): _AGAIN,
        (State.RESET, Event.SKIP): _SKIP,
        (State.RESET, Event.ABORT): _ABORT,
        **{(state, Event.REDO): _REDO for state in RUNNING},
        **{(state, Event.SKIP): _SKIP for state in RUNNING},
        **{(state, Event.ABORT): _ABORT for state in RUNNING},
    }
)
_REASONS: Final[MappingProxyType[State, str]] = MappingProxyType(
    {
        State.IDLE: 'the session has not begun',
        State.RESET: 'nothing of this episode was tried yet, its scene is being laid out',
        State.OBSERVE: 'the scene is being observed',
        State.PREDICT: 'the grasp is being predicted',
        State.SAMPLE: 'the residual is being drawn',
        State.EXECUTE: 'the arm is moving',
        State.AWAIT_REWARD: 'the episode waits for its score',
        State.TRAIN: 'no episode runs while the policy is trained',
        State.PAUSED: 'the session is paused; resume it first',
        State.HALTED: 'the session halted; launch it again to go on with it',
        State.DONE: 'the session is done',
    }
)


def transition(state: State, event: Event) -> Step:
    """What follows from an event.

    Raises:
        InvalidInputError: The event has no meaning in this state, and why; nothing changes.
    """
    if event is Event.EMERGENCY_STOP:
        return State.HALTED, (Effect.STOP_MOTION,)
    if event in (Event.FAULT, Event.CANCEL) and state in OPEN:
        return State.HALTED, (Effect.STOP_MOTION,)
    step = _TABLE.get((state, event))
    if step is None:
        raise InvalidInputError(
            f'{event.value!r} is not possible in the state {state.name}: {_REASONS[state]}'
        )
    return step
