# SPDX-License-Identifier: Apache-2.0
"""Moves between the home pose and the grasp region that do not sweep the table."""

from __future__ import annotations

from typing import Final

import numpy as np

from deft_arm.configuration import ArmConfiguration
from deft_arm.planning.kinematics import ArmKinematics, TargetPose
from deft_arm.planning.paths import JointPath, point_to_point, rest_to_rest
from deft_arm.planning.safety import CollisionError, MotionGuard
from deft_core.errors import UnreachableError
from deft_core.validation import FloatArray

_LIFT_STEP: Final = 0.02  # [m] between the poses of a straight lift
_HIGHEST_LIFT: Final = 0.30  # [m]
_FOLDING_JOINTS: Final = slice(1, 3)  # Joints 2 and 3: shoulder and elbow.
_CHECK_STRIDE: Final = 4  # Every fourth setpoint, 80 ms, is checked against the table.
_SHORTEST_LIFT: Final = 0.5  # [s]
_DIP: Final = 0.005  # [m] how much lower than its ends a move may get
_OBJECT_MARGIN: Final = 0.02  # [m] how much closer to the object than its ends a move may get


class TransferPlanner:
    """Plans straight lifts and joint moves high above the table, or raises `CollisionError`.

    Arm positions have shape (6,), those of the hand shape (16,) [rad].
    """

    def __init__(
        self, configuration: ArmConfiguration, kinematics: ArmKinematics, guard: MotionGuard
    ) -> None:
        """Take the parts of a planner."""
        self._configuration = configuration
        self._kinematics = kinematics
        self._guard = guard
        self._limits = configuration.motion_limits()

    def into(
        self, start: FloatArray, end: FloatArray, hand: FloatArray, object_position: FloatArray
    ) -> JointPath:
        """Move over the table to a point above `end`, then straight down to it.

        Keeps away from the object at a point in the base frame, shape (3,). [m].
        """
        lift = self._lift(end, hand)
        failure: CollisionError | None = None
        wanted = self._configuration.travel_clearance
        for index in self._heights_to_try(lift, hand):
            path = self._move(start, lift[index])
            try:
                self._check_move('move to pre-grasp', path, hand, wanted, object_position)
            except CollisionError as error:
                failure = error
                continue
            return path.then(self._vertical(lift[index::-1])) if index else path
        raise _no_way('pre-grasp pose', failure)

    def out(
        self, start: FloatArray, end: FloatArray, hand: FloatArray
    ) -> tuple[JointPath | None, JointPath]:
        """Straight up from `start`, None where that is high enough, then a joint move to `end`."""
        lift = self._lift(start, hand)
        failure: CollisionError | None = None
        wanted = self._configuration.travel_clearance
        # The way home must be found from nearly everywhere: where no direct move keeps the full
        # height, the arm folds back before it turns, and then less height is accepted.
        for fold_first, least in ((False, wanted), (True, wanted), (True, 0.5 * wanted)):
            for index in self._heights_to_try(lift, hand):
                try:
                    path = self._home_move(lift[index], end, hand, least, fold_first)
                except CollisionError as error:
                    failure = error
                    continue
                return self._vertical(lift[: index + 1]) if index else None, path
        raise _no_way('home pose', failure)

    def _home_move(
        self, start: FloatArray, end: FloatArray, hand: FloatArray, least: float, fold_first: bool
    ) -> JointPath:
        """Joint move home, on request with shoulder and elbow before all other joints."""
        if not fold_first:
            path = self._move(start, end)
            self._check_move('move home', path, hand, least)
            return path
        folded = start.copy()
        folded[_FOLDING_JOINTS] = end[_FOLDING_JOINTS]
        back, turn = self._move(start, folded), self._move(folded, end)
        self._check_move('move back', back, hand, least)
        self._check_move('turn home', turn, hand, least)
        return back.then(turn)

    def _lift(self, bottom: FloatArray, hand: FloatArray) -> FloatArray:
        """Joint positions straight up from `bottom`, as far as the arm reaches. Shape (n, 6)."""
        rotation, position = self._kinematics.forward(bottom)
        wanted = 2.0 * self._configuration.travel_clearance
        # The hand is what is low, and a lift only shifts it.
        missing = min(_HIGHEST_LIFT, wanted - float(self._heights(bottom[None], hand)[0]))
        positions = [bottom]
        for step in range(1, int(np.ceil(missing / _LIFT_STEP)) + 1):
            raised = position + np.array([0.0, 0.0, step * _LIFT_STEP])
            try:
                (solved,) = self._kinematics.follow(
                    [TargetPose('lift', rotation, raised)], positions[-1]
                )
            except UnreachableError:  # The top of the reachable space: lower lifts remain.
                break
            positions.append(solved)
        return np.stack(positions)

    def _heights_to_try(self, lift: FloatArray, hand: FloatArray) -> list[int]:
        """Indices into a lift: the first that is high enough, then higher ones, then lower."""
        high = np.flatnonzero(self._heights(lift, hand) >= self._configuration.travel_clearance)
        first = int(high[0]) if len(high) else len(lift) - 1
        return [*range(first, len(lift), 2), *range(first - 2, -1, -2)]

    def _move(self, start: FloatArray, end: FloatArray) -> JointPath:
        return point_to_point(start, end, self._configuration.move_duration, self._limits)

    def _vertical(self, positions: FloatArray) -> JointPath:
        length = (len(positions) - 1) * _LIFT_STEP
        duration = max(_SHORTEST_LIFT, length / self._configuration.lift_speed)
        return rest_to_rest(positions, duration, self._limits)

    def _heights(self, arm: FloatArray, hand: FloatArray) -> FloatArray:
        """Lowest point over the table in each posture. Shape (n,). [m]."""
        lowest = self._guard.geometry.sweep(arm, hand).lowest
        return np.asarray(lowest - self._configuration.table_height)

    def _check_move(
        self,
        label: str,
        path: JointPath,
        hand: FloatArray,
        least: float,
        object_position: FloatArray | None = None,
    ) -> None:
        """Refuse a joint move that dips to the table, runs into something or nears the object."""
        inner = path.positions[_CHECK_STRIDE:-1:_CHECK_STRIDE]
        sweep = self._guard.geometry.sweep(
            np.concatenate([path.positions[:1], inner, path.positions[-1:]]), hand
        )
        # The ends themselves are given: only what happens between them is judged.
        heights = sweep.lowest - self._configuration.table_height
        floor = min(least, float(heights[0]), float(heights[-1]))
        lowest = float(heights.min())
        if lowest < floor - _DIP:
            raise CollisionError(
                f'The {label} would dip to {lowest * 1000:.0f} mm above the table.'
            )
        worst = int(np.argmin(sweep.spare))
        if sweep.spare[worst] < min(0.0, float(sweep.spare[0]) - _DIP):
            raise CollisionError(f'The {label} would bring {sweep.closest[worst]} too near.')
        if object_position is None:
            return
        distance = sweep.distance_to(object_position)
        if distance.min() < min(distance[0], distance[-1]) - _OBJECT_MARGIN:
            raise CollisionError(f'The {label} would pass through the object.')


def _no_way(where: str, failure: CollisionError | None) -> CollisionError:
    return CollisionError(
        f'No way to the {where} keeps clear of the table: {failure} '
        'Move the arm higher with the vendor software.'
    )
