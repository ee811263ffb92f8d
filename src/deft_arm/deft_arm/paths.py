# SPDX-License-Identifier: Apache-2.0
"""Joint paths over time, and how waypoints are timed so that no joint limit is exceeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.interpolate import PchipInterpolator

from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array

ARM_JOINTS: Final = 6
SETPOINT_RATE: Final = 50.0  # [Hz] Dense enough for controllers that interpolate linearly.
_RATE_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, eq=False)
class JointPath:
    """Arm setpoints over time; between two of them the path is linear.

    Attributes:
        times: Time since the start of the path, first 0, strictly increasing. Shape (n,). [s].
        positions: Joint positions in joint order. Shape (n, 6). [rad].
    """

    times: FloatArray
    positions: FloatArray

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        times = finite_array('path times', self.times, (-1,))
        positions = finite_array('path positions', self.positions, (len(times), ARM_JOINTS))
        if len(times) == 0 or times[0] != 0.0 or np.any(np.diff(times) <= 0.0):
            raise InvalidInputError(
                'Path times must start at 0 and increase strictly; '
                f'got {len(times)} times starting {times[:3].tolist()}.'
            )
        object.__setattr__(self, 'times', times)
        object.__setattr__(self, 'positions', positions)

    @property
    def duration(self) -> float:
        """Time from the first to the last setpoint. [s]."""
        return float(self.times[-1])

    def sample(self, time: float) -> FloatArray:
        """Setpoint at a time since the start, held before 0 and after the end. Shape (6,). [rad].

        Args:
            time: Time since the start of the path. [s].

        Raises:
            InvalidInputError: The time is NaN or infinite.
        """
        if not np.isfinite(time):
            raise InvalidInputError(f'A path time must be finite, got {time}.')
        upper = int(np.searchsorted(self.times, time, side='right'))
        if upper == 0:
            return np.array(self.positions[0])
        if upper == len(self.times):
            return np.array(self.positions[-1])
        start, end = self.times[upper - 1], self.times[upper]
        share = (time - start) / (end - start)
        low, high = self.positions[upper - 1], self.positions[upper]
        return np.asarray(low + share * (high - low), dtype=np.float64)

    def maximum_speed(self) -> FloatArray:
        """Largest speed of every joint. Shape (6,). [rad/s]."""
        if len(self.times) == 1:
            return np.zeros(ARM_JOINTS)
        rates = np.abs(np.diff(self.positions, axis=0)) / np.diff(self.times)[:, None]
        return np.asarray(rates.max(axis=0), dtype=np.float64)

    def then(self, other: JointPath) -> JointPath:
        """This path followed by another one that starts where this one ends.

        Raises:
            InvalidInputError: The other path starts elsewhere, so the joints would jump.
        """
        gap = float(np.abs(other.positions[0] - self.positions[-1]).max())
        if gap > 1e-6:
            raise InvalidInputError(f'Cannot join two paths with a gap of {gap:.4f} rad.')
        return JointPath(
            np.concatenate([self.times, self.duration + other.times[1:]]),
            np.concatenate([self.positions, other.positions[1:]]),
        )


def hold(positions: FloatArray, duration: float) -> JointPath:
    """Path that stays at `positions`, shape (6,) [rad], for `duration` [s]."""
    return JointPath(np.array([0.0, duration]), np.stack([positions, positions]))


def rest_to_rest(
    waypoints: FloatArray,
    minimum_duration: float,
    speed_limit: FloatArray,
    acceleration_limit: FloatArray,
) -> JointPath:
    """Time waypoints with a quintic profile that starts and ends at rest.

    The progress is s(t) = 10 t^3 - 15 t^4 + 6 t^5 over the normalised time, so speed and
    acceleration vanish at both ends; the joints follow a monotone cubic through the waypoints
    at equal steps of s. The duration grows until every limit holds.

    Args:
        waypoints: Joint positions, at least two. Shape (n, 6). [rad].
        minimum_duration: Shortest allowed duration, positive. [s].
        speed_limit: Limit of every joint. Shape (6,). [rad/s].
        acceleration_limit: Limit of every joint. Shape (6,). [rad/s^2].

    Returns:
        Path sampled at `SETPOINT_RATE` or a little faster.
    """
    curve = _curve(waypoints)
    # Normalised profile, fine enough that finite differences see the peaks.
    grid = np.linspace(0.0, 1.0, 201)
    samples = curve(_quintic(grid))
    step = grid[1]
    speed = np.abs(np.diff(samples, axis=0)).max(axis=0) / step
    acceleration = np.abs(np.diff(samples, n=2, axis=0)).max(axis=0) / step**2
    duration = max(
        minimum_duration,
        float(np.max(speed / speed_limit)),
        float(np.sqrt(np.max(acceleration / acceleration_limit))),
    )
    count = _setpoint_count(duration)
    times = np.linspace(0.0, duration, count)
    return JointPath(times, curve(_quintic(times / duration)))


def constant_rate(waypoints: FloatArray, rate: float, speed_limit: FloatArray) -> JointPath:
    """Pass one waypoint after another at a constant rate, slower where a limit demands it.

    The whole path is slowed by one factor, so that the shape of the motion over its duration
    stays that of the demonstration.

    Args:
        waypoints: Joint positions, at least two. Shape (n, 6). [rad].
        rate: Waypoints per second. [Hz].
        speed_limit: Limit of every joint. Shape (6,). [rad/s].
    """
    curve = _curve(waypoints)
    intended = (len(waypoints) - 1) / rate
    # The speed is a parabola between two waypoints; 16 samples miss its peak by 0.4 % at most.
    rates = curve.derivative()(np.linspace(0.0, 1.0, 16 * (len(waypoints) - 1) + 1))
    speed = np.abs(rates).max(axis=0)
    duration = max(intended, float(np.max(speed / speed_limit)))
    times = np.linspace(0.0, duration, _setpoint_count(duration))
    return JointPath(times, curve(times / duration))


def _curve(waypoints: FloatArray) -> PchipInterpolator:
    """Monotone cubic through the waypoints at equal steps of [0, 1]: it never overshoots."""
    checked = finite_array('waypoints', waypoints, (-1, ARM_JOINTS))
    if len(checked) < 2:
        raise InvalidInputError('A timed path needs at least two waypoints.')
    return PchipInterpolator(np.linspace(0.0, 1.0, len(checked)), checked)


def _quintic(share: FloatArray) -> FloatArray:
    return np.asarray(share**3 * (10.0 + share * (6.0 * share - 15.0)), dtype=np.float64)


def _setpoint_count(duration: float) -> int:
    return max(2, int(np.ceil(duration * SETPOINT_RATE - _RATE_TOLERANCE)) + 1)
