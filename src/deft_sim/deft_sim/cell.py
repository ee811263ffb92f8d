# SPDX-License-Identifier: Apache-2.0
"""The simulated cell: robot, table, camera and clock behind the interfaces of the hardware."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import numpy.typing as npt

from deft_core.camera import RgbdFrame
from deft_core.errors import InvalidInputError, SafetyError
from deft_core.grasp import GraspParameters
from deft_core.rotations import transform
from deft_core.validation import FloatArray, finite_array
from deft_description.models import FLANGE_SITE, MOTOR_NAMES
from deft_hand_driver.simulated_hand import HandMounting
from deft_perception.calibration.board import BoardConfiguration
from deft_sim.configuration import SimulationSettings
from deft_sim.depth_camera import DepthCameraModel
from deft_sim.hand_motors import HandMotors, IdealMotors, TendonSample
from deft_sim.operator_score import as_a_person_scores
from deft_sim.rendering import OffscreenRenderer
from deft_sim.scene import CAMERA
from deft_sim.tasks import OBJECT_BODY, SceneEvaluation, SimulatedTask
from deft_sim.trajectory_follower import JointTrajectoryFollower
from deft_sim.world import ARM, HAND, MOTORS, JointSample, World
from deft_sim.xarm_controller import UNKNOWN, SimulatedXArm

_FATAL_WARNINGS = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


class SimulatedCell:
    """Owns model, state and renderer; use it from one thread.

    What the hardware offers: joint trajectories for the arm, spools of the hand, an RGB-D camera.
    What a person offers: `reset_scene` and `evaluate`. The clock only goes forward, also over
    resets.

    Args:
        settings: Cell and camera pose.
        task: What is laid out and judged.
        object_name: One of the task's; its first when None.
        scene_seed: Seed of the first layout.
        motors: Who turns the spools of the hand; ideal motors at 0 when None.
        board: Calibration board on the flange, if there is one.
        arm: Control box that moves the arm; joint trajectories of `follow_arm` do when None.
        mounting: How the hand differs from its file; not at all when None.

    Raises:
        InvalidInputError: The task has no such object.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        task: SimulatedTask,
        object_name: str | None = None,
        *,
        scene_seed: int = 0,
        motors: HandMotors | None = None,
        board: BoardConfiguration | None = None,
        arm: SimulatedXArm | None = None,
        mounting: HandMounting | None = None,
    ) -> None:
        """Build the world; the renderer follows with the first picture."""
        self._settings, self._board, self._mounting = settings, board, mounting
        self._spool_zeros = np.zeros(len(MOTOR_NAMES)) if mounting is None else mounting.zeros
        self._arm = arm
        self._worlds: dict[tuple[SimulatedTask, str], World] = {}
        self._renderer: OffscreenRenderer | None = None
        self._camera = DepthCameraModel(settings.cell.camera)
        control, physics = settings.cell.control, settings.cell.physics
        self._steps_per_setpoint = round(control.setpoint_period / physics.timestep)
        self._step_count = 0
        self._trajectory_step = 0
        self._follower = JointTrajectoryFollower(settings.arm_home)
        self._arm_setpoint: FloatArray = np.array(settings.arm_home, dtype=np.float64)
        self._arm_velocity: FloatArray = np.zeros_like(self._arm_setpoint)
        self._motors = IdealMotors(settings.cell.motors) if motors is None else motors
        self._emergency_stop = False
        self._protective_stop = False
        name = task.object_names[0] if object_name is None else object_name
        self._world, self._data = self._lay_out(task, name, scene_seed, None)

    @property
    def time(self) -> float:
        """Simulated time since the start. [s]."""
        return self._step_count * self._settings.cell.physics.timestep

    @property
    def setpoint_period(self) -> float:
        """Smallest duration that `advance` takes. [s]."""
        return self._steps_per_setpoint * self._settings.cell.physics.timestep

    @property
    def step_count(self) -> int:
        """Integration steps since the start."""
        return self._step_count

    @property
    def collided(self) -> bool:
        """Whether the arm hit something since the last reset."""
        return self._collided

    @property
    def breakdown(self) -> str:
        """How the simulation became unstable since the last reset; empty where it did not.

        After it the robot stands where it was, with an error of the arm, and touches nothing of
        the scene any more; the episode counts for nothing.
        """
        return self._breakdown

    def advance(self, duration: float) -> None:
        """Simulate a duration [s], rounded to whole setpoint periods."""
        for _ in range(round(duration / self.setpoint_period)):
            self._update_setpoints()
            mujoco.mj_step(self._world.model, self._data, nstep=self._steps_per_setpoint)
            self._step_count += self._steps_per_setpoint
            self._watch()

    def follow_arm(
        self, times_from_start: npt.ArrayLike, positions: npt.ArrayLike, start: float | None = None
    ) -> bool:
        """Replace the arm trajectory; see `JointTrajectoryFollower.follow`.

        Args:
            times_from_start: Shape (m,). [s].
            positions: Shape (m, 6). [rad].
            start: When it starts, on this cell's clock; now when None. [s].

        Returns:
            False when it was refused: an emergency stop is pressed, or the arm was stopped by a
            collision and the trajectory does not start where the arm is.

        Raises:
            InvalidInputError: The trajectory is malformed.
        """
        points = finite_array('positions', positions, (-1, len(self._arm_setpoint)))
        if self._emergency_stop:
            return False
        if self._protective_stop and len(points) > 0:
            distance = np.abs(points[0] - self._data.qpos[ARM]).max()
            if distance > self._settings.cell.control.restart_tolerance:
                return False
        delay = 0.0 if start is None else start - self.time
        self._follower.follow(times_from_start, points, self._since_trajectory(0), delay)
        self._trajectory_step = self._step_count
        self._protective_stop = False
        return True

    def hold_arm(self) -> None:
        """Drop the arm trajectory and stay where the arm is."""
        self._follower.hold(self._data.qpos[ARM])

    def set_emergency_stop(self, pressed: bool) -> None:
        """Press or release the emergency stop; the arm holds where it is."""
        if pressed and not self._emergency_stop:
            self.hold_arm()
        self._emergency_stop = pressed

    def arm_state(self) -> JointSample:
        """Measured arm joints. Shapes (6,)."""
        data = self._data
        return JointSample(
            data.qpos[ARM].copy(), data.qvel[ARM].copy(), data.actuator_force[ARM].copy()
        )

    def motor_state(self) -> JointSample:
        """Measured tendon motors. Shapes (12,)."""
        return self._motors.state(self._tendons())

    def flange_pose(self) -> FloatArray:
        """`T_base_flange`, as the arm's controller reports it. Shape (4, 4). [m]."""
        site = self._data.site(FLANGE_SITE)
        return transform(site.xmat.reshape(3, 3), site.xpos)

    def observed_hand_joints(self) -> FloatArray:
        """Finger joints as a camera tracker would see them, with noise. Shape (16,). [rad]."""
        sigma = self._settings.cell.variation.observed_joint_sigma
        exact = self._data.qpos[HAND]
        return np.asarray(exact + sigma * self._sensor_generator.standard_normal(exact.shape))

    def capture(self) -> RgbdFrame:
        """Take one picture; must be called from the thread that took the first.

        Raises:
            DeviceError: No offscreen OpenGL on this machine, or another thread.
        """
        exact = self.capture_exact()
        return RgbdFrame(
            stamp=exact.stamp,
            color=self._camera.color(exact.color, self._sensor_generator),
            depth=self._camera.depth(exact.depth, self._sensor_generator),
            intrinsics=exact.intrinsics,
            frame_id=exact.frame_id,
        )

    def capture_exact(self) -> RgbdFrame:
        """The picture without the faults of a camera; for benchmarks and tests."""
        camera = self._settings.cell.camera
        if self._renderer is None:
            self._renderer = OffscreenRenderer(camera.width, camera.height)
        color, depth = self._renderer.render(self._world.model, self._data, CAMERA)
        return RgbdFrame(
            stamp=self.time,
            color=color,
            depth=depth,
            intrinsics=camera.intrinsics,
            frame_id=self._settings.calibration.camera_frame,
        )

    def camera_pose(self) -> FloatArray:
        """True `T_base_camera`, for benchmarks and tests. Shape (4, 4). [m]."""
        return self._settings.cell.camera.T_base_camera

    def reset_scene(
        self, object_name: str, scene_seed: int, task: SimulatedTask | None = None
    ) -> None:
        """Take the old scene away and lay out another one; the robot stays as it is.

        Args:
            object_name: One of the task's.
            scene_seed: Seed of place, friction, mass and noise; not negative.
            task: The same as before when None.

        Raises:
            InvalidInputError: Unknown object or negative seed; the old scene stays.
            SafetyError: Arm or hand is where the object goes; the old scene stays.
        """
        task = self._world.task if task is None else task
        self._world, self._data = self._lay_out(task, object_name, scene_seed, self._data)

    def return_robot_home(self) -> None:
        """Put arm and hand into their first state at once; hardware cannot do this."""
        data = self._data
        data.qpos[: HAND.stop] = 0.0
        data.qpos[ARM] = self._settings.arm_home
        data.qvel[: HAND.stop] = 0.0
        self._arm_setpoint = np.array(self._settings.arm_home, dtype=np.float64)
        self._arm_velocity = np.zeros_like(self._arm_setpoint)
        self._follower.hold(self._arm_setpoint)
        if self._arm is not None:
            self._arm.place(self._arm_setpoint)
        self._motors.home()
        self._protective_stop = False
        self._apply_setpoints()
        mujoco.mj_forward(self._world.model, data)

    @property
    def object_name(self) -> str:
        """What lies on the table."""
        return self._world.object_name

    def object_position(self) -> FloatArray:
        """Origin of the object's body, base frame; for tests and benchmarks. Shape (3,). [m]."""
        return np.array(self._data.body(OBJECT_BODY).xpos)

    def expert_grasp(self) -> GraspParameters:
        """A good grasp of what lies on the table; for the demonstration and tests alone."""
        return self._world.task.expert_grasp(self._data, self.object_name)

    def evaluate(self, *, exact: bool = False) -> SceneEvaluation:
        """Judge the episode since the last reset; for the operator alone.

        The score is what a person would say, and stays the same when asked again; `exact`: that
        of the task's judge, for tests.
        """
        if self._breakdown:
            return SceneEvaluation(0.0, False, self._breakdown)
        verdict = self._judge.evaluate()
        if exact:
            return verdict
        eyes = np.random.default_rng(self._operator_seed)
        score = as_a_person_scores(verdict.score, self._settings.cell.operator, eyes)
        return replace(verdict, score=score)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _lay_out(
        self,
        task: SimulatedTask,
        object_name: str,
        scene_seed: int,
        previous: mujoco.MjData | None,
    ) -> tuple[World, mujoco.MjData]:
        if scene_seed < 0:
            raise InvalidInputError(f'The scene seed must not be negative, got {scene_seed}.')
        if (task, object_name) not in self._worlds:
            parts = (self._settings, task, object_name, self._board, self._mounting)
            self._worlds[task, object_name] = World(*parts)
        world = self._worlds[task, object_name]
        seeds = np.random.SeedSequence(scene_seed).spawn(4)
        layout, variation, sensor = (np.random.default_rng(seed) for seed in seeds[:3])
        data = mujoco.MjData(world.model)
        if previous is None:
            data.qpos[ARM] = self._settings.arm_home
        else:
            data.qpos[: HAND.stop] = previous.qpos[: HAND.stop]
            data.qvel[: HAND.stop] = previous.qvel[: HAND.stop]
        world.set_tangible(True)
        task.lay_out(data, object_name, layout)
        mujoco.mj_forward(world.model, data)
        if world.robot_touches_object(data):
            raise SafetyError(
                'Arm or hand is where the object goes; move the arm home before the scene reset.'
            )
        variations = self._settings.cell.variation
        world.vary(variations, variation)
        share = variations.motor_gain_share * variation.uniform(-1.0, 1.0, len(MOTOR_NAMES))
        self._excursion_per_angle = self._settings.cell.motors.spool_radius * (1.0 + share)
        gain, damping = world.model.actuator_gainprm[ARM, 0], -world.model.actuator_biasprm[ARM, 2]
        self._servo_damping_time = damping / gain
        self._sensor_generator = sensor
        self._operator_seed = seeds[3]
        self._judge = task.judge()
        self._collided = False
        self._breakdown = ''
        self._scene_seed = scene_seed
        self._sound_robot = data.qpos[: HAND.stop].copy()
        self._protective_stop = False
        self._arm_in_contact = False
        self._apply_setpoints(data)
        mujoco.mj_forward(world.model, data)
        return world, data

    def _since_trajectory(self, steps_ahead: int) -> float:
        """Time since the arm trajectory was taken; exact, because it is counted in steps. [s]."""
        steps = self._step_count + steps_ahead - self._trajectory_step
        return steps * self._settings.cell.physics.timestep

    def _tendons(self) -> TendonSample:
        data = self._data
        return TendonSample(
            data.ten_length.copy(),
            data.ten_velocity.copy(),
            data.actuator_force[MOTORS].copy(),
            self._excursion_per_angle,
            self._spool_zeros,
        )

    def _update_setpoints(self) -> None:
        control = self._settings.cell.control
        # The servos are given the setpoint of the end of the period, as a controller does.
        arm_step = control.arm_velocity_limit * self.setpoint_period
        if self._arm is None:
            arm_target = self._follower.sample(self._since_trajectory(self._steps_per_setpoint))
        else:
            arm_target = self._arm.step(self.setpoint_period, self._data.qpos[ARM])
        arm_change = np.clip(arm_target - self._arm_setpoint, -arm_step, arm_step)
        self._arm_setpoint = self._arm_setpoint + arm_change
        self._arm_velocity = arm_change / self.setpoint_period
        self._motors.step(self.setpoint_period, self._tendons())
        self._apply_setpoints()

    def _apply_setpoints(self, data: mujoco.MjData | None = None) -> None:
        control = (self._data if data is None else data).ctrl
        # Velocity feed-forward: without it the damping of the servos makes them lag.
        control[ARM] = self._arm_setpoint + self._servo_damping_time * self._arm_velocity
        control[MOTORS] = (self._motors.positions - self._spool_zeros) * self._excursion_per_angle

    def _watch(self) -> None:
        """Look at contacts after a setpoint period: score, collision, numerical health."""
        data = self._data
        for warning in _FATAL_WARNINGS:
            if data.warning[warning].number > 0:
                self._break_down(warning.name)
        if self._breakdown:
            return
        self._sound_robot = data.qpos[: HAND.stop].copy()
        contacts = self._world.contacts(data)
        hit = contacts.arm_force > self._settings.cell.control.collision_force
        if hit and not self._arm_in_contact:
            # As the arm's controller: stop, and take no motion that was planned from elsewhere.
            self._collided = True
            self._protective_stop = True
            self.hold_arm()
            if self._arm is not None:
                self._arm.collided(data.qpos[ARM])
        self._arm_in_contact = hit
        self._judge.watch(data, contacts, collided=self._collided)

    def _break_down(self, warning: str) -> None:
        """Note that the physics failed, and put the robot back to where it was; nothing else."""
        model, data = self._world.model, self._data
        self._breakdown = (
            f'the simulation became unstable ({warning}) with {self.object_name}, scene seed '
            f'{self._scene_seed}'
        )
        mujoco.mj_resetData(model, data)
        data.qpos[: HAND.stop] = self._sound_robot
        self._world.set_tangible(False)
        self._protective_stop = True
        self.hold_arm()
        if self._arm is not None:
            self._arm.fail(UNKNOWN)
        self._apply_setpoints()
        mujoco.mj_forward(model, data)
