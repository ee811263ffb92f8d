# SPDX-License-Identifier: Apache-2.0
"""What the numbers of an xArm controller mean, and what a person does about them.

From the vendor's public documents: return codes of the SDK (xArm-Python-SDK,
doc/api/xarm_api_code.md), controller errors and their handling (ufactory_doc_usermanual, chapter
12), states and modes (ufactory_docs, robot-state-and-mode-explanation.md).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ALL_JOINTS_ENABLED: Final = 0b111111  # bits of mt_able for six joints
ALL_JOINTS: Final = 8  # id that means every joint


class State(enum.IntEnum):
    """State that the controller reports."""

    MOVING = 1
    READY = 2
    PAUSED = 3
    STOPPED = 4  # by a command or by an error
    CHANGED = 5  # mode or configuration changed; state 0 must be set again
    DECELERATING = 6


class Mode(enum.IntEnum):
    """Motion mode of the controller, as far as this project meets them."""

    POSITION = 0
    SERVO = 1
    TEACHING = 2
    JOINT_VELOCITY = 4
    CARTESIAN_VELOCITY = 5
    JOINT_ONLINE = 6
    CARTESIAN_ONLINE = 7
    PLAYBACK = 11


# What `set_state` takes; not what is reported afterwards.
SET_READY: Final = 0
SET_STOP: Final = 4

OK: Final = 0
HAS_ERROR: Final = 1
HAS_WARNING: Final = 2
DISCONNECTED: Final = -1
EMERGENCY_STOPPED: Final = -9
STATE_NOT_READY: Final = 9
WAIT_TIMEOUT: Final = 100
PARAMETER_ERROR: Final = 997  # made by the ROS node itself

_RETURNS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -12: 'a Blockly program could not be run',
        -11: 'a Blockly program could not be converted',
        -10: 'no such joint',
        EMERGENCY_STOPPED: 'the arm is stopped',
        -8: 'out of range',
        -7: 'a joint limit would be exceeded',
        -6: 'the limits of the tool would be exceeded',
        -4: 'no such command',
        -3: 'wrong arguments of a call',
        -2: 'the motors are not enabled or state 0 was not set',
        DISCONNECTED: 'the driver has no connection to the controller',
        HAS_ERROR: 'an error of the controller is not cleared',
        HAS_WARNING: 'a warning of the controller is not cleared',
        3: 'the controller did not answer in time',
        4: 'an answer of wrong length',
        5: 'an answer with a wrong number',
        6: 'an answer with a wrong protocol flag',
        7: 'the answer does not match the command',
        8: 'the command could not be sent',
        STATE_NOT_READY: 'the state of the controller does not allow motion',
        10: 'an invalid result',
        11: 'an unknown error of the connection',
        12: 'a wrong parameter',
        20: 'a wrong host id',
        WAIT_TIMEOUT: 'the wait for the arm timed out',
        101: 'too many tests failed',
        102: 'an error of the end effector',
        103: 'the end effector is not enabled',
        PARAMETER_ERROR: 'too few numbers in the request',
    }
)

COLLISIONS: Final = frozenset({22, 31, 35, 37})
"""Errors after which the arm touched something, or was about to."""

_POWER: Final = 'switch the controller off and on again, and check its cables'
_SLOWER: Final = 'move the object away from the stretched arm, and check speed caps'
_OTHER_WAY: Final = 'plan another way'
# What happened, and what a person does before clearing it.
_ERRORS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        1: (
            'the emergency stop button of the controller was pressed',
            'find out why, then turn the button to release it',
        ),
        2: (
            'the emergency stop input of the controller was triggered',
            'find out why, then release the input',
        ),
        3: ('the three-state switch stopped the arm', 'hold the switch in its middle position'),
        10: ('a servo motor failed', _POWER),
        **{code: (f'servo motor {code - 10} failed', _POWER) for code in range(11, 18)},
        18: ('the force sensor does not communicate', _POWER),
        19: ('the end module does not communicate', _POWER),
        21: ('kinematic error', _OTHER_WAY),
        22: ('the arm would collide with itself', 'move it apart in manual mode'),
        23: (
            'a joint is at its limit',
            'move it back in manual mode; keep position_lower and position_upper in config/arms '
            'within what this arm can do',
        ),
        24: ('a speed limit was exceeded', _SLOWER),
        25: ('planning error', _OTHER_WAY),
        26: ('Linux RT error', _POWER),
        27: ('an answer of the servo bus was wrong', _POWER),
        28: ('the end module answered wrongly', _POWER),
        29: ('an unknown error', _POWER),
        30: ('a measured speed limit was exceeded', _SLOWER),
        31: (
            'abnormal current of a motor, as in a collision',
            'free the arm; if nothing was hit check payload, mounting and collision sensitivity',
        ),
        32: ('no circle through the points', _OTHER_WAY),
        33: ('the controller GPIO failed', _POWER),
        34: ('recording timed out', 'record again'),
        35: (
            'the safety boundary was reached',
            'move the arm back inside in manual mode; keep the envelope within the boundary',
        ),
        36: ('too many delayed commands', 'check the network and the load'),
        37: ('abnormal motion in manual mode', 'check payload and mounting'),
        38: ('abnormal joint angle', _POWER),
        39: ('the power board does not communicate', _POWER),
        40: ('no inverse kinematics', _OTHER_WAY),
        **dict.fromkeys(range(50, 54), ('the force sensor failed', 'check the force sensor')),
        60: ('the tool was too fast in servo mode', _SLOWER),
        110: ('the base board does not communicate', _POWER),
        111: ('the RS-485 bus does not communicate', _POWER),
    }
)


def describe_error(code: int) -> str:
    """Sentence for a person, such as `C31: abnormal current ...; free the arm ...`."""
    meaning, remedy = _ERRORS.get(code, ('an error that is not listed', 'see the manual'))
    return f'C{code}: {meaning}; {remedy}'


def describe_return(code: int) -> str:
    """Sentence part for a return code of a service."""
    return f'{code}: {_RETURNS.get(code, "a code that is not listed")}'


def describe_state(state: int, mode: int) -> str:
    """State and mode in words."""
    names = [State(state).name.lower() if state in set(State) else str(state)]
    names.append(Mode(mode).name.lower().replace('_', ' ') if mode in set(Mode) else str(mode))
    return f'state {state} ({names[0]}), mode {mode} ({names[1]})'
