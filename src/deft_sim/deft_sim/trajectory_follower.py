# SPDX-License-Identifier: Apache-2.0
"""Follows joint trajectories as ros2_controllers' joint_trajectory_controller does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError
from deft_core.validation import FloatArray, finite_array


class JointTrajectoryFollower:
    """Linear interpolation between timed points; the newest trajectory replaces the old.

    A trajectory starts from the setpoint that is current when it arrives, so that replacing one in
    the middle of a motion does not jump. After its last point the setpoint stays there.

    Time is counted from the moment the current trajectory was taken, so that equal motions give
    equal setpoints to the last bit, whatever the clock shows.
    """

    def __init__(self, positions: npt.ArrayLike) -> None:
        """Hold the given positions. Shape (n,). [rad]."""
        first = finite_array('joint positions', positions, (-1,))
        self._times: FloatArray = np.zeros(1)
        self._positions: FloatArray = first[None, :].copy()

    def sample(self, elapsed: float) -> FloatArray:
        """Setpoint at a time [s] since the last `follow`. Shape (n,). [rad]."""
        following = int(np.searchsorted(self._times, elapsed, side='right'))
        if following == len(self._times):
            return np.array(self._positions[-1])
        before, after = self._times[following - 1], self._times[following]
        share = (elapsed - before) / (after - before)
        start, end = self._positions[following - 1], self._positions[following]
        return np.asarray(start + share * (end - start), dtype=np.float64)

    def hold(self, positions: npt.ArrayLike) -> None:
        """Drop the trajectory and keep the given positions. Shape (n,). [rad]."""
        checked = finite_array('joint positions', positions, (self._positions.shape[1],))
        self._times = np.zeros(1)
        self._positions = checked[None, :].copy()

    def follow(
        self,
        times_from_start: npt.ArrayLike,
        positions: npt.ArrayLike,
        elapsed: float,
        delay: float = 0.0,
    ) -> None:
        """Replace the trajectory; time counts from now.

        Args:
            times_from_start: Time of every point after the start, not negative and strictly
                increasing. Shape (m,), m >= 1. [s].
            positions: Points. Shape (m, n). [rad].
            elapsed: Time since the trajectory before was taken. [s].
            delay: From now to the start; negative when it lies in the past, and then points that
                are over are skipped, as the controller does. [s].

        Raises:
            InvalidInputError: Wrong shapes, not finite, times that do not increase, or every point
                lies in the past.
        """
        times = finite_array('times from start', times_from_start, (-1,))
        points = finite_array('positions', positions, (len(times), self._positions.shape[1]))
        if len(times) == 0 or times[0] < 0.0 or np.any(np.diff(times) <= 0.0):
            raise InvalidInputError(
                'Trajectory times must be at least one, not negative and strictly increasing, '
                f'got {times.tolist()[:5]}.'
            )
        due = delay + times
        if due[-1] < 0.0:
            raise InvalidInputError(
                f'The last point of the trajectory lies {-due[-1]:.3f} s in the past.'
            )
        current = self.sample(elapsed)
        ahead = due > 0.0
        if not ahead.any():
            self.hold(points[-1])
            return
        self._times = np.concatenate([[0.0], due[ahead]])
        self._positions = np.concatenate([current[None, :], points[ahead]])
