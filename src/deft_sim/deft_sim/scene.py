# SPDX-License-Identifier: Apache-2.0
"""The world around the robot: table, light, camera and one object, as a MuJoCo specification."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError
from deft_core.rotations import quaternion_from_matrix
from deft_description.models import robot_spec
from deft_perception.calibration.board import BoardConfiguration
from deft_sim.calibration_board import add_board
from deft_sim.configuration import CameraConfiguration, PhysicsConfiguration, SimulationSettings
from deft_sim.cups import add_cup

CAMERA = 'camera'
TABLE = 'table'


def build_world(
    settings: SimulationSettings, object_name: str, board: BoardConfiguration | None = None
) -> mujoco.MjSpec:
    """Returns robot, table, camera and the named object, not yet compiled.

    The base frame of the robot is the world frame; the table top is the plane z = 0.

    Args:
        settings: Sizes, solver and camera.
        object_name: A name of the catalogue.
        board: Calibration board on the flange, if there is one.

    Raises:
        InvalidInputError: The catalogue has no such object.
    """
    cups = settings.objects.cups
    if object_name not in cups:
        raise InvalidInputError(f'Unknown object {object_name!r}; {nearest(object_name, cups)}')
    spec = robot_spec()
    spec.modelname = 'deft_cell'
    _set_solver(spec, settings.cell.physics)
    _add_room(spec)
    _add_camera(spec, settings)
    add_cup(spec, cups[object_name])
    if board is not None:
        add_board(spec, board, settings.cell.board_mount.T_flange_board)
    return spec


def _set_solver(spec: mujoco.MjSpec, physics: PhysicsConfiguration) -> None:
    option = spec.option
    option.timestep = physics.timestep
    option.iterations = physics.iterations
    option.tolerance = physics.tolerance
    option.noslip_iterations = physics.noslip_iterations
    option.impratio = physics.impratio
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    # The elliptic cone is what lets a grasp hold; the pyramidal one drops the cup.
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC


def _add_room(spec: mujoco.MjSpec) -> None:
    spec.stat.extent = 1.0  # makes the clip distances below metres
    spec.stat.center = [0.4, 0.0, 0.2]
    spec.visual.map.znear = 0.05
    spec.visual.map.zfar = 6.0
    spec.visual.quality.offsamples = 4
    spec.visual.headlight.ambient = [0.34, 0.34, 0.34]
    spec.visual.headlight.diffuse = [0.18, 0.18, 0.18]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    world = spec.worldbody
    for name, position, diffuse in (
        ('window', [-0.6, 1.4, 1.6], 0.45),
        ('ceiling', [0.9, -0.6, 2.2], 0.38),
    ):
        world.add_light(
            name=name,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=position,
            dir=(np.array([0.45, 0.0, 0.0]) - position).tolist(),
            diffuse=[diffuse, diffuse, 0.97 * diffuse],
            specular=[0.15, 0.15, 0.15],
            castshadow=False,
        )
    world.add_geom(
        name=TABLE,
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.0, 1.0, 0.1],
        group=3,
        contype=1,
        conaffinity=7,
        condim=4,
        friction=[0.6, 0.003, 0.0001],
        solref=[0.006, 1.0],
    )
    looks = {
        'type': mujoco.mjtGeom.mjGEOM_BOX,
        'contype': 0,
        'conaffinity': 0,
        'group': 1,
    }
    world.add_geom(
        name='table_top',
        pos=[0.35, 0.0, -0.015],
        size=[0.50, 0.65, 0.015],
        rgba=[0.74, 0.70, 0.64, 1.0],
        **looks,
    )
    world.add_geom(
        name='floor',
        pos=[0.35, 0.0, -0.76],
        size=[4.0, 4.0, 0.01],
        rgba=[0.42, 0.45, 0.47, 1.0],
        **looks,
    )


def _add_camera(spec: mujoco.MjSpec, settings: SimulationSettings) -> None:
    T_base_camera = settings.calibration.T_base_camera
    # MuJoCo looks along -z with y up; the optical frame looks along z with y down.
    x, y, z, w = quaternion_from_matrix(T_base_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0]))
    camera: CameraConfiguration = settings.cell.camera
    spec.worldbody.add_camera(
        name=CAMERA,
        pos=(T_base_camera[:3, 3] + camera.mounting_error).tolist(),
        quat=[w, x, y, z],
        resolution=[camera.width, camera.height],
        sensor_size=[0.001 * camera.width, 0.001 * camera.height],
        focal_pixel=[camera.fx, camera.fy],
        principal_pixel=principal_offset(camera),
    )


def principal_offset(camera: CameraConfiguration) -> list[float]:
    """Principal point as MuJoCo wants it: from the principal point to the image centre. [pixel].

    Our pixel centres are whole numbers, so the middle of the image lies at (size - 1) / 2.
    """
    return [(camera.width - 1) / 2.0 - camera.cx, (camera.height - 1) / 2.0 - camera.cy]
