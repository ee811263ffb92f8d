# SPDX-License-Identifier: Apache-2.0
"""Where a hand that comes near first meets the object, and the prior that says so."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_core.errors import InvalidInputError
from deft_core.grasp import GraspParameters, GraspPrior
from deft_core.observation import ObjectObservation
from deft_core.task import Task
from deft_core.validation import FloatArray, finite_array

_FINGER_BREADTH: Final = 0.02  # [m] what lies this near to the line of approach can be touched


def first_contact(
    points: FloatArray, grasp: GraspParameters, task: Task
) -> tuple[FloatArray, float]:
    """Seen point that the hand meets first on its straight approach.

    Only points near the line of approach through the grasp centre count, so that a handle or a
    rim far beside the hand is not taken for the contact.

    Args:
        points: Seen surface points, base frame. Shape (n, 3), n >= 1. [m].
        grasp: The proposed grasp, base frame.
        task: Its pre-grasp direction is the approach, in flange axes.

    Returns:
        The point, shape (3,) [m], and one standard deviation per axis of the points that count.

    Raises:
        InvalidInputError: The direction of approach is zero.
    """
    direction = finite_array('pregrasp direction', task.pregrasp.direction, (3,))
    length = float(np.linalg.norm(direction))
    if length < 1e-6:
        raise InvalidInputError(
            f'Task {task.name}: the pregrasp direction must not be zero; correct the task file.'
        )
    approach = grasp.rotation_matrix() @ direction / length
    offsets = points - grasp.position
    along = offsets @ approach
    beside = np.linalg.norm(offsets - along[:, None] * approach, axis=1)
    near = beside <= max(_FINGER_BREADTH, float(beside.min()))
    candidates = points[near]
    contact = candidates[int(np.argmin(along[near]))]
    spread = float(np.sqrt(np.mean(np.var(candidates, axis=0))))
    return contact, spread


def prior_of(
    grasp: GraspParameters,
    observation: ObjectObservation,
    points: FloatArray,
    task: Task,
    source: str,
) -> GraspPrior:
    """Prior of a proposed grasp with its first contact.

    Args:
        grasp: The proposal, base frame.
        observation: What it was made from.
        points: The checked points of the observation. Shape (n, 3), n >= 1. [m].
        task: What the grasp is for.
        source: Name and version of the predictor.
    """
    contact_point, uncertainty = first_contact(points, grasp, task)
    return GraspPrior(
        grasp=grasp,
        contact_point=contact_point,
        contact_uncertainty=uncertainty,
        source=source,
        task=task.name,
        instruction=task.instruction,
        calibration_id=observation.calibration_id,
    )
