# SPDX-License-Identifier: Apache-2.0
"""Grasp predictors: from one observed object and one task to a grasp prior.

`geometric` takes the shape of the segmented object; it needs neither weights nor training. Unless
the task names a wrist pose, upright things are taken from the side, a little above the middle, and
flat things are pinched from above across their long axis. The numbers here describe the hand and
the arm, those of the task (`GraspRule`) the way its tool is held; none is of a single object.

`heuristic` is the baseline without an affordance model (paper, section 5, "real-world only"):
centre of the bounding box, random rotation, half-closed hand. The paper does not say which
rotations are drawn. Here the 45 degree top pinch is turned about the vertical by an angle that is
uniform over the full circle: any direction in the plane, but never a hand that points upwards
through the table, which would only measure how often the arm refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from deft_affordance.object_geometry import ObjectGeometry, object_geometry, observed_points
from deft_affordance.wrist_poses import (
    HOOK,
    HOOK_EULER,
    SIDE_GRASP,
    SIDE_GRASP_EULER,
    TOP_PINCH,
    TOP_PINCH_EULER,
    euler_near,
    turned,
)
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import GraspParameters, GraspPrior
from deft_core.observation import ObjectObservation
from deft_core.task import Task
from deft_core.validation import FloatArray, finite_array

_UPRIGHT_RATIO: Final = 0.8  # height over the longest lying extent
_ELONGATED_RATIO: Final = 1.2  # below it, noise decides which lying axis is the longer one
# Of the height of the object, by wrist pose; upright things above the middle, clear of the table.
_GRASP_HEIGHTS: Final = {'side': 0.57, 'pinch': 0.5, 'hook': 1.0}
_FINGER_BREADTH: Final = 0.02  # [m] what lies this near to the line of approach can be touched

GraspPredictor = Callable[[ObjectObservation, Task, np.random.Generator], GraspPrior]
"""Proposes a grasp in the base frame; the generator is its only source of randomness.

Raises InvalidInputError for an observation that makes no object, and another DeftError where there
is no proposal for it.
"""


def geometric_prior(
    observation: ObjectObservation, task: Task, _generator: np.random.Generator
) -> GraspPrior:
    """Propose a side grasp, a top pinch or a hook; nothing is drawn."""
    geometry = object_geometry(observation)
    rule = task.grasp
    kind = rule.wrist
    if kind == 'by_shape':
        kind = 'side' if geometry.height >= _UPRIGHT_RATIO * geometry.length else 'pinch'
    if kind == 'pinch':
        rotation, reference = turned(TOP_PINCH, pinch_turn(geometry)), TOP_PINCH_EULER
    elif kind == 'hook':
        rotation, reference = HOOK, HOOK_EULER
    else:
        rotation, reference = SIDE_GRASP, SIDE_GRASP_EULER
    share = _GRASP_HEIGHTS[kind] if rule.height is None else rule.height
    position = geometry.foot + share * geometry.height * geometry.up + rotation @ rule.offset
    wrist = euler_near(rotation, reference)
    return _prior('geometric/1', position, wrist, observation, task)


def heuristic_prior(
    observation: ObjectObservation, task: Task, generator: np.random.Generator
) -> GraspPrior:
    """Propose the box centre with a random turn."""
    turn = float(generator.uniform(-math.pi, math.pi))
    wrist = euler_near(turned(TOP_PINCH, turn), TOP_PINCH_EULER)
    return _prior('heuristic/1', observation.centre, wrist, observation, task)


PREDICTORS: Final[dict[str, GraspPredictor]] = {
    'geometric': geometric_prior,
    'heuristic': heuristic_prior,
}


def predictor(name: str) -> GraspPredictor:
    """A predictor by name; raises ConfigurationError where there is none."""
    if name not in PREDICTORS:
        raise ConfigurationError(f'Unknown predictor {name!r}; {nearest(name, PREDICTORS)}')
    return PREDICTORS[name]


def pinch_turn(geometry: ObjectGeometry) -> float:
    """Turn of the top pinch that lets it close across the long axis, within +-pi/2. [rad].

    Unturned, the pinch closes along the base's x axis, across a long axis along y. A round or
    square object has no long axis and is pinched unturned.
    """
    if geometry.length < _ELONGATED_RATIO * geometry.width:
        return 0.0
    # A turn by t brings the y axis to (-sin t, cos t); an axis has two directions, of which the
    # one with positive y needs the smaller turn.
    x, y = float(geometry.long_axis[0]), float(geometry.long_axis[1])
    return math.atan2(-x, y) if y >= 0.0 else math.atan2(x, -y)


def _prior(
    source: str,
    position: FloatArray,
    wrist: FloatArray,
    observation: ObjectObservation,
    task: Task,
) -> GraspPrior:
    """Prior of a proposed grasp centre and wrist with the half-closed hand and first contact."""
    points = observed_points(observation)
    grasp = GraspParameters(position, wrist, np.array(task.half_closed_hand))
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
