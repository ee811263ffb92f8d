# SPDX-License-Identifier: Apache-2.0
"""Fits the learned map to pairs, and measures its error on sweeps that were left out.

Neighbours in a sweep are nearly the same posture, so whole sweeps are left out, never single
pairs. Slack and stops are cut off first, and pairs far from all others are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from deft_core.errors import ConfigurationError, TrainingError
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.finger_layout import finger_layouts
from deft_hand_driver.calibration.learned_map import ForwardModel, LearnedMap
from deft_hand_driver.calibration.pairs import TendonPairs
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import closed_form_map

FOLDS: Final = 5
FEWEST_PAIRS: Final = 40
_STOP_MARGIN: Final = 0.06  # [rad] from a stop, where a joint may not follow its motor any more
_ORDINARY: Final = 0.05  # [rad] error of an observed joint that counts in full
_FLAT_SHARE: Final = 0.25  # of the slope in between, that what is cut off may rise with
_FEWEST: Final = 4  # pairs that show a flat end
_END_SHARE: Final = 0.02  # of the range, where the first guess of a level is taken
_ONE_PLACE: Final = 1e-3  # [rad]
_OUTLIER: Final = 0.15  # [rad] nearer than this nothing is an outlier
_OUTLIER_SHARE: Final = 8.0  # of the median error


@dataclass(frozen=True, eq=False)
class HeldOutError:
    """Errors on pairs that a map has not seen.

    Attributes:
        by_joint: From measured motors, root mean square of each joint. Shape (16,). [rad].
        joint_rmse: From measured motors, over all joints. [rad].
        command_rmse: From commands, over all joints. [rad].
    """

    by_joint: FloatArray
    joint_rmse: float
    command_rmse: float

    @classmethod
    def of(cls, motors: FloatArray, commands: FloatArray) -> HeldOutError:
        """Of differences from the observed joints, each (n, 16). [rad]."""
        return cls(
            np.sqrt(np.mean(motors**2, axis=0)),
            float(np.sqrt(np.mean(motors**2))),
            float(np.sqrt(np.mean(commands**2))),
        )


@dataclass(frozen=True, eq=False)
class FittedMap:
    """The fitted map and how good it is.

    Attributes:
        learned: Fitted to all pairs.
        held_out: Its error on sweeps left out of the fit.
        closed_form: Error of the closed form, which has seen no pair, on the same pairs.
        outliers: Pairs that were left out, at the finger with most of them.
    """

    learned: LearnedMap
    held_out: HeldOutError
    closed_form: HeldOutError
    outliers: int


def fit_map(pairs: TendonPairs, description: HandDescription) -> FittedMap:
    """Fit a map.

    Raises:
        TrainingError: Too few pairs or sweeps, or joints do not rise with their motors.
    """
    sweeps = np.unique(pairs.sweeps)
    if len(pairs) < FEWEST_PAIRS or len(sweeps) < FOLDS:
        raise TrainingError(
            f'A map needs at least {FEWEST_PAIRS} pairs from {FOLDS} sweeps, got {len(pairs)} '
            f'from {len(sweeps)}; let `deft hand calibrate map` run longer.'
        )
    from_commands, outliers = _fit(pairs, pairs.commands, description)
    from_motors, _ = _fit(pairs, pairs.motors, description)
    try:
        learned = LearnedMap(description, from_commands, from_motors)
    except ConfigurationError as error:
        raise TrainingError(
            f'{error} Check that motors and joints are named right and that nothing touched the '
            'fingers.'
        ) from error
    from_motors_error = np.empty_like(pairs.joints)
    from_commands_error = np.empty_like(pairs.joints)
    for fold in range(FOLDS):
        test = np.isin(pairs.sweeps, sweeps[fold::FOLDS])
        rest = pairs.chosen(~test)
        for positions, column, errors in (
            (rest.motors, pairs.motors, from_motors_error),
            (rest.commands, pairs.commands, from_commands_error),
        ):
            model, _ = _fit(rest, positions, description)
            errors[test] = model.joints(description, column[test]) - pairs.joints[test]
    closed = closed_form_map(description, pairs.measured)
    return FittedMap(
        learned,
        HeldOutError.of(from_motors_error, from_commands_error),
        HeldOutError.of(
            np.array([closed.joints_from_motors(row) for row in pairs.motors]) - pairs.joints,
            np.array([closed.joints_from_commands(row) for row in pairs.commands]) - pairs.joints,
        ),
        int(outliers.sum(axis=0).max()),
    )


def _fit(
    pairs: TendonPairs, positions: FloatArray, description: HandDescription
) -> tuple[ForwardModel, npt.NDArray[np.bool_]]:
    """Model from motor positions (n, m) [rad], and the outliers of every finger (n, fingers)."""
    layouts = finger_layouts(description)
    stops = description.joint_limits()[1]
    lower, upper = np.empty(positions.shape[1]), np.empty(positions.shape[1])
    slopes, intercepts = np.empty(len(stops)), np.empty(len(stops))
    outliers = np.zeros((len(pairs), len(layouts)), dtype=bool)
    for finger, layout in enumerate(layouts):
        chosen = layout.chosen(pairs.joints[:, layout.joints])
        for place, motor in enumerate(range(layout.motors.start, layout.motors.stop)):
            live = find_live_range(positions[:, motor], chosen[:, place])
            lower[motor], upper[motor] = live.lower, live.upper
            outliers[:, finger] |= live.outliers
        good = ~outliers[:, finger]
        inside = np.clip(positions, lower, upper)[good, layout.motors]
        joints = pairs.joints[good, layout.joints]
        free = joints < stops[layout.joints] - _STOP_MARGIN
        for joint, own in enumerate(layout.own):
            rows = free[:, layout.weights[own] > 0.0].all(axis=1)
            if rows.sum() < 2 or np.ptp(inside[rows, own]) <= 0.0:
                rows = np.ones(len(joints), dtype=bool)
            place = layout.joints.start + joint
            slopes[place], intercepts[place] = np.polyfit(
                inside[rows, own], joints[rows, joint], 1
            )
    return ForwardModel(lower, upper, slopes, intercepts), outliers


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
