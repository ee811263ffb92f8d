# SPDX-License-Identifier: Apache-2.0
"""Follow a list of poses on one branch of the inverse kinematics, trying several branches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_arm.configuration import ArmConfiguration
from deft_arm.kinematics import ArmKinematics, Solution
from deft_arm.paths import ARM_JOINTS
from deft_core.errors import UnreachableError
from deft_core.validation import FloatArray

LARGEST_STEP: Final = 0.6  # [rad] between neighbouring poses; more is a change of branch
_SAME: Final = 1e-2  # [rad] solutions closer than this are one
_TURN: Final = 2.0 * np.pi
_MOST_TURNS: Final = 2  # The other ones only differ from them at the limits.
_TURNING_JOINTS: Final = (3, 5)  # Joints 4 and 6 have more than one turn of travel.

# Elbow up, as everywhere within the limits of joint 3; joint 1 is set to face the wrist.
# Both bends of joint 5 with the roll of joint 4 that belongs to them, stretched, then folded.
_POSTURES: Final = (
    (0.0, 0.3, -0.7, 0.0, -0.8, -1.5),
    (0.0, 0.3, -0.7, 0.0, 0.8, 0.0),
    (0.0, 0.3, -0.7, np.pi, 0.8, 1.5),
    (0.0, 0.3, -0.7, -np.pi, 0.8, 1.5),
    (0.0, 0.3, -0.7, 1.5, 1.0, -1.5),
    (0.0, 0.3, -0.7, -1.5, 1.0, 1.5),
    (0.0, -0.5, -1.5, 0.0, -0.8, -1.5),
    (0.0, -0.5, -1.5, 0.0, 1.8, 0.0),
    (0.0, -0.5, -1.5, 1.5, 1.2, -1.5),
    (0.0, -0.5, -1.5, -1.5, 1.2, 1.5),
)


@dataclass(frozen=True, eq=False)
class TargetPose:
    """One pose that the hand must reach.

    Attributes:
        label: Which pose it is, for messages.
        rotation: Flange in the base frame. Shape (3, 3).
        position: Grasp centre in the base frame. Shape (3,). [m].
    """

    label: str
    rotation: FloatArray
    position: FloatArray


class BranchSolver:
    """Solves poses one after another so that the joints never jump."""

    def __init__(self, kinematics: ArmKinematics, configuration: ArmConfiguration) -> None:
        """Take the kinematics and limits to solve with."""
        self._kinematics = kinematics
        self._lower, self._upper = configuration.planning_limits()

    def branches(self, target: TargetPose, near: FloatArray) -> Iterator[list[FloatArray]]:
        """Different postures that reach a pose, lazily.

        Each is a list of joint positions, shape (6,) [rad], that differ by full turns of joints
        4 and 6 only and so look the same.

        Args:
            target: Pose to reach.
            near: Full turns of joints 4 and 6 are chosen near these positions. Shape (6,). [rad].

        Raises:
            UnreachableError: No start found any; raised when the first is asked for.
        """
        wrist = target.position - target.rotation @ self._kinematics.grasp_centre_in_flange
        found: list[FloatArray] = []
        closest: Solution | None = None
        for posture in _POSTURES:
            seed = np.array(posture)
            seed[0] = np.arctan2(wrist[1], wrist[0])
            solution = self._kinematics.search(target.rotation, target.position, seed, seed)
            if closest is None or solution.position_error < closest.position_error:
                closest = solution
            if not solution.reached:
                continue
            base = solution.joint_positions
            if any(_same_branch(base, other) for other in found):
                continue
            found.append(base)
            yield self._turns(base, near)
        if not found and closest is not None:
            raise _unreachable(target, closest, f'after {len(_POSTURES)} starts')

    def follow(
        self, targets: list[TargetPose], start: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Joint positions of each pose in turn, and how far each is off.

        Args:
            targets: Poses, close to each other.
            start: Joint positions near the first pose. Shape (6,). [rad].

        Returns:
            Joint positions, shape (n, 6) [rad], and position errors, shape (n,) [m].

        Raises:
            UnreachableError: Names the first pose that cannot be reached on this branch.
        """
        positions = np.empty((len(targets), ARM_JOINTS))
        errors = np.empty(len(targets))
        current = before = start
        for index, target in enumerate(targets):
            # The next posture lies nearly where the last two point.
            ahead = 2.0 * current - before
            solution = self._kinematics.track(target.rotation, target.position, ahead)
            if not solution.reached:
                raise _unreachable(target, solution, 'on this branch')
            step = float(np.abs(solution.joint_positions - current).max())
            if step > LARGEST_STEP:
                raise UnreachableError(
                    f'The {target.label} needs a joint to jump by {step:.2f} rad; '
                    f'at most {LARGEST_STEP} rad between neighbouring poses are allowed. '
                    'Keep the motion away from the stretched arm.'
                )
            before, current = current, solution.joint_positions
            positions[index] = current
            errors[index] = solution.position_error
        return positions, errors

    def _turns(self, base: FloatArray, near: FloatArray) -> list[FloatArray]:
        """The same posture with other full turns of joints 4 and 6, nearest first."""
        options = [base]
        for joint in _TURNING_JOINTS:
            turned = []
            for option in options:
                for turn in (-_TURN, _TURN):
                    other = option.copy()
                    other[joint] += turn
                    if self._lower[joint] <= other[joint] <= self._upper[joint]:
                        turned.append(other)
            options += turned
        options.sort(key=lambda option: float(np.abs(option - near).max()))
        return options[:_MOST_TURNS]


def _same_branch(first: FloatArray, second: FloatArray) -> bool:
    difference = (first - second + np.pi) % _TURN - np.pi
    return bool(np.all(np.abs(difference) < _SAME))


def _unreachable(target: TargetPose, closest: Solution, how: str) -> UnreachableError:
    return UnreachableError(
        f'The {target.label} with the grasp centre at {np.round(target.position, 3).tolist()} m '
        f'cannot be reached {how}: the closest is off by {closest.position_error * 1000:.1f} mm '
        f'and {closest.rotation_error:.3f} rad. Move the object or turn the wrist.'
    )
