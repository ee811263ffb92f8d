# SPDX-License-Identifier: Apache-2.0
"""Postures in which pairs are taken: one kind of motor after the other, then all of them.

The fingers must be free: a finger that touches another is not where its tendons alone would bring
it. So fingers and thumb take turns, and the three fingers go sideways together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.errors import InvalidInputError
from deft_core.grasp import FINGERS, HAND_JOINT_NAMES, JOINTS_PER_FINGER
from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription

LEVELS: Final = 8
POSTURES: Final = 120
_PER_SWEEP: Final = 8  # random postures
_SIDE_DIFFERENCE: Final = 0.08  # [rad] between neighbours that go sideways together
_MOST_BENT: Final = 1.3  # of the travels of both ways to bend, added
_JOINTS: Final = len(JOINTS_PER_FINGER)
_THUMB: Final = FINGERS.index('thumb')
_GROUPS: Final = (tuple(range(_THUMB)), (_THUMB,))  # fingers that move at the same time
_BENDING: Final = (1, 2, 3)  # joints of a finger that bend, by `JOINTS_PER_FINGER`


@dataclass(frozen=True, eq=False)
class CalibrationPose:
    """One posture to visit.

    Attributes:
        sweep: Number of the sweep it belongs to.
        joints: Wanted joint positions in `HAND_JOINT_NAMES` order. Shape (16,). [rad].
    """

    sweep: int
    joints: FloatArray


def calibration_poses(
    description: HandDescription,
    rng: np.random.Generator,
    levels: int = LEVELS,
    postures: int = POSTURES,
) -> list[CalibrationPose]:
    """All postures in the order of the visit.

    Every kind of motor is swept over its whole travel, up and down again, because friction makes
    the way matter. Random postures follow.

    Args:
        description: The hand.
        rng: Source of the random postures.
        levels: Of a sweep, one way; at least 2.
        postures: Random ones; not negative.

    Raises:
        InvalidInputError: Too few levels, or a negative number.
    """
    if levels < 2 or postures < 0:
        raise InvalidInputError(
            f'A sweep needs at least 2 levels and no negative number of postures, got {levels} '
            f'and {postures}.'
        )
    lower, upper = description.joint_limits()
    # PIP and DIP have one motor in a tendon hand.
    kinds = ((0,), (1,), (2, 3)) if description.tendons is not None else ((0,), (1,), (2,), (3,))
    ways = [np.linspace(0.0, 1.0, levels), np.linspace(1.0, 0.0, levels)]
    poses: list[CalibrationPose] = []
    sweep = 0
    for group in _GROUPS:
        for kind in kinds:
            for way in ways:
                for share in way:
                    joints = np.zeros(len(HAND_JOINT_NAMES))
                    for place in _places(group, kind):
                        joints[place] = lower[place] + share * (upper[place] - lower[place])
                    poses.append(CalibrationPose(sweep, joints))
                sweep += 1
    return poses + random_poses(description, rng, postures, sweep)


def random_poses(
    description: HandDescription, rng: np.random.Generator, count: int, first_sweep: int = 0
) -> list[CalibrationPose]:
    """Random postures; the hand opens whenever fingers and thumb change turns.

    Args:
        description: The hand.
        rng: Source of the postures.
        count: How many random ones; the open ones come on top.
        first_sweep: Number of the first sweep.
    """
    lower, upper = description.joint_limits()
    poses = []
    for number in range(count):
        turn = number // _PER_SWEEP
        if number % _PER_SWEEP == 0:
            # On the way a closing thumb would catch fingers that are still opening.
            poses.append(CalibrationPose(first_sweep + turn, np.zeros(len(HAND_JOINT_NAMES))))
        joints = _random_posture(_GROUPS[turn % len(_GROUPS)], lower, upper, rng)
        poses.append(CalibrationPose(first_sweep + turn, joints))
    return poses


def _random_posture(
    group: tuple[int, ...], lower: FloatArray, upper: FloatArray, rng: np.random.Generator
) -> FloatArray:
    joints = np.zeros(len(HAND_JOINT_NAMES))
    share = rng.uniform(0.0, 1.0)
    for finger in group:
        side = _JOINTS * finger
        joints[side] = lower[side] + share * (upper[side] - lower[side])
        joints[side] += rng.uniform(-0.5, 0.5) * _SIDE_DIFFERENCE
        bent = rng.uniform(0.0, 1.0, 2)
        if bent.sum() > _MOST_BENT:
            bent = 1.0 - bent  # a fist: the tip would meet the palm
        for joint, amount in zip(_BENDING, (bent[0], bent[1], bent[1]), strict=True):
            place = side + joint
            joints[place] = lower[place] + amount * (upper[place] - lower[place])
    return np.asarray(np.clip(joints, lower, upper))


def _places(group: tuple[int, ...], kind: tuple[int, ...]) -> list[int]:
    return [_JOINTS * finger + joint for finger in group for joint in kind]
