# SPDX-License-Identifier: Apache-2.0
"""Settings of the simulated cell, read from `config/simulation` and `config/calibration`.

Beside every value in `config/simulation/cell.yaml` stands what it means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deft_arm.configuration import load_arm_configuration
from deft_core.camera import CameraIntrinsics
from deft_core.configuration import load_yaml
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray
from deft_hand_driver.simulated_hand import MountingErrors
from deft_perception.calibration.calibration_file import CameraCalibration, load_named_calibration

ARM = 'xarm6'
HAND = 'dash'
CALIBRATION = 'simulated_cell'


def _positive(unit: str, maximum: float) -> dict[str, Any]:
    return {'minimum': 1e-9, 'maximum': maximum, 'unit': unit}


def _share() -> dict[str, Any]:
    return {'minimum': 0.0, 'maximum': 0.9}


@dataclass(frozen=True)
class PhysicsConfiguration:
    """Solver settings."""

    timestep: float = field(metadata=_positive('s', 0.005))
    iterations: int = field(metadata={'minimum': 1, 'maximum': 500})
    tolerance: float = field(metadata=_positive('', 1e-3))
    noslip_iterations: int = field(metadata={'minimum': 0, 'maximum': 100})
    impratio: float = field(metadata={'minimum': 1.0, 'maximum': 1000.0})


@dataclass(frozen=True)
class ControlConfiguration:
    """How the arm is driven."""

    setpoint_period: float = field(metadata=_positive('s', 0.1))
    arm_velocity_limit: float = field(metadata=_positive('rad/s', 3.14))
    collision_force: float = field(metadata=_positive('N', 1000.0))
    restart_tolerance: float = field(metadata=_positive('rad', 1.0))


@dataclass(frozen=True)
class MotorConfiguration:
    """From a motor angle to a tendon, and from tension to motor current."""

    spool_radius: float = field(metadata=_positive('m', 0.05))
    torque_constant: float = field(metadata=_positive('N m/A', 20.0))
    velocity_limit: float = field(metadata=_positive('rad/s', 100.0))


@dataclass(frozen=True)
class VariationConfiguration:
    """What differs from one reset to the next besides the place of the object."""

    friction_share: float = field(metadata=_share())
    mass_share: float = field(metadata=_share())
    motor_gain_share: float = field(metadata=_share())
    observed_joint_sigma: float = field(metadata={'minimum': 0.0, 'maximum': 1.0, 'unit': 'rad'})


@dataclass(frozen=True)
class CameraConfiguration:
    """Intrinsics of the colour camera, and the faults of its stereo depth."""

    width: int = field(metadata={'minimum': 16, 'maximum': 1280, 'unit': 'pixel'})
    height: int = field(metadata={'minimum': 16, 'maximum': 960, 'unit': 'pixel'})
    fx: float = field(metadata=_positive('pixel', 5000.0))
    fy: float = field(metadata=_positive('pixel', 5000.0))
    cx: float = field(metadata=_positive('pixel', 5000.0))
    cy: float = field(metadata=_positive('pixel', 5000.0))
    color_sigma: float = field(metadata={'minimum': 0.0, 'maximum': 50.0})
    depth_axial: float = field(metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': '1/m'})
    depth_quantum: float = field(metadata=_positive('m', 0.1))
    depth_minimum: float = field(metadata={'minimum': 0.0, 'maximum': 2.0, 'unit': 'm'})
    depth_maximum: float = field(metadata=_positive('m', 20.0))
    edge_step: float = field(metadata=_positive('m', 1.0))
    edge_width: int = field(metadata={'minimum': 0, 'maximum': 20, 'unit': 'pixel'})
    grazing_cosine: float = field(metadata={'minimum': 0.0, 'maximum': 1.0})
    hole_share: float = field(metadata={'minimum': 0.0, 'maximum': 0.5})
    mounting_error: tuple[float, float, float] = field(
        metadata={'minimum': -0.05, 'maximum': 0.05, 'unit': 'm'}
    )

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The pinhole model of both images."""
        return CameraIntrinsics(self.width, self.height, self.fx, self.fy, self.cx, self.cy)


@dataclass(frozen=True)
class BoardMount:
    """Where the calibration board sits on the flange while one is mounted."""

    board: str
    translation: tuple[float, float, float] = field(
        metadata={'minimum': -0.5, 'maximum': 0.5, 'unit': 'm'}
    )
    rotation_xyzw: tuple[float, float, float, float] = field(
        metadata={'minimum': -1.001, 'maximum': 1.001}
    )

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
    board_mount: BoardMount
    hand_mounting: MountingErrors = field(default_factory=MountingErrors)


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulated world is built from."""

    cell: CellConfiguration  # table, robot, camera and noise
    calibration: CameraCalibration  # where the camera stands, up to its mounting error
    arm_home: tuple[float, ...]  # arm joints when the world starts, shape (6,) [rad]


def load_simulation_settings(directory: Path) -> SimulationSettings:
    """Read the simulation part of a configuration folder.

    Raises:
        ConfigurationError: A file is missing or wrong.
    """
    return SimulationSettings(
        cell=load_yaml(directory / 'simulation' / 'cell.yaml', CellConfiguration),
        calibration=load_named_calibration(CALIBRATION, directory),
        arm_home=load_arm_configuration(ARM, directory).home,
    )
