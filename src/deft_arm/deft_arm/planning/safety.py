# SPDX-License-Identifier: Apache-2.0
"""Checks that a pose, a posture and a whole path pass before the arm may move.

This is no safety function in the sense of a standard: keep a hand on the hardware stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_arm.configuration import ArmConfiguration
from deft_arm.planning.geometry import RobotGeometry, Sweep
from deft_arm.planning.paths import ARM_JOINTS, JointPath
from deft_arm.planning.plan import Phase
from deft_core.errors import InvalidInputError, SafetyError, UnreachableError
from deft_core.validation import FloatArray, finite_array

_LIMIT_TOLERANCE: Final = 1e-6
_SPEED_TOLERANCE: Final = 1.02  # Finite differences of a sampled profile.
_MEASURED_TOLERANCE: Final = 0.05  # [rad] servo lag and sagging brakes at a limit
_LEAVING_DIP: Final = 0.005  # [m] how much nearer than at its start a motion may come
_DISTINCT: Final = 0.01  # [rad] between looked-at setpoints: 7 mm at full reach


class WorkspaceError(UnreachableError):
    """A pose lies outside the box that the hand may enter."""


class CollisionError(SafetyError):
    """A posture runs into the table, the arm itself, an obstacle or out of the cell."""


class MotionGuard:
    """Applies the limits of an arm configuration; every failed check raises."""

    def __init__(self, configuration: ArmConfiguration) -> None:
        """Prepare the limits."""
        self._configuration = configuration
        self._lower = np.asarray(configuration.position_lower)
        self._upper = np.asarray(configuration.position_upper)
        self._speed = np.asarray(configuration.speed_limit)
        self.geometry = RobotGeometry(
            configuration.fold_clearance, configuration.obstacle_clearance, configuration.obstacles
        )

    def check_workspace(self, label: str, position: FloatArray) -> None:
        """Refuse a position of the grasp centre, shape (3,) [m], outside the box."""
        lower, upper = self._configuration.workspace_lower, self._configuration.workspace_upper
        if np.all(position >= lower) and np.all(position <= upper):
            return
        raise WorkspaceError(
            f'The {label} at {np.round(position, 3).tolist()} m lies outside the workspace '
            f'{list(lower)} to {list(upper)} m; place the object further inside.'
        )

    def check_postures(
        self, labels: Sequence[str], arm: FloatArray, hand: FloatArray, *, leaving: bool = False
    ) -> Sweep:
        """Refuse postures that touch, or come too near to, what they must not.

        Arm and hand as for `RobotGeometry.sweep`, labels one for each posture or one for all.
        `leaving` says that the first posture is given, not chosen: what is too near there may be
        as near on the way out, but no nearer.

        Raises:
            CollisionError: Something is lower than allowed, outside the envelope of the cell, or
                too near to an obstacle or to the arm itself.
        """
        sweep = self.geometry.sweep(arm, hand)
        self._check_heights(labels, sweep, leaving)
        self._check_envelope(labels, sweep, leaving)
        least = min(0.0, float(sweep.spare[0]) - _LEAVING_DIP) if leaving else 0.0
        worst = int(np.argmin(sweep.spare))
        if sweep.spare[worst] < least:
            raise CollisionError(
                f'At the {labels[worst % len(labels)]} {sweep.closest[worst]} would come '
                f'{-sweep.spare[worst] * 1000:.0f} mm closer than allowed; move the object or '
                'turn the wrist.'
            )
        return sweep

    def _check_heights(self, labels: Sequence[str], sweep: Sweep, leaving: bool) -> None:
        limits = self._configuration
        heights = (
            ('the arm or the motor housing', sweep.rigid, limits.rigid_clearance),
            ('the palm', sweep.palm, limits.palm_clearance),
            ('the fingers', sweep.fingers, limits.finger_clearance),
        )
        for what, lowest, required in heights:
            height = lowest - limits.table_height
            least = min(required, float(height[0]) - _LEAVING_DIP) if leaving else required
            worst = int(np.argmin(height))
            if height[worst] < least:
                raise CollisionError(
                    f'At the {labels[worst % len(labels)]} {what} would be '
                    f'{height[worst] * 1000:.0f} mm above the table, at least '
                    f'{required * 1000:.0f} mm are required; grasp higher or turn the wrist up.'
                )

    def _check_envelope(self, labels: Sequence[str], sweep: Sweep, leaving: bool) -> None:
        limits = self._configuration
        lower, upper = np.asarray(limits.envelope_lower), np.asarray(limits.envelope_upper)
        beyond = np.maximum(lower - sweep.lower, sweep.upper - upper)  # (n, 3), negative inside
        allowed = np.maximum(0.0, beyond[0] + _LEAVING_DIP) if leaving else np.zeros(3)
        worst, axis = np.unravel_index(int(np.argmax(beyond - allowed)), beyond.shape)
        if beyond[worst, axis] > allowed[axis]:
            raise CollisionError(
                f'At the {labels[int(worst) % len(labels)]} a part of arm or hand would be '
                f'{beyond[worst, axis] * 1000:.0f} mm outside the cell along {"xyz"[axis]} '
                f'(envelope {list(limits.envelope_lower)} to {list(limits.envelope_upper)} m); '
                'move the object further inside.'
            )

    def check_motion(
        self,
        name: Phase,
        path: JointPath,
        hand: FloatArray,
        *,
        labels: Sequence[str] = (),
        leaving: bool = False,
    ) -> JointPath:
        """Check everything that a phase sweeps; the path, slowed to the speed cap of its name.

        The labels name the poses that the path passes at equal steps; the hand has shape (16,)
        [rad]; `leaving` as in `check_postures`.

        Raises:
            CollisionError: See `check_postures`.
            SafetyError: A joint would leave its travel or exceed its speed.
        """
        self._check_joints(name, path)
        chosen = _distinct(path.positions)
        passed = [str(name)]
        if labels:
            share = chosen / max(1, len(path.positions) - 1)
            passed = [labels[int(index)] for index in np.rint(share * (len(labels) - 1))]
        sweep = self.check_postures(passed, path.positions[chosen], hand, leaving=leaving)
        cap = self._configuration.speed_caps.get(name)
        if cap is None or len(chosen) == 1:
            return path
        speed = sweep.largest_step() / np.diff(path.times[chosen])
        return path.slower(max(1.0, float(speed.max()) / cap))

    def _check_joints(self, label: Phase, path: JointPath) -> None:
        """Refuse a path that leaves the joint travel or is too fast."""
        below = path.positions < self._lower - _LIMIT_TOLERANCE
        above = path.positions > self._upper + _LIMIT_TOLERANCE
        outside = np.argwhere(below | above)
        if len(outside):
            step, joint = (int(i) for i in outside[0])
            raise SafetyError(
                f'Phase {label} would move {self._configuration.joint_names[joint]} to '
                f'{path.positions[step, joint]:.3f} rad, allowed is '
                f'{self._lower[joint]} to {self._upper[joint]} rad.'
            )
        excess = path.maximum_speed() / self._speed
        joint = int(np.argmax(excess))
        if excess[joint] > _SPEED_TOLERANCE:
            raise SafetyError(
                f'Phase {label} would move {self._configuration.joint_names[joint]} at '
                f'{excess[joint] * self._speed[joint]:.2f} rad/s, allowed is '
                f'{self._speed[joint]} rad/s.'
            )

    def check_measured(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """Joints to start a plan from, moved to the limits where they sag over them.

        Shape (6,). [rad].
        """
        measured = finite_array('arm joint positions', joint_positions, (ARM_JOINTS,))
        inside = np.clip(measured, self._lower, self._upper)
        joint = int(np.argmax(np.abs(measured - inside)))
        if abs(measured[joint] - inside[joint]) > _MEASURED_TOLERANCE:
            raise SafetyError(
                f'{self._configuration.joint_names[joint]} is measured at {measured[joint]:.3f} '
                f'rad, allowed is {self._lower[joint]} to {self._upper[joint]} rad; move the '
                'arm back by hand or with the vendor software.'
            )
        return inside


def check_hand(label: str, joint_positions: npt.ArrayLike) -> FloatArray:
    """Hand joint positions as an array, shape (16,). [rad]."""
    checked = finite_array(label, joint_positions, (16,))
    if np.any(np.abs(checked) > np.pi):
        raise InvalidInputError(
            f'{label} must be angles within +-pi rad, got {checked.round(2).tolist()}; '
            'are these degrees?'
        )
    return checked


def _distinct(positions: FloatArray) -> npt.NDArray[np.int64]:
    """Setpoints to look at: both ends, and one for every little way between them."""
    way = np.zeros(len(positions))
    np.cumsum(np.abs(np.diff(positions, axis=0)).max(axis=1), out=way[1:])
    _, first = np.unique(np.floor(way / _DISTINCT), return_index=True)
    return np.unique(np.append(first, len(positions) - 1))
