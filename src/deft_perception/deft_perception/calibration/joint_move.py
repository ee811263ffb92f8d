# SPDX-License-Identifier: Apache-2.0
"""A straight joint move between two rests, slow enough to be watched."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array

_PEAK_SPEED: Final = 1.875  # of the minimum-jerk profile over its mean
_RATE: Final = 20.0  # [Hz] of the setpoints


def straight_joint_move(
    start: npt.ArrayLike, end: npt.ArrayLike, speed: float, shortest: float = 0.5
) -> tuple[FloatArray, FloatArray]:
    """Minimum-jerk setpoints, s(t) = 10 t^3 - 15 t^4 + 6 t^5.

    Args:
        start: Joint positions. Shape (n,). [rad].
        end: Joint positions. Shape (n,). [rad].
        speed: Peak speed of the fastest joint, positive. [rad/s].
        shortest: Least duration, positive. [s].

    Returns:
        Times, shape (m,) [s], first 0; positions, shape (m, n) [rad].

    Raises:
        InvalidInputError: Sizes differ, or speed or duration is not positive.
    """
    first = finite_array('start of the move', start, (-1,))
    last = finite_array('end of the move', end, (len(first),))
    if not (speed > 0.0 and shortest > 0.0):
        raise InvalidInputError(
            f'Speed and duration of a move must be positive, got {speed} rad/s and {shortest} s.'
        )
    distance = float(np.abs(last - first).max(initial=0.0))
    duration = max(shortest, _PEAK_SPEED * distance / speed)
    share = np.linspace(0.0, 1.0, max(2, round(duration * _RATE)) + 1)
    profile = share**3 * (10.0 + share * (6.0 * share - 15.0))
    return share * duration, first + profile[:, None] * (last - first)
