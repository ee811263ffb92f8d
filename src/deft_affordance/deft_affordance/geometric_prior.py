# SPDX-License-Identifier: Apache-2.0
"""Grasp from the shape of the segmented object; needs neither weights nor training.

Upright things are taken from the side, a little above the middle; flat things are pinched from
above across their long axis. The numbers describe the hand and the arm, not single objects.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final

import numpy as np

from deft_affordance.contact import prior_of
from deft_affordance.object_geometry import ObjectGeometry, object_geometry
from deft_affordance.wrist_poses import (
    SIDE_GRASP,
    SIDE_GRASP_EULER,
    TOP_PINCH,
    TOP_PINCH_EULER,
    euler_near,
    turned,
)
from deft_core.grasp import GraspParameters, GraspPrior
from deft_core.observation import ObjectObservation
from deft_core.task import Task

_UPRIGHT_RATIO: Final = 0.8  # height over the longest lying extent
_ELONGATED_RATIO: Final = 1.2  # below it, noise decides which lying axis is the longer one
_UPRIGHT_GRASP_HEIGHT: Final = 0.57  # of the height: above the middle, clear of the table
_FLAT_GRASP_HEIGHT: Final = 0.5  # of the height


class GeometricPrior:
    """Predictor 'geometric': approach and wrist from centre, height and principal axes."""

    SOURCE: ClassVar[str] = 'geometric/1'

    def predict(
        self,
        observation: ObjectObservation,
        task: Task,
        generator: np.random.Generator,  # noqa: ARG002 (nothing here is drawn)
    ) -> GraspPrior:
        """Propose a side grasp or a top pinch; see `GraspPredictor.predict`."""
        geometry = object_geometry(observation)
        if is_upright(geometry):
            wrist = euler_near(SIDE_GRASP, SIDE_GRASP_EULER)
            height = _UPRIGHT_GRASP_HEIGHT * geometry.height
        else:
            wrist = euler_near(turned(TOP_PINCH, pinch_turn(geometry)), TOP_PINCH_EULER)
            height = _FLAT_GRASP_HEIGHT * geometry.height
        grasp = GraspParameters(
            position=geometry.foot + height * geometry.up,
            wrist_rotation=wrist,
            joint_positions=np.array(task.half_closed_hand),
        )
        return prior_of(grasp, observation, geometry.points, task, self.SOURCE)


def is_upright(geometry: ObjectGeometry) -> bool:
    """Whether the object stands tall enough for fingers to close around its side."""
    return geometry.height >= _UPRIGHT_RATIO * geometry.length


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
