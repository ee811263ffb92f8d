# SPDX-License-Identifier: Apache-2.0
"""Forward and inverse kinematics of the arm, for the grasp centre of its hand.

A list of poses is followed on one branch of the inverse kinematics, so that no joint jumps; the
first pose of it can be reached on several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import mink
import mujoco
import numpy as np
from scipy.linalg.lapack import dgesv

from deft_arm.configuration import ArmConfiguration
from deft_arm.planning.paths import ARM_JOINTS
from deft_core.errors import UnreachableError
from deft_core.validation import FloatArray
from deft_description.models import FLANGE_SITE, GRASP_CENTRE_SITE, arm_spec, robot_model

POSITION_TOLERANCE: Final = 2e-4  # [m] far below what the arm repeats with a hand on it
ROTATION_TOLERANCE: Final = 2e-3  # [rad]
_SOLVER: Final = 'daqp'
_TRUST_REGION: Final = 0.5  # [rad] largest change of a joint per iteration
_GUIDED_ITERATIONS: Final = 4
_SEARCH_ITERATIONS: Final = 25
_TRACK_ITERATIONS: Final = 6
_STALL_RATIO: Final = 0.999
_CONVERGED: Final = 1e-5  # [m] and [rad] where Newton steps end
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
    """One pose that the hand must reach, in the base frame."""

    label: str  # for messages
    rotation: FloatArray  # (3, 3) of the flange
    position: FloatArray  # (3,) [m] of the grasp centre


@dataclass(frozen=True, eq=False)
class Solution:
    """Outcome of one solve: joints, shape (6,) [rad], and how far they are off [m], [rad]."""

    joint_positions: FloatArray
    position_error: float
    rotation_error: float

    @property
    def reached(self) -> bool:
        """Both errors are within tolerance."""
        return (
            self.position_error <= POSITION_TOLERANCE and self.rotation_error <= ROTATION_TOLERANCE
        )

    @property
    def score(self) -> float:
        """Smaller is better."""
        return self.position_error + 0.1 * self.rotation_error


class ArmKinematics:
    """Kinematics within the joint limits of a configuration.

    Keeps scratch memory between calls, so one instance must not be shared between threads.
    """

    def __init__(self, configuration: ArmConfiguration) -> None:
        """Build the model of the arm with the hand's grasp centre on its flange."""
        self.grasp_centre_in_flange = _grasp_centre_in_flange()  # (3,) [m]
        specification = arm_spec()
        flange_body = specification.site(FLANGE_SITE).parent
        flange_body.add_site(name=GRASP_CENTRE_SITE, pos=self.grasp_centre_in_flange)
        # The limits of the configuration replace the published ones: they are never wider.
        lower, upper = configuration.planning_limits()
        for name, low, high in zip(configuration.joint_names, lower, upper, strict=True):
            specification.joint(name).range = [low, high]
        self._model = specification.compile()
        self._lower, self._upper = lower, upper
        self._state = mink.Configuration(self._model)
        self._newton_data = mujoco.MjData(self._model)
        self._jacobian = np.zeros((6, self._model.nv))
        self._site = self._model.site(GRASP_CENTRE_SITE).id
        self._flange = self._model.site(FLANGE_SITE).id
        # A metre and a radian weigh alike: 1 mm is worth 0.057 degrees.
        self._target = mink.FrameTask(
            GRASP_CENTRE_SITE, 'site', position_cost=1.0, orientation_cost=0.3
        )
        self._posture = mink.PostureTask(self._model, cost=3e-2)
        self._limits = [
            mink.ConfigurationLimit(self._model, gain=1.0),
            mink.VelocityLimit(
                self._model, dict.fromkeys(configuration.joint_names, _TRUST_REGION)
            ),
        ]

    def forward(self, joint_positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rotation of the flange, shape (3, 3), and position of the grasp centre, shape (3,). [m].

        At joints of shape (6,). [rad].
        """
        data = self._update(joint_positions)
        rotation = data.site_xmat[self._site].reshape(3, 3).copy()
        return rotation, data.site_xpos[self._site].copy()

    def flange_position(self, joint_positions: FloatArray) -> FloatArray:
        """Origin of the flange in the base frame, shape (3,) [m], at joints, shape (6,) [rad]."""
        return np.array(self._update(joint_positions).site_xpos[self._flange])

    def branches(self, target: TargetPose, near: FloatArray) -> Iterator[list[FloatArray]]:
        """Different postures that reach a pose, lazily.

        Each is a list of joint positions, shape (6,) [rad], that differ by full turns of joints
        4 and 6 only and so look the same, those nearest to `near` first.

        Raises:
            UnreachableError: No start found any; raised when the first is asked for.
        """
        wrist = target.position - target.rotation @ self.grasp_centre_in_flange
        found: list[FloatArray] = []
        closest: Solution | None = None
        for posture in _POSTURES:
            seed = np.array(posture)
            seed[0] = np.arctan2(wrist[1], wrist[0])
            solution = self._search(target, seed)
            if closest is None or solution.position_error < closest.position_error:
                closest = solution
            if not solution.reached:
                continue
            base = solution.joint_positions
            if any(_same(base, other) for other in found):
                continue
            found.append(base)
            yield self._turns(base, near)
        if not found and closest is not None:
            raise _unreachable(target, closest, f'after {len(_POSTURES)} starts')

    def follow(self, targets: Sequence[TargetPose], start: FloatArray) -> FloatArray:
        """Joint positions that reach one pose after the other on one branch. Shape (n, 6). [rad].

        The poses lie close to each other, the first one near `start`, shape (6,). [rad].

        Raises:
            UnreachableError: Names the first pose that cannot be reached on this branch.
        """
        positions = np.empty((len(targets), ARM_JOINTS))
        current = before = start
        for index, target in enumerate(targets):
            # The next posture lies nearly where the last two point.
            solution = self.track(target.rotation, target.position, 2.0 * current - before)
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
        return positions

    def track(self, rotation: FloatArray, position: FloatArray, start: FloatArray) -> Solution:
        """Solve for a pose, as in `TargetPose`, near joints of shape (6,) [rad]."""
        near = np.clip(start, self._lower, self._upper)
        found = self._newton(rotation, position, near)
        if found is not None:
            return found
        # A limit or a singularity is in the way: the quadratic programme knows both.
        self._set_target(rotation, position)
        return self._iterate(near, _TRACK_ITERATIONS)

    def _search(self, target: TargetPose, seed: FloatArray) -> Solution:
        """Solve for a pose from a seed far away, preferring the branch of the seed."""
        self._set_target(target.rotation, target.position)
        start = np.clip(seed, self._lower, self._upper)
        self._posture.set_target(start)
        # Six joints and six wanted numbers leave nothing free: the posture only chooses the
        # branch in the first iterations and is dropped so that it cannot bias the solution.
        self._update(start)
        for _ in range(_GUIDED_ITERATIONS):
            if not self._step([self._target, self._posture]):
                break
        found = self._newton(target.rotation, target.position, self._state.q)
        return self._iterate(self._state.q, _SEARCH_ITERATIONS) if found is None else found

    def _newton(
        self, rotation: FloatArray, position: FloatArray, start: FloatArray
    ) -> Solution | None:
        """Solve by Newton steps while they stay within limits; None where they do not.

        Ten times as quick as the programme and the same away from limits and singularities,
        where neighbouring poses of a path nearly always are.
        """
        data = self._newton_data
        wanted, found, error = np.empty(4), np.empty(4), np.empty(6)
        mujoco.mju_mat2Quat(wanted, np.ascontiguousarray(rotation, dtype=np.float64).reshape(9))
        joints = np.array(start)
        for _ in range(_TRACK_ITERATIONS):
            data.qpos[:] = joints
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_comPos(self._model, data)
            error[:3] = position - data.site_xpos[self._site]
            mujoco.mju_mat2Quat(found, data.site_xmat[self._site])
            found[1:] *= -1.0
            mujoco.mju_mulQuat(found, wanted, found)
            mujoco.mju_quat2Vel(error[3:], found, 1.0)
            if np.abs(error).max() < _CONVERGED:
                return Solution(
                    joints, float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
                )
            mujoco.mj_jacSite(
                self._model, data, self._jacobian[:3], self._jacobian[3:], self._site
            )
            _, _, step, singular = dgesv(self._jacobian, error)
            joints = joints + step
            if (
                singular
                or np.abs(step).max() > _TRUST_REGION
                or (joints < self._lower).any()
                or (joints > self._upper).any()
            ):
                return None
        return None

    def _iterate(self, start: FloatArray, iterations: int) -> Solution:
        self._update(np.clip(start, self._lower, self._upper))
        best = self._measure()
        stalled = 0
        for _ in range(iterations):
            if (best.reached and best.position_error < 1e-6) or not self._step([self._target]):
                break
            current = self._measure()
            stalled = stalled + 1 if current.score > _STALL_RATIO * best.score else 0
            if current.score < best.score:
                best = current
            if stalled >= 3:
                break
        return best

    def _step(self, tasks: list[mink.Task]) -> bool:
        """One quadratic programme; False when it has no solution."""
        try:
            velocity = mink.solve_ik(
                self._state, tasks, 1.0, _SOLVER, damping=1e-9, limits=self._limits
            )
        except mink.NoSolutionFound:
            return False
        self._state.integrate_inplace(velocity, 1.0)
        return True

    def _measure(self) -> Solution:
        error = self._target.compute_error(self._state)
        return Solution(
            self._state.q.copy(),
            float(np.linalg.norm(error[:3])),
            float(np.linalg.norm(error[3:])),
        )

    def _set_target(self, rotation: FloatArray, position: FloatArray) -> None:
        orientation = mink.SO3.from_matrix(rotation)
        self._target.set_target(mink.SE3.from_rotation_and_translation(orientation, position))

    def _update(self, joint_positions: FloatArray) -> mujoco.MjData:
        self._state.update(np.asarray(joint_positions, dtype=np.float64))
        return self._state.data

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


def _same(first: FloatArray, second: FloatArray) -> bool:
    """Whether two postures look the same."""
    return bool(np.all(np.abs((first - second + np.pi) % _TURN - np.pi) < _SAME))


def _unreachable(target: TargetPose, closest: Solution, how: str) -> UnreachableError:
    return UnreachableError(
        f'The {target.label} with the grasp centre at {np.round(target.position, 3).tolist()} m '
        f'cannot be reached {how}: the closest is off by {closest.position_error * 1000:.1f} mm '
        f'and {closest.rotation_error:.3f} rad. Move the object or turn the wrist.'
    )


def _grasp_centre_in_flange() -> FloatArray:
    """Where the hand of the robot model has its grasp centre, in the flange frame. [m]."""
    model = robot_model()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    flange, centre = model.site(FLANGE_SITE).id, model.site(GRASP_CENTRE_SITE).id
    rotation = data.site_xmat[flange].reshape(3, 3)
    return np.asarray(
        rotation.T @ (data.site_xpos[centre] - data.site_xpos[flange]), dtype=np.float64
    )
