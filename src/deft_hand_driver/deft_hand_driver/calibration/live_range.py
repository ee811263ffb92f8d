# SPDX-License-Identifier: Apache-2.0
"""Between which motor positions a tendon moves its joints: slack and stops are cut off first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from deft_core.validation import FloatArray

_ORDINARY: Final = 0.05  # [rad] error of an observed joint that counts in full
_FLAT_SHARE: Final = 0.25  # of the slope in between, that what is cut off may rise with
_FEWEST: Final = 4  # pairs that show a flat end
_END_SHARE: Final = 0.02  # of the range, where the first guess of a level is taken
_ONE_PLACE: Final = 1e-3  # [rad]
_OUTLIER: Final = 0.15  # [rad] nearer than this nothing is an outlier
_OUTLIER_SHARE: Final = 8.0  # of the median error


@dataclass(frozen=True, eq=False)
class LiveRange:
    """Of one motor.

    Attributes:
        lower: Below it what the motor chooses does not follow. [rad].
        upper: Likewise above it. [rad].
        outliers: Pairs far from everything else, such as a finger that touched another.
            Shape (n,).
    """

    lower: float
    upper: float
    outliers: npt.NDArray[np.bool_]


def find_live_range(motors: FloatArray, chosen: FloatArray) -> LiveRange:
    """Fit a line with two flat ends, robustly.

    Args:
        motors: Positions of one motor. Shape (n,). [rad].
        chosen: What it chooses of the joints (`FingerLayout.chosen`), observed. Shape (n,). [rad].
    """
    lowest, highest = float(motors.min()), float(motors.max())
    end = _END_SHARE * (highest - lowest)
    low = float(np.median(chosen[motors <= lowest + end]))
    high = float(np.median(chosen[motors >= highest - end]))
    between = (chosen > low + 0.25 * (high - low)) & (chosen < high - 0.25 * (high - low))
    if between.sum() < 2 or np.ptp(motors[between]) <= 0.0:
        between = np.ones(len(motors), dtype=bool)
    slope, offset = np.polyfit(motors[between], chosen[between], 1)

    def error(numbers: FloatArray) -> FloatArray:
        a, b, bottom, top = numbers
        return np.asarray(np.clip(a * motors + b, bottom, top) - chosen)

    fitted = least_squares(error, (slope, offset, low, high), loss='soft_l1', f_scale=_ORDINARY)
    slope, offset, bottom, top = (float(number) for number in fitted.x)
    residuals = np.abs(error(fitted.x))
    outliers = residuals > max(_OUTLIER, _OUTLIER_SHARE * float(np.median(residuals)))
    if slope <= 0.0:
        return LiveRange(lowest, highest, outliers)
    start = float(np.clip((bottom - offset) / slope, lowest, highest))
    stop = float(np.clip((top - offset) / slope, lowest, highest))
    good = ~outliers
    if not _flat(motors, chosen, good & (motors <= start), slope):
        start = lowest
    if not _flat(motors, chosen, good & (motors >= stop), slope):
        stop = highest
    if stop <= start:
        start, stop = lowest, highest
    return LiveRange(start, stop, outliers)


def _flat(
    motors: FloatArray, chosen: FloatArray, rows: npt.NDArray[np.bool_], slope: float
) -> bool:
    """Whether an end that would be cut off does not follow its motor."""
    if rows.sum() < _FEWEST:
        return False
    if np.ptp(motors[rows]) < _ONE_PLACE:
        return True  # all of them at the end itself: the line meets their level further in
    return bool(abs(np.polyfit(motors[rows], chosen[rows], 1)[0]) < _FLAT_SHARE * slope)
