# SPDX-License-Identifier: Apache-2.0
"""What a back end knows about the motors of a hand at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deft_core.validation import FloatArray


@dataclass(frozen=True, eq=False)
class MotorReading:
    """One measurement of n motors, in `HandDescription.motor_names` order.

    Attributes:
        stamp: Time of the measurement on the ROS clock. [s].
        positions: Shape (n,). [rad].
        velocities: Shape (n,). [rad/s].
        currents: Shape (n,). [A].
        temperatures: NaN where not measured. Shape (n,). [degC].
        voltages: NaN where not measured. Shape (n,). [V].
        errors: Hardware error bits. Shape (n,).
        ages: Time since each motor answered. Shape (n,). [s].
        cycle_time: Of the bus; NaN without a bus. [s].
        dropped_packets: Since the start.
    """

    stamp: float
    positions: FloatArray
    velocities: FloatArray
    currents: FloatArray
    temperatures: FloatArray
    voltages: FloatArray
    errors: npt.NDArray[np.uint8]
    ages: FloatArray
    cycle_time: float = float('nan')
    dropped_packets: int = 0


@dataclass(frozen=True)
class BackendStatus:
    """What a back end tells about itself.

    Attributes:
        fault: Why it stopped the motors, empty where it did not.
        warnings: What the operator should know.
        details: Name and value of what else is known, for `/diagnostics`.
    """

    fault: str = ''
    warnings: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)
