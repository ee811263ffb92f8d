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
from deft_core.grasp import FINGERS, JOINTS_PER_FINGER
from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription

LEVELS: Final = 8
POSTURES: Final = 120
_PER_SWEEP: Final = 8  # random postures
_SIDE_DIFFERENCE: Final = 0.08  # [rad] between neighbours that go sideways together
_MOST_BENT: Final = 1.3  # of the travels of both ways to bend, added
_SHAPE: Final = (len(FINGERS), len(JOINTS_PER_FINGER))
_THUMB: Final = FINGERS.index('thumb')
_GROUPS: Final = (tuple(range(_THUMB)), (_THUMB,))  # fingers that move at the same time


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
    """
    if levels < 2 or postures < 0:
        raise InvalidInputError(
            f'A sweep needs at least 2 levels and no negative number of postures, got {levels} '
            f'and {postures}.'
        )
    lower, upper = (limits.reshape(_SHAPE) for limits in description.joint_limits())
    # PIP and DIP have one motor in a tendon hand.
    kinds = ((0,), (1,), (2, 3)) if description.tendons is not None else ((0,), (1,), (2,), (3,))
    poses: list[CalibrationPose] = []
    sweep = 0
    for group in _GROUPS:
        for kind in kinds:
            moved = np.ix_(group, kind)
            for way in (np.linspace(0.0, 1.0, levels), np.linspace(1.0, 0.0, levels)):
                for share in way:
                    joints = np.zeros(_SHAPE)
                    joints[moved] = lower[moved] + share * (upper[moved] - lower[moved])
                    poses.append(CalibrationPose(sweep, joints.ravel()))
                sweep += 1
    return poses + random_poses(description, rng, postures, sweep)


def random_poses(
    description: HandDescription, rng: np.random.Generator, count: int, first_sweep: int = 0
) -> list[CalibrationPose]:
    """Random postures; the hand opens whenever fingers and thumb change turns."""
    lower, upper = (limits.reshape(_SHAPE) for limits in description.joint_limits())
    poses = []
    for number in range(count):
        turn = number // _PER_SWEEP
        if number % _PER_SWEEP == 0:
            # On the way a closing thumb would catch fingers that are still opening.
            poses.append(CalibrationPose(first_sweep + turn, np.zeros(lower.size)))
        shares, joints = np.zeros(_SHAPE), np.zeros(_SHAPE)
        group = list(_GROUPS[turn % len(_GROUPS)])
        shares[group, 0] = rng.uniform(0.0, 1.0)
        for finger in group:
            joints[finger, 0] = rng.uniform(-0.5, 0.5) * _SIDE_DIFFERENCE
            bent = rng.uniform(0.0, 1.0, 2)
            if bent.sum() > _MOST_BENT:
                bent = 1.0 - bent  # a fist: the tip would meet the palm
            shares[finger, 1:] = bent[[0, 1, 1]]
        joints[group] += lower[group] + shares[group] * (upper - lower)[group]
        joints = np.clip(joints, lower, upper)
        poses.append(CalibrationPose(first_sweep + turn, joints.ravel()))
    return poses
