# SPDX-License-Identifier: Apache-2.0
"""Records the one demonstration of Pick Cup (paper, section 3.1) in simulation.

The paper takes the wrist trajectory after the grasp from one video of a person. Here the hand is
moved by an expert that knows the scene; what is stored is what its wrist really did: the change of
the flange pose between neighbouring instants, forty times at 10 Hz.
"""

from __future__ import annotations

import itertools

import numpy as np

from deft_arm.planning.plan import Phase
from deft_core.errors import TrainingError
from deft_core.rotations import rotation_vector_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_sim.environment import TableTopEnvironment
from deft_sim.expert import side_grasp

RATE = 10.0  # [Hz]
LIFT = 0.16  # [m] of the whole demonstration
OBJECT = 'red_mug'
SCENE_SEED = 1


def intended_lift() -> WristTrajectory:
    """What the expert intends: straight up with a smooth start and end, in the base frame."""
    share = np.linspace(0.0, 1.0, TRAJECTORY_STEPS + 1)
    height = LIFT * (3.0 * share**2 - 2.0 * share**3)
    translations = np.zeros((TRAJECTORY_STEPS, 3))
    translations[:, 2] = np.diff(height)
    return WristTrajectory(translations, np.zeros((TRAJECTORY_STEPS, 3)), RATE, 'intended lift')


def record(environment: TableTopEnvironment) -> WristTrajectory:
    """Let the expert pick up the cup, and return how its wrist moved after the grasp.

    Args:
        environment: The cell; its scene is laid out anew.

    Raises:
        TrainingError: The expert lost the cup, so this is no demonstration.
        UnreachableError: The expert's grasp cannot be reached.
    """
    cell = environment.cell
    environment.reset(SCENE_SEED, OBJECT)
    plan = environment.plan(side_grasp(environment), intended_lift())
    poses = []
    for phase in plan.phases:
        if phase.name is not Phase.FOLLOW_TRAJECTORY:
            environment.play(phase)
            continue
        cell.follow_arm(phase.arm.times, phase.arm.positions)
        poses.append(cell.flange_pose())
        for _ in range(TRAJECTORY_STEPS):
            cell.advance(1.0 / RATE)
            poses.append(cell.flange_pose())
    verdict = environment.score()
    if not verdict.success:
        raise TrainingError(
            f'The demonstration failed ({verdict.explanation}); change the expert or the seed.'
        )
    changes = list(itertools.pairwise(poses))
    return WristTrajectory(
        translations=np.array([after[:3, 3] - before[:3, 3] for before, after in changes]),
        rotation_vectors=np.array(
            [
                rotation_vector_from_matrix(after[:3, :3] @ before[:3, :3].T)
                for before, after in changes
            ]
        ),
        rate=RATE,
        source=(
            f'simulated demonstration: an expert lifts {OBJECT} (scene seed {SCENE_SEED}); '
            'measured flange poses, no human video'
        ),
    )
