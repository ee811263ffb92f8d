# SPDX-License-Identifier: Apache-2.0
"""Joint paths over time, and how waypoints are timed so that no joint limit is exceeded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from ruckig import InputParameter, Result, Ruckig, Synchronization, Trajectory
from scipy.interpolate import BSpline, make_interp_spline

from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array

ARM_JOINTS: Final = 6
SETPOINT_RATE: Final = 50.0  # [Hz] Dense enough for controllers that interpolate linearly.
_RATE_TOLERANCE: Final = 1e-9
_FINE_STEPS: Final = 200  # in which a profile is looked through for its peaks
_SAMPLES_PER_WAYPOINT: Final = 16
_RAMP: Final = 0.4  # [s] in which a demonstration comes up to its pace, and stops
_DEGREE: Final = 5  # of the splines: their jerk is continuous


@dataclass(frozen=True, eq=False)
class MotionLimits:
    """What every joint may do at most while it follows a path. Each shape (6,)."""

    speed: FloatArray  # [rad/s]
    acceleration: FloatArray  # [rad/s^2]
    jerk: FloatArray  # [rad/s^3]

    def excess(self, speed: FloatArray, acceleration: FloatArray, jerk: FloatArray) -> float:
        """How many times too fast peaks of a motion, shapes (6,), are; at most 1 within limits.

        Slowing a motion by k divides speed by k, acceleration by k^2 and jerk by k^3.
        """
        return max(
            float(np.max(speed / self.speed)),
            float(np.sqrt(np.max(acceleration / self.acceleration))),
            float(np.cbrt(np.max(jerk / self.jerk))),
        )


@dataclass(frozen=True, eq=False)
class JointPath:
    """Arm setpoints over time; between two of them the path is linear."""

    times: FloatArray  # (n,) [s] from 0, strictly increasing
    positions: FloatArray  # (n, 6) [rad]
    # (m,) [s] when each displacement is made, where the path is made of any
    marks: FloatArray = field(default_factory=lambda: np.zeros(0))

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
        object.__setattr__(self, 'marks', finite_array('path marks', self.marks, (-1,)))

    @property
    def duration(self) -> float:
        """Time from the first to the last setpoint. [s]."""
        return float(self.times[-1])

    def sample(self, time: float) -> FloatArray:
        """Setpoint at a time [s], held before 0 and after the end. Shape (6,). [rad]."""
        return np.array([np.interp(time, self.times, joint) for joint in self.positions.T])

    def maximum_speed(self) -> FloatArray:
        """Largest speed of every joint. Shape (6,). [rad/s]."""
        if len(self.times) == 1:
            return np.zeros(ARM_JOINTS)
        rates = np.abs(np.diff(self.positions, axis=0)) / np.diff(self.times)[:, None]
        return np.asarray(rates.max(axis=0), dtype=np.float64)

    def slower(self, factor: float) -> JointPath:
        """The same positions, each `factor` times as late."""
        return JointPath(self.times * factor, self.positions, self.marks * factor)

    def then(self, other: JointPath) -> JointPath:
        """This path followed by another one that starts where this one ends."""
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


def point_to_point(
    start: FloatArray, end: FloatArray, minimum_duration: float, limits: MotionLimits
) -> JointPath:
    """Straight line in joint space between two rests, shapes (6,) [rad], within all limits.

    Ruckig finds the fastest profile. Where it is faster than `minimum_duration` [s], all limits
    are lowered as if time ran slower, so that a slow move is also a gentle one.
    """
    if float(np.abs(end - start).max()) < _RATE_TOLERANCE:
        return hold(start, minimum_duration)
    profile = _ruckig(start, end, limits, 1.0)
    if profile.duration < minimum_duration:
        profile = _ruckig(start, end, limits, minimum_duration / profile.duration)
    times = np.linspace(0.0, profile.duration, _setpoint_count(profile.duration))
    positions = np.array([profile.at_time(time)[0] for time in times])
    positions[-1] = end
    return JointPath(times, positions)


def rest_to_rest(
    waypoints: FloatArray, minimum_duration: float, limits: MotionLimits
) -> JointPath:
    """Time waypoints with a minimum-jerk profile that starts and ends at rest.

    The progress is s(t) = 10 t^3 - 15 t^4 + 6 t^5 over the normalised time, so speed and
    acceleration vanish at both ends; the joints follow a smooth curve through the waypoints,
    shape (n, 6) [rad], at equal steps of s. The duration [s] grows until every limit holds.
    """
    count = len(waypoints)
    curve = make_interp_spline(np.linspace(0.0, 1.0, count), waypoints, k=min(_DEGREE, count - 1))
    samples = curve(_minimum_jerk(np.linspace(0.0, 1.0, _FINE_STEPS + 1)))
    peaks = [
        np.abs(np.diff(samples, n=order, axis=0)).max(axis=0) * float(_FINE_STEPS) ** order
        for order in (1, 2, 3)
    ]
    duration = max(minimum_duration, limits.excess(*peaks))
    times = np.linspace(0.0, duration, _setpoint_count(duration))
    return JointPath(times, curve(_minimum_jerk(times / duration)))


def constant_rate(waypoints: FloatArray, rate: float, limits: MotionLimits) -> JointPath:
    """Pass one waypoint after another at a constant rate, from rest to rest.

    A quintic spline through the waypoints. Where the first and the last displacement leave time
    enough to speed up and slow down, every waypoint is met at its time. Else the pace itself
    rises and falls at both ends, so that only they take longer. Where limits would still not
    hold, the whole path is slowed by one factor: the shape of the motion stays that of the
    demonstration.

    At least two waypoints, shape (n, 6) [rad], a rate in waypoints per second [Hz]; the path has
    a mark at every waypoint but the first.
    """
    steps = len(waypoints) - 1
    wanted = np.linspace(0.0, steps / rate, steps + 1)
    rest = [(1, np.zeros(ARM_JOINTS)), (2, np.zeros(ARM_JOINTS))]
    clamped = make_interp_spline(wanted, waypoints, k=_DEGREE, bc_type=(rest, rest))
    grid = np.linspace(0.0, wanted[-1], _SAMPLES_PER_WAYPOINT * steps + 1)
    slower = limits.excess(*(np.abs(clamped(grid, order)).max(axis=0) for order in (1, 2, 3)))
    if slower <= 1.0:
        return _sampled(clamped, wanted[-1], wanted[1:], waypoints)
    free = make_interp_spline(wanted, waypoints, k=min(_DEGREE, steps))
    ramp = min(_RAMP, float(wanted[-1]))
    duration = float(wanted[-1]) + ramp
    grid = np.linspace(0.0, duration, _SAMPLES_PER_WAYPOINT * steps + 1)
    along = _along(grid, ramp)
    ramped = make_interp_spline(grid, free(along), k=_DEGREE)
    peaks = [np.abs(ramped(grid, order)).max(axis=0) for order in (1, 2, 3)]
    stretch = max(1.0, limits.excess(*peaks))
    if slower * wanted[-1] < stretch * duration:
        return _sampled(clamped, wanted[-1], wanted[1:], waypoints, slower)
    return _sampled(ramped, duration, np.interp(wanted[1:], along, grid), waypoints, stretch)


def _along(times: FloatArray, ramp: float) -> FloatArray:
    """Time along a path, at its own pace but for ramps [s] from and to a stand at both ends."""
    duration = times[-1]

    def risen(time: FloatArray) -> FloatArray:  # the integral of 3 u^2 - 2 u^3
        share = np.clip(time / ramp, 0.0, 1.0)
        return np.asarray(ramp * (share**3 - 0.5 * share**4), dtype=np.float64)

    end = duration - ramp - risen(duration - times)
    begun = np.where(times > duration - ramp, end, times - 0.5 * ramp)
    return np.where(times < ramp, risen(times), begun)


def _sampled(
    curve: BSpline, duration: float, marks: FloatArray, waypoints: FloatArray, slower: float = 1.0
) -> JointPath:
    """Setpoints of a curve over [0, duration] that is run `slower` times as slow."""
    times = np.linspace(0.0, slower * duration, _setpoint_count(slower * duration))
    positions = curve(times / slower)
    positions[0], positions[-1] = waypoints[0], waypoints[-1]
    return JointPath(times, positions, slower * marks)


def braked(path: JointPath, elapsed: float, duration: float) -> JointPath:
    """Come to rest on a path: where it leads is known to be free, beside it is not.

    Time along the path slows from its pace at `elapsed` [s] to a stand within `duration` [s], so
    the arm goes on for half as long.
    """
    count = _setpoint_count(duration)
    share = np.linspace(0.0, 1.0, count)
    along = elapsed + duration * (share - share**3 + 0.5 * share**4)
    return JointPath(share * duration, np.array([path.sample(float(time)) for time in along]))


def _ruckig(start: FloatArray, end: FloatArray, limits: MotionLimits, slower: float) -> Trajectory:
    """Fastest profile with all joints in step, when time runs `slower`."""
    problem = InputParameter(ARM_JOINTS)
    problem.current_position, problem.target_position = start.tolist(), end.tolist()
    problem.max_velocity = (limits.speed / slower).tolist()
    problem.max_acceleration = (limits.acceleration / slower**2).tolist()
    problem.max_jerk = (limits.jerk / slower**3).tolist()
    problem.synchronization = Synchronization.Phase  # a straight line in joint space
    profile = Trajectory(ARM_JOINTS)
    result = Ruckig(ARM_JOINTS).calculate(problem, profile)
    if result not in (Result.Working, Result.Finished):
        raise InvalidInputError(
            f'No time profile leads from {start.round(3).tolist()} to {end.round(3).tolist()} '
            f'rad within the limits ({result.name}); check the limits of the arm.'
        )
    return profile


def _minimum_jerk(share: FloatArray) -> FloatArray:
    return np.asarray(share**3 * (10.0 + share * (6.0 * share - 15.0)), dtype=np.float64)


def _setpoint_count(duration: float) -> int:
    return max(2, int(np.ceil(duration * SETPOINT_RATE - _RATE_TOLERANCE)) + 1)
