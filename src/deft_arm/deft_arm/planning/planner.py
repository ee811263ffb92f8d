# SPDX-License-Identifier: Apache-2.0
"""Plan one episode, and the way home after it, completely before anything moves.

The episode is the one of the paper's section 3.2: approach, grasp, close the hand, replay the
displacements of the demonstration, hold.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deft_arm.configuration import ArmConfiguration
from deft_arm.planning.kinematics import ArmKinematics, TargetPose
from deft_arm.planning.paths import JointPath, constant_rate, hold, rest_to_rest
from deft_arm.planning.plan import MotionPlan, Phase, PlannedPhase
from deft_arm.planning.safety import CollisionError, MotionGuard, check_hand
from deft_arm.planning.transfer import TransferPlanner
from deft_core.errors import InvalidInputError, UnreachableError
from deft_core.frames import BASE_FRAME
from deft_core.grasp import GraspParameters
from deft_core.rotations import LEAST_GIMBAL_MARGIN, gimbal_margin
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray, finite_array

_LONGEST_APPROACH: Final = 0.3  # [m]
_SLOWEST: Final = 3.0  # A trajectory stretched more than this is another motion.
_CLOSING_SHARES: Final = np.linspace(0.0, 1.0, 5)[:, None]  # looked at while the hand closes


class EpisodePlanner:
    """Plans motions of arm and hand within the limits of a configuration.

    Deterministic, without randomness and without a clock. Keeps scratch memory between calls, so
    one instance must not be shared between threads.
    """

    def __init__(self, configuration: ArmConfiguration) -> None:
        """Build the kinematics and the checks."""
        self.configuration = configuration
        self.kinematics = ArmKinematics(configuration)
        self.guard = MotionGuard(configuration)
        self._transfer = TransferPlanner(configuration, self.kinematics, self.guard)
        self._limits = configuration.motion_limits()

    def plan(
        self,
        grasp: GraspParameters,
        trajectory: WristTrajectory,
        pregrasp_distance: float,
        pregrasp_direction: npt.ArrayLike,
        current_joint_positions: npt.ArrayLike,
        open_hand: npt.ArrayLike,
    ) -> MotionPlan:
        """Plan all phases of one episode, for a grasp and displacements in the base frame.

        The straight approach has a length [m] and a direction in flange axes, shape (3,), of any
        length. The arm is at joints of shape (6,) [rad]; the hand before closing has shape (16,)
        [rad], in `HAND_JOINT_NAMES` order.

        Raises:
            InvalidInputError: An argument has the wrong shape, frame or range.
            UnreachableError: A pose cannot be reached; the message names it.
            WorkspaceError: A pose lies outside the allowed box.
            CollisionError: A posture or a move touches the table or the arm.
            SafetyError: The arm is measured outside its limits.
        """
        current = self.guard.check_measured(current_joint_positions)
        opened = check_hand('open hand', open_hand)
        closed = check_hand('closed hand', grasp.joint_positions)
        offset = _approach_offset(pregrasp_distance, pregrasp_direction)
        targets = self._targets(grasp, trajectory, offset)
        for target in targets:
            self.guard.check_workspace(target.label, target.position)
        approach, follow = self._solve(targets, current, opened, closed, trajectory.rate)
        transfer = self._transfer.into(current, approach.positions[0], opened, grasp.position)
        transfer = self.guard.check_motion(Phase.MOVE_TO_PREGRASP, transfer, opened, leaving=True)
        limits = self.configuration
        last = follow.positions[-1]
        return MotionPlan(
            (
                PlannedPhase(Phase.MOVE_TO_PREGRASP, transfer, opened, limits.close_duration),
                PlannedPhase(Phase.APPROACH, approach),
                self._hand_phase(Phase.CLOSE_HAND, approach.positions[-1], closed),
                PlannedPhase(Phase.FOLLOW_TRAJECTORY, follow),
                PlannedPhase(Phase.HOLD, hold(last, limits.hold_duration)),
            )
        )

    def plan_home(
        self,
        current_joint_positions: npt.ArrayLike,
        open_hand: npt.ArrayLike,
        *,
        release_first: bool = True,
    ) -> MotionPlan:
        """Plan the way home: straight up, over the table, with the hand opened.

        It opens before the arm moves, or on arrival, so that what is held travels along;
        joints and errors as in `plan`.
        """
        current = self.guard.check_measured(current_joint_positions)
        opened = check_hand('open hand', open_hand)
        home = np.asarray(self.configuration.home)
        # The open hand reaches furthest, so its height stands for a closed one, too.
        lift, move = self._transfer.out(current, home, opened)
        motion = [
            PlannedPhase(name, self.guard.check_motion(name, path, opened, leaving=True))
            for name, path in ((Phase.RETREAT, lift), (Phase.MOVE_HOME, move))
            if path is not None
        ]
        release = self._hand_phase(Phase.OPEN_HAND, current if release_first else home, opened)
        return MotionPlan(tuple([release, *motion] if release_first else [*motion, release]))

    def _targets(
        self, grasp: GraspParameters, trajectory: WristTrajectory, offset: FloatArray
    ) -> list[TargetPose]:
        """Pre-grasp, way points, grasp, then the pose after each displacement."""
        for what, frame in (('grasp', grasp.frame_id), ('trajectory', trajectory.frame_id)):
            if frame != BASE_FRAME:
                raise InvalidInputError(
                    f'The {what} is given in frame {frame!r}; transform it to {BASE_FRAME!r}.'
                )
        if len(trajectory) == 0:
            raise InvalidInputError('The trajectory has no displacement; it needs at least one.')
        margin = gimbal_margin(grasp.wrist_rotation)
        if margin < LEAST_GIMBAL_MARGIN:
            raise UnreachableError(
                f'The wrist angles {grasp.wrist_rotation.round(3).tolist()} rad lie {margin:.3f} '
                f'rad from gimbal lock, at least {LEAST_GIMBAL_MARGIN} rad are required; turn '
                'the palm away from the vertical.'
            )
        rotation = grasp.rotation_matrix()
        start = grasp.position - rotation @ offset
        count = self.configuration.approach_waypoints
        targets = [TargetPose('pre-grasp pose', rotation, start)]
        for index in range(1, count):
            position = start + (grasp.position - start) * index / count
            targets.append(TargetPose(f'approach pose {index} of {count}', rotation, position))
        targets.append(TargetPose('grasp pose', rotation, grasp.position))
        moved = trajectory.poses(rotation, grasp.position)
        for index, (turned, position) in enumerate(moved, start=1):
            label = f'pose after displacement {index} of {len(moved)}'
            targets.append(TargetPose(label, turned, position))
        return targets

    def _solve(
        self,
        targets: list[TargetPose],
        current: FloatArray,
        opened: FloatArray,
        closed: FloatArray,
        rate: float,
    ) -> tuple[JointPath, JointPath]:
        """Approach and displacements on the first branch that passes.

        The grasp is solved first, because it is the pose that matters; the approach is followed
        backwards from it and the trajectory forwards.
        """
        grasp = targets[self.configuration.approach_waypoints]
        failure: UnreachableError | CollisionError | None = None
        for branch in self.kinematics.branches(grasp, current):
            for start in branch:
                try:
                    return self._follow(targets, start, opened, closed, rate)
                except CollisionError as error:
                    failure = error
                    break  # Full turns of two joints move nothing out of the way.
                except UnreachableError as error:
                    # A branch that got as far as colliding says more about what to change.
                    if not isinstance(failure, CollisionError):
                        failure = error
        if failure is None:
            raise UnreachableError(f'No branch was found for the {grasp.label}.')
        raise failure

    def _follow(
        self,
        targets: list[TargetPose],
        start: FloatArray,
        opened: FloatArray,
        closed: FloatArray,
        rate: float,
    ) -> tuple[JointPath, JointPath]:
        """Approach and displacements on the branch of `start`, timed and checked."""
        count = self.configuration.approach_waypoints
        labels = [target.label for target in targets]
        check = self.guard.check_motion
        before = self.kinematics.follow(targets[count::-1], start)[::-1]
        approach = rest_to_rest(before, self.configuration.approach_duration, self._limits)
        approach = check(Phase.APPROACH, approach, opened, labels=labels[: count + 1])
        grasp = approach.positions[-1]
        closing = opened + _CLOSING_SHARES * (closed - opened)
        self.guard.check_postures(
            [labels[count]], np.repeat(grasp[None], len(closing), axis=0), closing
        )
        after = self.kinematics.follow(targets[count + 1 :], before[-1])
        follow = constant_rate(np.concatenate([grasp[None], after]), rate, self._limits)
        intended = len(after) / rate
        if follow.duration > _SLOWEST * intended:
            raise UnreachableError(
                f'The trajectory would take {follow.duration:.1f} s instead of {intended:.1f} s '
                'within the limits of the joints: it passes too close to a stretched posture. '
                'Move the object or choose another demonstration.'
            )
        return approach, check(Phase.FOLLOW_TRAJECTORY, follow, closed, labels=labels[count:])

    def _hand_phase(self, name: Phase, arm: FloatArray, hand: FloatArray) -> PlannedPhase:
        limits = self.configuration
        at_rest = hold(arm, limits.close_duration + limits.settle_duration)
        return PlannedPhase(name, at_rest, hand, limits.close_duration)


def _approach_offset(distance: float, direction: npt.ArrayLike) -> FloatArray:
    """Motion of the approach in flange axes. Shape (3,). [m]."""
    axis = finite_array('pre-grasp direction', direction, (3,))
    largest = float(np.abs(axis).max())
    if largest < 1e-6:
        raise InvalidInputError('The pre-grasp direction must not be zero.')
    if not 0.0 < distance <= _LONGEST_APPROACH:
        raise InvalidInputError(
            f'The pre-grasp distance must be above 0 and at most {_LONGEST_APPROACH} m, '
            f'got {distance}.'
        )
    axis = axis / largest  # first, because the square of a huge number overflows
    return np.asarray(axis / np.linalg.norm(axis) * distance, dtype=np.float64)
