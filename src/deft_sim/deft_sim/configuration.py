# SPDX-License-Identifier: Apache-2.0
"""Settings of the simulated cell, read from `config/simulation` and `config/calibration`.

Beside every value in `config/simulation/cell.yaml` stands what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deft_arm.configuration import load_arm_configuration
from deft_core.camera import CameraIntrinsics
from deft_core.configuration import bounds, load_yaml
from deft_core.errors import ConfigurationError
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray
from deft_hand_driver.simulated_hand import MountingErrors
from deft_perception.calibration.calibration_file import CameraCalibration, load_named_calibration
from deft_sim.operator_score import OperatorConfiguration

ARM = 'xarm6'
HAND = 'dash'
CALIBRATION = 'simulated_cell'


@dataclass(frozen=True)
class PhysicsConfiguration:
    """Solver settings."""

    timestep: float = field(metadata=bounds(1e-4, 0.005, 's'))
    iterations: int = field(metadata=bounds(1, 500))
    tolerance: float = field(metadata=bounds(1e-9, 1e-3))
    noslip_iterations: int = field(metadata=bounds(0, 100))
    impratio: float = field(metadata=bounds(1.0, 1000.0))


@dataclass(frozen=True)
class ControlConfiguration:
    """How the arm is driven."""

    setpoint_period: float = field(metadata=bounds(1e-3, 0.1, 's'))
    arm_velocity_limit: float = field(metadata=bounds(1e-9, 3.14, 'rad/s'))
    collision_force: float = field(metadata=bounds(1e-9, 1000.0, 'N'))
    restart_tolerance: float = field(metadata=bounds(1e-9, 1.0, 'rad'))


@dataclass(frozen=True)
class MotorConfiguration:
    """From a motor angle to a tendon, and from tension to motor current."""

    spool_radius: float = field(metadata=bounds(1e-9, 0.05, 'm'))
    torque_constant: float = field(metadata=bounds(1e-9, 20.0, 'N m/A'))
    velocity_limit: float = field(metadata=bounds(1e-9, 100.0, 'rad/s'))


@dataclass(frozen=True)
class VariationConfiguration:
    """What differs from one reset to the next besides the place of the object."""

    friction_factor: tuple[float, float] = field(metadata=bounds(0.01, 5.0))
    mass_share: float = field(metadata=bounds(0.0, 0.9))
    motor_gain_share: float = field(metadata=bounds(0.0, 0.9))
    observed_joint_sigma: float = field(metadata=bounds(0.0, 1.0, 'rad'))


@dataclass(frozen=True)
class CameraConfiguration:
    """Intrinsics and place of the colour camera, and the faults of its stereo depth."""

    width: int = field(metadata=bounds(16, 1280, 'pixel'))
    height: int = field(metadata=bounds(16, 960, 'pixel'))
    fx: float = field(metadata=bounds(1e-9, 5000.0, 'pixel'))
    fy: float = field(metadata=bounds(1e-9, 5000.0, 'pixel'))
    cx: float = field(metadata=bounds(1e-9, 5000.0, 'pixel'))
    cy: float = field(metadata=bounds(1e-9, 5000.0, 'pixel'))
    color_sigma: float = field(metadata=bounds(0.0, 50.0))
    depth_axial: float = field(metadata=bounds(0.0, 0.1, '1/m'))
    depth_quantum: float = field(metadata=bounds(1e-9, 0.1, 'm'))
    depth_minimum: float = field(metadata=bounds(0.0, 2.0, 'm'))
    depth_maximum: float = field(metadata=bounds(1e-9, 20.0, 'm'))
    edge_step: float = field(metadata=bounds(1e-9, 1.0, 'm'))
    edge_width: int = field(metadata=bounds(0, 20, 'pixel'))
    grazing_cosine: float = field(metadata=bounds(0.0, 1.0))
    hole_share: float = field(metadata=bounds(0.0, 0.5))
    translation: tuple[float, float, float] = field(metadata=bounds(-5.0, 5.0, 'm'))
    rotation_xyzw: tuple[float, float, float, float] = field(metadata=bounds(-1.001, 1.001))

    @property
    def T_base_camera(self) -> FloatArray:  # noqa: N802
        """Where it really stands; maps camera coordinates to the base. Shape (4, 4). [m]."""
        return transform(matrix_from_quaternion(self.rotation_xyzw), self.translation)

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The pinhole model of both images."""
        return CameraIntrinsics(self.width, self.height, self.fx, self.fy, self.cx, self.cy)


@dataclass(frozen=True)
class BoardMount:
    """Where the calibration board sits on the flange while one is mounted."""

    board: str
    translation: tuple[float, float, float] = field(metadata=bounds(-0.5, 0.5, 'm'))
    rotation_xyzw: tuple[float, float, float, float] = field(metadata=bounds(-1.001, 1.001))

    @property
    def T_flange_board(self) -> FloatArray:  # noqa: N802
        """Maps board coordinates to the flange. Shape (4, 4). [m]."""
        return transform(matrix_from_quaternion(self.rotation_xyzw), self.translation)


@dataclass(frozen=True)
class CellConfiguration:
    """Everything about the cell that is no task; `config/simulation/cell.yaml`."""

    physics: PhysicsConfiguration
    control: ControlConfiguration
    motors: MotorConfiguration
    variation: VariationConfiguration
    camera: CameraConfiguration
    operator: OperatorConfiguration
    board_mount: BoardMount
    hand_mounting: MountingErrors = field(default_factory=MountingErrors)

    def __post_init__(self) -> None:
        """Refuse setpoints that come faster than the steps of the physics."""
        if self.control.setpoint_period < self.physics.timestep:
            raise ConfigurationError(
                f'setpoint_period must be at least timestep, got {self.control.setpoint_period} '
                f'and {self.physics.timestep} s.'
            )


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulated world is built from."""

    cell: CellConfiguration  # table, robot, camera and noise
    calibration: CameraCalibration  # where perception believes that the camera stands
    arm_home: tuple[float, ...]  # arm joints when the world starts, shape (6,) [rad]


def load_simulation_settings(
    directory: Path, calibration: str = CALIBRATION
) -> SimulationSettings:
    """Read the simulation part of a configuration folder.

    Args:
        directory: The folder.
        calibration: File in its `calibration` folder, without .yaml.

    Raises:
        ConfigurationError: A file is missing or wrong.
    """
    return SimulationSettings(
        cell=load_yaml(directory / 'simulation' / 'cell.yaml', CellConfiguration),
        calibration=load_named_calibration(calibration, directory),
        arm_home=load_arm_configuration(ARM, directory).home,
    )
