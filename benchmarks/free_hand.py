# SPDX-License-Identifier: Apache-2.0
"""The simulated hand in the air, driven through its servos: pairs for a learned tendon map."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.pairs import TendonPairs
from deft_hand_driver.calibration.poses import CalibrationPose
from deft_hand_driver.description import HandDescription
from deft_hand_driver.dynamixel.hand_motors import MotorScale
from deft_hand_driver.joint_map import JointMap
from deft_hand_driver.simulated_hand import HandMounting
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import SimulationSettings
from deft_sim.hand_motors import BusMotors
from deft_sim.tasks import simulated_task
from dynamixel_simulator.motor_models import OperatingMode

SETTLE_TIME: Final = 0.8  # [s] of simulated time for the largest motion and its end
_SOURCE: Final = 'simulated joints with noise'


class FreeHand:
    """Servos that are set up as the driver does it, with torque on. Use it from one thread."""

    def __init__(
        self,
        settings: SimulationSettings,
        description: HandDescription,
        mounting: HandMounting | None = None,
    ) -> None:
        """Hold the straight fingers.

        Args:
            settings: Of the cell; its noise of observed joints is what a tracker would add.
            description: What the driver believes about the hand.
            mounting: How the hand differs from that; not at all when None.
        """
        cell = settings.cell
        self._sigma = cell.variation.observed_joint_sigma
        exact = replace(cell, variation=replace(cell.variation, observed_joint_sigma=0.0))
        self._motors = BusMotors(description)
        task = simulated_task('pick_cup')  # any: the hand stays in the air
        self._cell = SimulatedCell(
            replace(settings, cell=exact), task, motors=self._motors, mounting=mounting
        )
        motors, bus = description.ordered_motors(), description.bus
        self._scale = MotorScale(motors)
        limits = self._scale.current_counts(np.array([m.current_limit for m in motors]))
        speeds = self._scale.speed_counts(description.motor_speed_limit)
        for servo, limit, speed in zip(
            self._motors.bus.servos, limits.tolist(), speeds.tolist(), strict=True
        ):
            servo.write_field('operating_mode', OperatingMode.CURRENT_BASED_POSITION)
            servo.write_field('position_p_gain', bus.position_p)
            servo.write_field('position_i_gain', bus.position_i)
            servo.write_field('position_d_gain', bus.position_d)
            servo.write_field('goal_current', limit)
            servo.write_field('profile_velocity', speed)
            servo.write_field('torque_enable', 1)

    def settle(self, commands: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Send motor commands and wait.

        Args:
            commands: Shape (m,). [rad].

        Returns:
            Measured motors, shape (m,), and true joints, shape (16,). [rad].
        """
        counts = self._scale.goal_counts(commands).tolist()
        for servo, count in zip(self._motors.bus.servos, counts, strict=True):
            servo.write_field('goal_position', count)
        self._cell.advance(SETTLE_TIME)
        return self._cell.motor_state().positions, self._cell.observed_hand_joints()

    def record_pairs(
        self, poses: Sequence[CalibrationPose], joint_map: JointMap, rng: np.random.Generator
    ) -> TendonPairs:
        """Visit postures and observe the joints with noise.

        Args:
            poses: In the order of the visit.
            joint_map: Turns them into commands, as the driver would.
            rng: Source of the noise.
        """
        commands = [joint_map.motors_from_joints(pose.joints) for pose in poses]
        settled = [self.settle(row) for row in commands]
        joints = np.array([true for _, true in settled])
        noise = self._sigma * rng.standard_normal((len(poses), len(HAND_JOINT_NAMES)))
        return TendonPairs(
            source=_SOURCE,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            sweeps=np.array([pose.sweep for pose in poses]),
            commands=np.array(commands),
            motors=np.array([measured for measured, _ in settled]),
            joints=joints + noise,
        )

    def close(self) -> None:
        """Free the world."""
        self._cell.close()
