# SPDX-License-Identifier: Apache-2.0
"""How a hand that was put together differs from its file: what calibration has to find."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_hand_driver.description import HandDescription


@dataclass(frozen=True)
class MountingErrors:
    """Largest errors; every hand draws its own.

    Attributes:
        zero: Half width of the spool angle at which a tendon is just taut. [rad].
        moment_arm_share: Half width of the factor on every moment arm. [-].
        friction: Largest dry friction of a joint, with its tendon. [N m].
    """

    zero: float = field(default=0.1, metadata={'minimum': 0.0, 'maximum': 1.0, 'unit': 'rad'})
    moment_arm_share: float = field(default=0.1, metadata={'minimum': 0.0, 'maximum': 0.5})
    friction: float = field(
        default=0.005, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': 'N m'}
    )


@dataclass(frozen=True, eq=False)
class HandMounting:
    """What one hand drew, with m motors.

    Attributes:
        zeros: Motor positions at which the tendons are just taut. Shape (m,). [rad].
        arm_factors: Real moment arms as a share of those in the file. Shape (16,).
        frictions: Dry friction of the joints. Shape (16,). [N m].
    """

    zeros: FloatArray
    arm_factors: FloatArray
    frictions: FloatArray

    @classmethod
    def nominal(cls, description: HandDescription) -> HandMounting:
        """A hand exactly as in its file."""
        joints = len(HAND_JOINT_NAMES)
        return cls(np.zeros(len(description.motor_names)), np.ones(joints), np.zeros(joints))

    @classmethod
    def draw(
        cls, description: HandDescription, errors: MountingErrors, rng: np.random.Generator
    ) -> HandMounting:
        """One hand.

        Args:
            description: As it should be.
            errors: How much it may differ.
            rng: Source of the draws.
        """
        joints = len(HAND_JOINT_NAMES)
        return cls(
            errors.zero * rng.uniform(-1.0, 1.0, len(description.motor_names)),
            1.0 + errors.moment_arm_share * rng.uniform(-1.0, 1.0, joints),
            errors.friction * rng.uniform(0.0, 1.0, joints),
        )
