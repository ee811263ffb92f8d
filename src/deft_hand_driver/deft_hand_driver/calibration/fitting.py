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
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.learned_map import AffineModel, LearnedMap, MapRecord
from deft_hand_driver.calibration.pairs import TendonPairs, hand_identity
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
class FittedMap:
    """The fitted map and how good it is.

    Attributes:
        record: The same with its errors, as its file holds it.
        closed_form_command_rmse: From commands, of the closed form. [rad].
        outliers: Pairs that were left out, at the motor with most of them.
    """

    learned: LearnedMap
    record: MapRecord
    closed_form_command_rmse: float
    outliers: int


def fit_map(pairs: TendonPairs, description: HandDescription) -> FittedMap:
    """Fit a map to all pairs and measure how it does on pairs that a fit has not seen.

    Raises:
        TrainingError: Too few pairs or sweeps, or joints do not rise with their motors.
    """
    sweeps = np.unique(pairs.sweeps)
    if len(pairs) < FEWEST_PAIRS or len(sweeps) < FOLDS:
        raise TrainingError(
            f'A map needs at least {FEWEST_PAIRS} pairs from {FOLDS} sweeps, got {len(pairs)} '
            f'from {len(sweeps)}; let `deft hand calibrate map` run longer.'
        )
    from_commands, outliers = _fit(pairs.commands, pairs.joints, description)
    from_motors, _ = _fit(pairs.motors, pairs.joints, description)
    try:
        learned = LearnedMap(description, from_commands, from_motors)
    except ConfigurationError as error:
        raise TrainingError(
            f'{error} Check that motors and joints are named right and that nothing touched the '
            'fingers.'
        ) from error
    closed = closed_form_map(description)
    errors = _held_out_errors(pairs.motors, pairs, description)
    record = MapRecord(
        date=pairs.date,
        source=pairs.source,
        pairs=len(pairs),
        joint_rmse=_rmse(errors),
        command_rmse=_rmse(_held_out_errors(pairs.commands, pairs, description)),
        closed_form_joint_rmse=_rmse(
            np.array([closed.joints_from_motors(row) for row in pairs.motors]) - pairs.joints
        ),
        joint_rmse_by_joint={
            name: _rmse(column) for name, column in zip(HAND_JOINT_NAMES, errors.T, strict=True)
        },
        from_commands=from_commands,
        from_motors=from_motors,
        hand=hand_identity(description),
    )
    closed_commands = np.array([closed.joints_from_commands(row) for row in pairs.commands])
    return FittedMap(
        learned, record, _rmse(closed_commands - pairs.joints), int(outliers.sum(axis=0).max())
    )


def _rmse(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _held_out_errors(
    positions: FloatArray, pairs: TendonPairs, description: HandDescription
) -> FloatArray:
    """Of joints from motor positions (n, m) [rad] by fits to the other sweeps. Shape (n, 16)."""
    errors = np.empty_like(pairs.joints)
    sweeps = np.unique(pairs.sweeps)
    for fold in range(FOLDS):
        test = np.isin(pairs.sweeps, sweeps[fold::FOLDS])
        model, _ = _fit(positions[~test], pairs.joints[~test], description)
        errors[test] = model.joints(description, positions[test]) - pairs.joints[test]
    return errors


def _fit(
    positions: FloatArray, joints: FloatArray, description: HandDescription
) -> tuple[AffineModel, npt.NDArray[np.bool_]]:
    """Model from motor positions (n, m) to joints (n, 16) [rad], and outliers, shape (n, m)."""
    weights = description.motor_weights()
    free = joints < description.joint_limits()[1] - _STOP_MARGIN
    lower, upper = np.empty(len(weights)), np.empty(len(weights))
    slopes, intercepts = np.empty(joints.shape[1]), np.empty(joints.shape[1])
    outliers = np.zeros(positions.shape, dtype=bool)
    for motor, row in enumerate(weights):
        x = positions[:, motor]
        lower[motor], upper[motor], outliers[:, motor] = find_live_range(x, joints @ row)
        inside = np.clip(x, lower[motor], upper[motor])
        moved = np.flatnonzero(row)
        good = ~outliers[:, motor]
        rows = good & free[:, moved].all(axis=1)
        if rows.sum() < 2 or np.ptp(inside[rows]) <= 0.0:
            rows = good
        for joint in moved:
            slopes[joint], intercepts[joint] = np.polyfit(inside[rows], joints[rows, joint], 1)
    numbers = (tuple(array.tolist()) for array in (lower, upper, slopes, intercepts))
    return AffineModel(*numbers), outliers


def find_live_range(
    motors: FloatArray, chosen: FloatArray
) -> tuple[float, float, npt.NDArray[np.bool_]]:
    """Between which positions a motor moves its joints: a line with two flat ends, robustly.

    Args:
        motors: Positions of one motor. Shape (n,). [rad].
        chosen: What it chooses of the observed joints (`HandDescription.motor_weights`).
            Shape (n,). [rad].

    Returns:
        Lower and upper end [rad], and which pairs are far from everything else, such as a finger
        that touched another, shape (n,).
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
    start, stop = lowest, highest
    if slope > 0.0:
        first, last = np.clip((np.array([bottom, top]) - offset) / slope, lowest, highest).tolist()
        if first < last:
            start = first if _flat(motors, chosen, ~outliers & (motors <= first), slope) else start
            stop = last if _flat(motors, chosen, ~outliers & (motors >= last), slope) else stop
    return start, stop, outliers


def _flat(
    motors: FloatArray, chosen: FloatArray, rows: npt.NDArray[np.bool_], slope: float
) -> bool:
    """Whether an end that would be cut off does not follow its motor."""
    if rows.sum() < _FEWEST:
        return False
    if np.ptp(motors[rows]) < _ONE_PLACE:
        return True  # all of them at the end itself: the line meets their level further in
    return bool(abs(np.polyfit(motors[rows], chosen[rows], 1)[0]) < _FLAT_SHARE * slope)
