# SPDX-License-Identifier: Apache-2.0
"""Fits every family to pairs and chooses by the error on sweeps that were left out.

Neighbours in a sweep are nearly the same posture, so whole sweeps are left out, never single
pairs. The families are those of `families.py`; scikit-learn and scipy do the fits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import PolynomialFeatures
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from deft_core.errors import ConfigurationError, TrainingError
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.families import (
    AffineFinger,
    FingerModel,
    MonotoneFinger,
    NetworkFinger,
    PolynomialFinger,
)
from deft_hand_driver.calibration.finger_layout import (
    JOINT_COUNT,
    FingerLayout,
    finger_layouts,
)
from deft_hand_driver.calibration.learned_map import ForwardModel, LearnedMap
from deft_hand_driver.calibration.live_range import find_live_range
from deft_hand_driver.calibration.pairs import TendonPairs
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import closed_form_map

FOLDS: Final = 5
FEWEST_PAIRS: Final = 40
_STOP_MARGIN: Final = 0.06  # [rad] from a stop, where a joint may not follow its motor any more
_KNOTS: Final = 9
_LEAST_RISE: Final = 0.05  # of the mean slope, everywhere on a monotone curve
_RIDGE: Final = 1e-2
_HIDDEN: Final = 8
_WEIGHT_DECAY: Final = 1e-2
_ITERATIONS: Final = 120
_EQUAL: Final = 1.02  # a simpler family wins over one that is better by less than this factor


@dataclass(frozen=True)
class Candidate:
    """A family with its order.

    Attributes:
        label: Name for people.
        family: A name of `families.FAMILIES`.
        degree: Of a polynomial.
    """

    label: str
    family: str
    degree: int = 0


CANDIDATES: Final = (
    Candidate('affine', 'affine'),
    Candidate('monotone', 'monotone'),
    Candidate('polynomial, degree 2', 'polynomial', 2),
    Candidate('polynomial, degree 3', 'polynomial', 3),
    Candidate('network', 'network'),
)


@dataclass(frozen=True, eq=False)
class HeldOutError:
    """Errors on pairs that a fit has not seen.

    Attributes:
        label: Of the candidate, or `closed form`.
        by_joint: From measured motors, root mean square of each joint. Shape (16,). [rad].
        joint_rmse: From measured motors, over all joints. [rad].
        command_rmse: From commands, over all joints. [rad].
        usable: Whether the way from joints to commands is single-valued.
    """

    label: str
    by_joint: FloatArray
    joint_rmse: float
    command_rmse: float
    usable: bool


@dataclass(frozen=True, eq=False)
class FittedMap:
    """The best map, and what was compared.

    Attributes:
        learned: Fitted to all pairs.
        chosen: Held-out error of its family.
        closed_form: Error of the closed form on the same pairs.
        candidates: Held-out error of every candidate.
        outliers: Pairs that were left out, at the finger with most of them.
    """

    learned: LearnedMap
    chosen: HeldOutError
    closed_form: HeldOutError
    candidates: tuple[HeldOutError, ...]
    outliers: int


def fit_map(pairs: TendonPairs, description: HandDescription, seed: int = 0) -> FittedMap:
    """Fit all candidates and take the best one.

    Args:
        pairs: Of this hand.
        description: The hand.
        seed: Of the first weights of the network.

    Raises:
        TrainingError: Too few pairs or sweeps, or no candidate has a way back.
    """
    count = len(np.unique(pairs.sweeps))
    if len(pairs) < FEWEST_PAIRS or count < FOLDS:
        raise TrainingError(
            f'A map needs at least {FEWEST_PAIRS} pairs from {FOLDS} sweeps, got {len(pairs)} '
            f'from {count}; let `deft hand calibrate map` run longer.'
        )
    layouts = finger_layouts(description)
    ranges = _Ranges.of(pairs, layouts)
    maps = [_usable_map(pairs, description, candidate, seed) for candidate in CANDIDATES]
    usable = [place for place, learned in enumerate(maps) if learned is not None]
    if not usable:
        raise TrainingError(
            'No family gives a way from joints to commands with these pairs: joints do not rise '
            'with their motors. Check that motors and joints are named right and that nothing '
            'touched the fingers.'
        )
    errors = [
        _held_out(pairs, description, candidate, learned is not None, seed)
        for candidate, learned in zip(CANDIDATES, maps, strict=True)
    ]
    best = min(errors[place].joint_rmse for place in usable)
    place = next(p for p in usable if errors[p].joint_rmse <= _EQUAL * best)
    learned = maps[place]
    assert learned is not None
    return FittedMap(
        learned,
        errors[place],
        closed_form_error(pairs, description),
        tuple(errors),
        int(ranges.outliers.sum(axis=0).max()),
    )


def closed_form_error(pairs: TendonPairs, description: HandDescription) -> HeldOutError:
    """Error of the closed form, which has seen no pair at all.

    Args:
        pairs: Of this hand.
        description: The hand.
    """
    closed = closed_form_map(description, pairs.measured)
    from_motors = np.array([closed.joints_from_motors(row) for row in pairs.motors])
    from_commands = np.array([closed.joints_from_commands(row) for row in pairs.commands])
    return _error(
        'closed form', from_motors - pairs.joints, from_commands - pairs.joints, usable=True
    )


def fit_candidate(
    pairs: TendonPairs, description: HandDescription, candidate: Candidate, seed: int = 0
) -> LearnedMap:
    """Fit one candidate to all pairs.

    Args:
        pairs: Of this hand.
        description: The hand.
        candidate: One of `CANDIDATES`.
        seed: Of the first weights of a network.

    Raises:
        ConfigurationError: The fit has no single-valued way from joints to commands.
    """
    commands, motors = _forward_models(pairs, description, candidate, seed)
    return LearnedMap(description, commands, motors)


def _usable_map(
    pairs: TendonPairs, description: HandDescription, candidate: Candidate, seed: int
) -> LearnedMap | None:
    try:
        return fit_candidate(pairs, description, candidate, seed)
    except ConfigurationError:
        # What it says of the pairs is in the table: this family cannot be used with them.
        return None


def _held_out(
    pairs: TendonPairs,
    description: HandDescription,
    candidate: Candidate,
    usable: bool,
    seed: int,
) -> HeldOutError:
    layouts = finger_layouts(description)
    lower, upper = description.joint_limits()
    from_motors = np.empty_like(pairs.joints)
    from_commands = np.empty_like(pairs.joints)
    for train, test in GroupKFold(FOLDS).split(pairs.joints, groups=pairs.sweeps):
        rest = pairs.chosen(train)
        commands, motors = _forward_models(rest, description, candidate, seed)
        from_motors[test] = np.clip(motors.joints(layouts, pairs.motors[test]), lower, upper)
        from_commands[test] = np.clip(commands.joints(layouts, pairs.commands[test]), lower, upper)
    return _error(
        candidate.label, from_motors - pairs.joints, from_commands - pairs.joints, usable=usable
    )


def _error(label: str, motors: FloatArray, commands: FloatArray, *, usable: bool) -> HeldOutError:
    return HeldOutError(
        label,
        np.sqrt(np.mean(motors**2, axis=0)),
        float(np.sqrt(np.mean(motors**2))),
        float(np.sqrt(np.mean(commands**2))),
        usable,
    )


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Live ranges of all motors, shapes (m,), and outliers of every finger, shape (n, fingers)."""

    lower: FloatArray
    upper: FloatArray
    outliers: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        pairs: TendonPairs,
        layouts: Sequence[FingerLayout],
        positions: FloatArray | None = None,
    ) -> _Ranges:
        """Look at commands, or at other motor positions."""
        positions = pairs.commands if positions is None else positions
        lower, upper = np.empty(positions.shape[1]), np.empty(positions.shape[1])
        outliers = np.zeros((len(pairs), len(layouts)), dtype=bool)
        for finger, layout in enumerate(layouts):
            chosen = layout.chosen(pairs.joints[:, layout.joints])
            for place, motor in enumerate(range(layout.motors.start, layout.motors.stop)):
                live = find_live_range(positions[:, motor], chosen[:, place])
                lower[motor], upper[motor] = live.lower, live.upper
                outliers[:, finger] |= live.outliers
        return cls(lower, upper, outliers)


def _forward_models(
    pairs: TendonPairs, description: HandDescription, candidate: Candidate, seed: int
) -> tuple[ForwardModel, ForwardModel]:
    """From commands and from measured motors."""
    layouts = finger_layouts(description)
    _, stops = description.joint_limits()
    models = []
    for positions in (pairs.commands, pairs.motors):
        ranges = _Ranges.of(pairs, layouts, positions)
        inside = np.clip(positions, ranges.lower, ranges.upper)
        fingers = []
        for finger, layout in enumerate(layouts):
            good = ~ranges.outliers[:, finger]
            fingers.append(
                _fit_finger(
                    candidate,
                    layout,
                    inside[good, layout.motors],
                    pairs.joints[good, layout.joints],
                    stops[layout.joints],
                    seed,
                )
            )
        models.append(ForwardModel(ranges.lower, ranges.upper, tuple(fingers)))
    return models[0], models[1]


def _fit_finger(
    candidate: Candidate,
    layout: FingerLayout,
    motors: FloatArray,
    joints: FloatArray,
    stops: FloatArray,
    seed: int,
) -> FingerModel:
    if candidate.family == 'affine':
        return _fit_affine(layout, motors, joints, stops)
    if candidate.family == 'monotone':
        return _fit_monotone(layout, motors, joints)
    centre, scale = motors.mean(axis=0), np.maximum(motors.std(axis=0), 1e-6)
    scaled = (motors - centre) / scale
    if candidate.family == 'polynomial':
        features = PolynomialFeatures(candidate.degree)
        # The ridge must not pull the constant: it is a term like the others here.
        terms = features.fit_transform(scaled)
        fit = Ridge(alpha=_RIDGE).fit(terms[:, 1:], joints)
        coefficients = np.column_stack([fit.intercept_, fit.coef_])
        return PolynomialFinger(centre, scale, features.powers_.astype(float), coefficients)
    network = MLPRegressor(
        hidden_layer_sizes=(_HIDDEN,), activation='tanh', solver='lbfgs', alpha=_WEIGHT_DECAY,
        max_iter=_ITERATIONS, max_fun=10 * _ITERATIONS, tol=1e-6, random_state=seed,
    )  # fmt: skip
    # Threads make a fit of this size three times slower.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # One that could go on is judged like the others, by its held-out error.
        warnings.simplefilter('ignore', ConvergenceWarning)
        network.fit(scaled, joints)
    return NetworkFinger(
        centre, scale, network.coefs_[0].T, network.intercepts_[0], network.coefs_[1].T,
        network.intercepts_[1], 1.0,
    )  # fmt: skip


def _fit_affine(
    layout: FingerLayout, motors: FloatArray, joints: FloatArray, stops: FloatArray
) -> AffineFinger:
    slopes, intercepts = np.empty(JOINT_COUNT), np.empty(JOINT_COUNT)
    free = joints < stops - _STOP_MARGIN
    for joint, own in enumerate(layout.own):
        partners = layout.weights[own] > 0.0
        rows = free[:, partners].all(axis=1)
        if rows.sum() < 2 or np.ptp(motors[rows, own]) <= 0.0:
            rows = np.ones(len(joints), dtype=bool)
        slopes[joint], intercepts[joint] = np.polyfit(motors[rows, own], joints[rows, joint], 1)
    return AffineFinger(layout, slopes, intercepts, np.array(stops))


def _fit_monotone(layout: FingerLayout, motors: FloatArray, joints: FloatArray) -> MonotoneFinger:
    """Least squares over the rises between knots, none of them negative."""
    knots, values = [], []
    for joint, own in enumerate(layout.own):
        x = motors[:, own]
        places = np.linspace(x.min(), max(x.max(), x.min() + 1e-3), _KNOTS)
        shares = np.clip((x[:, np.newaxis] - places[:-1]) / np.diff(places), 0.0, 1.0)
        design = np.column_stack([np.ones(len(x)), shares])
        slope = max(0.0, float(np.polyfit(x, joints[:, joint], 1)[0])) if np.ptp(x) else 0.0
        least = np.concatenate([[-np.inf], _LEAST_RISE * slope * np.diff(places)])
        rises = lsq_linear(design, joints[:, joint], (least, np.inf)).x
        knots.append(places)
        values.append(np.cumsum(rises))
    return MonotoneFinger(layout, np.array(knots), np.array(values))
