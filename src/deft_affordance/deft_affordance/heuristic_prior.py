# SPDX-License-Identifier: Apache-2.0
"""The baseline without an affordance model (paper, section 5, "real-world only").

Centre of the bounding box, random rotation, half-closed hand. The paper does not say which
rotations are drawn. Here the 45 degree top pinch is turned about the vertical by an angle that is
uniform over the full circle: any direction in the plane, but never a hand that points upwards
through the table, which would only measure how often the arm refuses.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from deft_affordance.contact import prior_of
from deft_affordance.object_geometry import observed_points
from deft_affordance.wrist_poses import TOP_PINCH, TOP_PINCH_EULER, euler_near, turned
from deft_core.grasp import GraspParameters, GraspPrior
from deft_core.observation import ObjectObservation
from deft_core.task import Task


class HeuristicPrior:
    """Predictor 'heuristic': box centre and a random turn of the wrist."""

    SOURCE: ClassVar[str] = 'heuristic/1'

    def predict(
        self, observation: ObjectObservation, task: Task, generator: np.random.Generator
    ) -> GraspPrior:
        """Propose the box centre with a random turn; see `GraspPredictor.predict`."""
        points = observed_points(observation)
        turn = float(generator.uniform(-math.pi, math.pi))
        grasp = GraspParameters(
            position=observation.centre,
            wrist_rotation=euler_near(turned(TOP_PINCH, turn), TOP_PINCH_EULER),
            joint_positions=np.array(task.half_closed_hand),
        )
        return prior_of(grasp, observation, points, task, self.SOURCE)
