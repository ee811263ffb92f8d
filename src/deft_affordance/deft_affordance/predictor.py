# SPDX-License-Identifier: Apache-2.0
"""What every grasp predictor offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from deft_core.observation import ObjectObservation
from deft_core.prior import GraspPrior
from deft_core.task import Task


class GraspPredictor(Protocol):
    """Proposes a grasp for one observed object and one task."""

    def predict(
        self, observation: ObjectObservation, task: Task, generator: np.random.Generator
    ) -> GraspPrior:
        """Propose a grasp in the base frame.

        Args:
            observation: The segmented object, base frame.
            task: What is to be done with it.
            generator: The only source of randomness; a predictor may leave it untouched.

        Raises:
            InvalidInputError: The observation has no points, or numbers that make no object.
            DeftError: There is no proposal for this object.
        """
