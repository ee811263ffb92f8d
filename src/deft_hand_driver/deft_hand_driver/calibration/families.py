# SPDX-License-Identifier: Apache-2.0
"""Families of functions from the motors of a finger to its joints, as plain numbers.

`fitting.py` finds the numbers; here they are only evaluated, checked, and turned into JSON.
Motor positions that come in lie within the range where the tendons move the joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from deft_core.errors import ConfigurationError
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.finger_layout import JOINT_COUNT, FingerLayout
from deft_hand_driver.calibration.plain_json import number, numbers, plain

_HIGHEST_POWER: Final = 5


class FingerModel(Protocol):
    """Joint positions of one finger from the positions of its k motors."""

    family: ClassVar[str]
    separable: ClassVar[bool]

    def joints(self, motors: FloatArray) -> FloatArray:
        """Joint positions, not yet cut to the travel.

        Args:
            motors: Shape (n, k). [rad].

        Returns:
            Shape (n, 4). [rad].
        """

    def to_plain(self) -> dict[str, Any]:
        """Its numbers for JSON."""


@dataclass(frozen=True, eq=False)
class AffineFinger:
    """The closed form with fitted coefficients: every joint affine in its motor, with stops.

    Where PIP or DIP meets its stop the other one takes the rest of the tendon, as in `TendonMap`.

    Attributes:
        layout: Of the finger.
        slopes: Joint per motor angle. Shape (4,).
        intercepts: Joint at motor angle 0. Shape (4,). [rad].
        stops: Highest joint positions. Shape (4,). [rad].
    """

    family: ClassVar[str] = 'affine'
    separable: ClassVar[bool] = True
    layout: FingerLayout
    slopes: FloatArray
    intercepts: FloatArray
    stops: FloatArray

    def joints(self, motors: FloatArray) -> FloatArray:
        """See `FingerModel`."""
        joints = self.slopes * motors[:, self.layout.own] + self.intercepts
        for weights in self.layout.weights:
            moved = np.flatnonzero(weights)
            if len(moved) != 2:
                continue
            rest = np.maximum(0.0, joints[:, moved] - self.stops[moved])
            passed_on = rest[:, ::-1] * weights[moved][::-1] / weights[moved]
            joints[:, moved] += passed_on - rest
        return joints

    def to_plain(self) -> dict[str, Any]:
        """See `FingerModel`."""
        return {
            'slopes': plain(self.slopes),
            'intercepts': plain(self.intercepts),
            'stops': plain(self.stops),
        }

    @classmethod
    def from_plain(
        cls, values: Mapping[str, Any], layout: FingerLayout, where: str
    ) -> AffineFinger:
        """Check and take over.

        Raises:
            ConfigurationError: Numbers are missing, too many or not finite.
        """
        return cls(
            layout,
            *(
                numbers(values, key, (JOINT_COUNT,), where)
                for key in ('slopes', 'intercepts', 'stops')
            ),
        )


@dataclass(frozen=True, eq=False)
class MonotoneFinger:
    """Every joint a rising, piecewise linear function of its motor.

    Attributes:
        layout: Of the finger.
        knots: Motor positions, rising in every row. Shape (4, n). [rad].
        values: Joint positions there, not falling. Shape (4, n). [rad].
    """

    family: ClassVar[str] = 'monotone'
    separable: ClassVar[bool] = True
    layout: FingerLayout
    knots: FloatArray
    values: FloatArray

    def joints(self, motors: FloatArray) -> FloatArray:
        """See `FingerModel`."""
        columns = [
            np.interp(motors[:, own], knots, values)
            for own, knots, values in zip(self.layout.own, self.knots, self.values, strict=True)
        ]
        return np.stack(columns, axis=1)

    def to_plain(self) -> dict[str, Any]:
        """See `FingerModel`."""
        return {'knots': plain(self.knots), 'values': plain(self.values)}

    @classmethod
    def from_plain(
        cls, values: Mapping[str, Any], layout: FingerLayout, where: str
    ) -> MonotoneFinger:
        """Check and take over; see `AffineFinger.from_plain`."""
        knots = numbers(values, 'knots', (JOINT_COUNT, -1), where)
        found = numbers(values, 'values', knots.shape, where)
        if knots.shape[1] < 2 or np.any(np.diff(knots, axis=1) <= 0.0):
            raise ConfigurationError(f'{where}: knots must rise, two or more for every joint.')
        if np.any(np.diff(found, axis=1) < 0.0):
            raise ConfigurationError(f'{where}: values must not fall.')
        return cls(layout, knots, found)


@dataclass(frozen=True, eq=False)
class PolynomialFinger:
    """Every joint a polynomial of all motors of the finger.

    Attributes:
        centre: Subtracted from the motor positions. Shape (k,). [rad].
        scale: Divides them then. Shape (k,). [rad].
        powers: Of each motor in each of n terms. Shape (n, k).
        coefficients: Of the terms. Shape (4, n). [rad].
    """

    family: ClassVar[str] = 'polynomial'
    separable: ClassVar[bool] = False
    centre: FloatArray
    scale: FloatArray
    powers: FloatArray
    coefficients: FloatArray

    def joints(self, motors: FloatArray) -> FloatArray:
        """See `FingerModel`."""
        scaled = (motors - self.centre) / self.scale
        terms = np.prod(scaled[:, np.newaxis, :] ** self.powers, axis=2)
        return np.asarray(terms @ self.coefficients.T, dtype=np.float64)

    def to_plain(self) -> dict[str, Any]:
        """See `FingerModel`."""
        return {
            'centre': plain(self.centre),
            'scale': plain(self.scale),
            'powers': plain(self.powers.astype(int)),
            'coefficients': plain(self.coefficients),
        }

    @classmethod
    def from_plain(
        cls, values: Mapping[str, Any], layout: FingerLayout, where: str
    ) -> PolynomialFinger:
        """Check and take over; see `AffineFinger.from_plain`."""
        count = len(layout.weights)
        centre = numbers(values, 'centre', (count,), where)
        scale = _positive(values, 'scale', count, where)
        powers = numbers(values, 'powers', (-1, count), where)
        whole = (powers >= 0.0) & (powers <= _HIGHEST_POWER) & (powers == np.rint(powers))
        if not np.all(whole):
            raise ConfigurationError(
                f'{where}: powers must be whole numbers from 0 to {_HIGHEST_POWER}.'
            )
        coefficients = numbers(values, 'coefficients', (JOINT_COUNT, len(powers)), where)
        return cls(centre, scale, powers, coefficients)


@dataclass(frozen=True, eq=False)
class NetworkFinger:
    """All joints from all motors of the finger through one hidden layer of tanh units.

    Attributes:
        centre: Subtracted from the motor positions. Shape (k,). [rad].
        scale: Divides them then. Shape (k,). [rad].
        hidden_weights: Shape (h, k).
        hidden_biases: Shape (h,).
        output_weights: Shape (4, h).
        output_biases: Shape (4,).
        joint_scale: Multiplies the output. [rad].
    """

    family: ClassVar[str] = 'network'
    separable: ClassVar[bool] = False
    centre: FloatArray
    scale: FloatArray
    hidden_weights: FloatArray
    hidden_biases: FloatArray
    output_weights: FloatArray
    output_biases: FloatArray
    joint_scale: float

    def joints(self, motors: FloatArray) -> FloatArray:
        """See `FingerModel`."""
        scaled = (motors - self.centre) / self.scale
        hidden = np.tanh(scaled @ self.hidden_weights.T + self.hidden_biases)
        return np.asarray(
            self.joint_scale * (hidden @ self.output_weights.T + self.output_biases),
            dtype=np.float64,
        )

    def to_plain(self) -> dict[str, Any]:
        """See `FingerModel`."""
        keys = ('centre', 'scale', 'hidden_weights', 'hidden_biases', 'output_weights')
        return {
            **{key: plain(getattr(self, key)) for key in keys},
            'output_biases': plain(self.output_biases),
            'joint_scale': self.joint_scale,
        }

    @classmethod
    def from_plain(
        cls, values: Mapping[str, Any], layout: FingerLayout, where: str
    ) -> NetworkFinger:
        """Check and take over; see `AffineFinger.from_plain`."""
        count = len(layout.weights)
        hidden = numbers(values, 'hidden_weights', (-1, count), where)
        return cls(
            centre=numbers(values, 'centre', (count,), where),
            scale=_positive(values, 'scale', count, where),
            hidden_weights=hidden,
            hidden_biases=numbers(values, 'hidden_biases', (len(hidden),), where),
            output_weights=numbers(values, 'output_weights', (JOINT_COUNT, len(hidden)), where),
            output_biases=numbers(values, 'output_biases', (JOINT_COUNT,), where),
            joint_scale=number(values, 'joint_scale', where),
        )


FAMILIES: Final = {
    kind.family: kind for kind in (AffineFinger, MonotoneFinger, PolynomialFinger, NetworkFinger)
}
"""From the simplest to the most flexible."""


def _positive(values: Mapping[str, Any], key: str, count: int, where: str) -> FloatArray:
    found = numbers(values, key, (count,), where)
    if np.any(found <= 0.0):
        raise ConfigurationError(f'{where}: {key} must be positive.')
    return found
