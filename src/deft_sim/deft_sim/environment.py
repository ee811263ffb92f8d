# SPDX-License-Identifier: Apache-2.0
"""The simulated cell without ROS: one call per step of an episode, as fast as the machine allows.

Planner and tendon map are those of the graph. What differs: motors are ideal up to the force limit
of the tendons (the graph has servos with position loops and current limits behind a driver that
limits speed and step), the arm follows the planned points (the graph's control box blends and
accelerates between them), and every episode starts exactly at home. How often a grasp does the
same in both is measured by `benchmarks/graph_agreement.py`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft_arm.configuration import load_arm_configuration
from deft_arm.planning.plan import MotionPlan, Phase, PlannedPhase
from deft_arm.planning.planner import EpisodePlanner
from deft_core.camera import ColorImage, RgbdFrame
from deft_core.configuration import config_directory
from deft_core.episode import Outcome
from deft_core.errors import SafetyError, TrainingError, UnreachableError
from deft_core.grasp import GraspParameters
from deft_core.rotations import rotation_vector_from_matrix, transform
from deft_core.task import Task, load_task
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.joint_map import TendonMap
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import ARM, HAND, SimulationSettings, load_simulation_settings
from deft_sim.hand_motors import IdealMotors
from deft_sim.tasks import SceneEvaluation, SimulatedTask, simulated_task

SETTLE_TIME = 0.2  # [s] between a reset and the first picture
_LOOK_EVERY = 10  # setpoint periods between two looks for a success in passing


@dataclass(frozen=True, eq=False)
class RecordedDemonstration:
    """The one demonstration of a task, by an expert instead of a person (paper, section 3.1)."""

    trajectory: WristTrajectory  # measured displacements after the grasp
    start: ColorImage  # the scene it began with, RGB, shape (height, width, 3)
    goal: ColorImage  # the scene at its end, to which visual rewards compare (section 5)


class TableTopEnvironment:
    """One task on the simulated table. Equal calls give equal results, bit for bit.

    Example:
        >>> environment = TableTopEnvironment.open('pick_cup')  # doctest: +SKIP
        >>> frame = environment.reset(0, 'red_mug')  # doctest: +SKIP
        >>> outcome = environment.execute(grasp, trajectory)  # doctest: +SKIP
        >>> environment.final_image(), environment.score()  # doctest: +SKIP
    """

    def __init__(
        self,
        settings: SimulationSettings,
        task: Task,
        simulation: SimulatedTask,
        planner: EpisodePlanner,
        tendon_map: TendonMap,
    ) -> None:
        """Build the cell with the first object of the train set."""
        self.task = task
        self.settings = settings
        self._demonstration = simulation.demonstration
        self.motors = IdealMotors(settings.cell.motors)
        first = task.object_sets['train'][0]
        self.cell = SimulatedCell(settings, simulation, first, motors=self.motors)
        self.planner = planner
        self._tendon_map = tendon_map
        self._joint_lower, self._joint_upper = tendon_map.description.joint_limits()
        self._hand: FloatArray = np.zeros_like(self._joint_lower)
        self._success_once = False

    @classmethod
    def open(
        cls,
        task_name: str,
        directory: Path | None = None,
        settings: SimulationSettings | None = None,
    ) -> TableTopEnvironment:
        """Build the environment of a task from a configuration folder, else the usual one.

        `settings` are those of the cell in it when None.
        """
        folder = config_directory() if directory is None else directory
        return cls(
            settings or load_simulation_settings(folder),
            load_task(task_name, folder),
            simulated_task(task_name),
            EpisodePlanner(load_arm_configuration(ARM, folder)),
            TendonMap(load_hand_description(HAND, folder)),
        )

    def reset(self, scene_seed: int, object_name: str) -> RgbdFrame:
        """Bring the robot home, lay out the scene, and take the first picture.

        Raises:
            InvalidInputError: Unknown object or negative seed.
            DeviceError: No offscreen OpenGL on this machine.
        """
        self.cell.return_robot_home()
        self._hand = np.zeros_like(self._joint_lower)
        self._success_once = False
        self.cell.reset_scene(object_name, scene_seed)
        self.cell.advance(SETTLE_TIME)
        return self.cell.capture()

    def execute(self, grasp: GraspParameters, trajectory: WristTrajectory) -> Outcome:
        """Approach, close the hand, replay the trajectory and hold (paper, Algorithm 1).

        Returns:
            COMPLETED, UNREACHABLE when no safe plan exists (nothing moved), COLLISION, or FAILED
            when the simulation became unstable: such an episode says nothing about the grasp.
        """
        try:
            plan = self.plan(grasp, trajectory)
        except (UnreachableError, SafetyError):
            return Outcome.UNREACHABLE
        for phase in plan.phases:
            self.play(phase)
            if self.cell.breakdown:
                return Outcome.FAILED
            if self.cell.collided:
                return Outcome.COLLISION
        return Outcome.COMPLETED

    def plan(self, grasp: GraspParameters, trajectory: WristTrajectory) -> MotionPlan:
        """Plan an episode from where the arm is now; arguments as for `execute`.

        Raises:
            UnreachableError: A pose cannot be reached.
            SafetyError: A posture or a move is not allowed.
        """
        pregrasp = self.task.pregrasp
        return self.planner.plan(
            grasp,
            trajectory,
            pregrasp.distance,
            pregrasp.direction,
            self.cell.arm_state().positions,
            self.task.open_hand,
        )

    def play(self, phase: PlannedPhase) -> None:
        """Run one phase of a plan; stops early when the arm collides or physics fails."""
        cell = self.cell
        cell.follow_arm(phase.arm.times, phase.arm.positions)
        periods = round(phase.duration / cell.setpoint_period)
        if phase.hand_joint_positions is None:
            for begun in range(0, periods, _LOOK_EVERY):
                cell.advance(min(_LOOK_EVERY, periods - begun) * cell.setpoint_period)
                self._look()
            return
        start = self._hand
        target = np.clip(phase.hand_joint_positions, self._joint_lower, self._joint_upper)
        ramp = round(phase.hand_duration / cell.setpoint_period)
        for period in range(1, periods + 1):
            # The driver ramps in the same way: linearly from what it commanded last.
            self._hand = start + min(period / ramp, 1.0) * (target - start)
            self.motors.command(self._tendon_map.motors_from_joints(self._hand))
            cell.advance(cell.setpoint_period)
            if period % _LOOK_EVERY == 0:
                self._look()
            if cell.collided or cell.breakdown:
                return

    def _look(self) -> None:
        self._success_once |= self.cell.evaluate(exact=True).success

    @property
    def success_once(self) -> bool:
        """Whether the criterion was met at some instant since the reset, at 10 Hz."""
        return self._success_once

    def final_image(self) -> RgbdFrame:
        """Picture of the scene as it is now."""
        return self.cell.capture()

    def score(self, *, exact: bool = False) -> SceneEvaluation:
        """The operator's verdict; nothing that learns may read more of the state than this.

        `exact`: see `SimulatedCell.evaluate`.
        """
        return self.cell.evaluate(exact=exact)

    def demonstrate(self) -> RecordedDemonstration:
        """Let the expert do the task; the scene is laid out anew.

        Raises:
            TrainingError: The expert failed, so this is no demonstration.
            UnreachableError: The expert's grasp cannot be reached.
        """
        cell, wanted = self.cell, self._demonstration
        rate, steps = wanted.intended.rate, len(wanted.intended)
        start = self.reset(wanted.scene_seed, wanted.object_name).color
        # What a trajectory moves is the grasp centre: the flange swings about it in every turn.
        T_flange_grasp = transform(np.eye(3), self.planner.kinematics.grasp_centre_in_flange)
        poses = []
        for phase in self.plan(cell.expert_grasp(), wanted.intended).phases:
            if phase.name is not Phase.FOLLOW_TRAJECTORY:
                self.play(phase)
                continue
            cell.follow_arm(phase.arm.times, phase.arm.positions)
            poses.append(cell.flange_pose() @ T_flange_grasp)
            step = phase.duration / steps  # the arm may need longer than was intended
            for _ in range(steps):
                cell.advance(step)
                poses.append(cell.flange_pose() @ T_flange_grasp)
        verdict = self.score()
        if not verdict.success:
            raise TrainingError(
                f'The demonstration of {self.task.name} failed ({verdict.explanation}); change '
                'the expert or the seed.'
            )
        changes = list(itertools.pairwise(poses))
        trajectory = WristTrajectory(
            translations=np.array([after[:3, 3] - before[:3, 3] for before, after in changes]),
            rotation_vectors=np.array(
                [
                    rotation_vector_from_matrix(after[:3, :3] @ before[:3, :3].T)
                    for before, after in changes
                ]
            ),
            rate=rate,
            source=(
                f'simulated demonstration of {self.task.name}: an expert, {wanted.object_name}, '
                f'scene seed {wanted.scene_seed}; measured poses of the grasp centre, '
                'no human video'
            ),
        )
        return RecordedDemonstration(trajectory, start, self.final_image().color)

    def close(self) -> None:
        """Free the renderer."""
        self.cell.close()
