# SPDX-License-Identifier: Apache-2.0
"""What joints or motors measure of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class JointSample:
    """Measured joints.

    Attributes:
        positions: [rad].
        velocities: [rad/s].
        efforts: Torque of arm joints [N m], current of motors [A].
    """

    positions: FloatArray
    velocities: FloatArray
    efforts: FloatArray
