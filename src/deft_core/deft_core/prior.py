# SPDX-License-Identifier: Apache-2.0
"""A proposal of how to grasp, xi in the paper."""

from __future__ import annotations

from dataclasses import dataclass

from deft_core.grasp import GraspParameters
from deft_core.validation import FloatArray, finite_array


@dataclass(frozen=True, eq=False)
class GraspPrior:
    """Grasp proposed for one image and one task sentence (paper, section 3.1).

    Attributes:
        grasp: The proposal in the base frame.
        contact_point: Where the hand should touch, base frame. Shape (3,). [m].
        contact_uncertainty: One standard deviation of the contact point. [m].
        source: Name and version of what proposed it.
        task: Name of the task.
        instruction: The task sentence.
        calibration_id: Which camera calibration was used.
    """

    grasp: GraspParameters
    contact_point: FloatArray
    contact_uncertainty: float
    source: str
    task: str
    instruction: str
    calibration_id: str

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        contact_point = finite_array('contact point', self.contact_point, (3,))
        object.__setattr__(self, 'contact_point', contact_point)
