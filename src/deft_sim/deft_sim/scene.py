# SPDX-License-Identifier: Apache-2.0
"""The cell around the robot as a MuJoCo specification: table, light, camera, calibration board."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.rotations import quaternion_from_matrix
from deft_core.validation import FloatArray
from deft_description.models import FLANGE_SITE, robot_spec
from deft_perception.calibration.board import BoardConfiguration, draw_board, drawn_size
from deft_sim.configuration import CameraConfiguration, PhysicsConfiguration, SimulationSettings
from deft_sim.tasks import CONTACT

CAMERA = 'camera'
TABLE = 'table'
BOARD = 'calibration_board'
_PIXELS_PER_METRE = 8000.0  # of the board; finer than any camera of the cell sees it
_THICKNESS = 0.003  # [m] of the board


def build_cell(
    settings: SimulationSettings, board: BoardConfiguration | None = None
) -> mujoco.MjSpec:
    """Robot, table and camera, not yet compiled; tasks add what stands on the table.

    The base frame of the robot is the world frame; the table top is the plane z = 0.
    """
    spec = robot_spec()
    spec.modelname = 'deft_cell'
    _set_solver(spec, settings.cell.physics)
    _add_room(spec)
    _add_camera(spec, settings.cell.camera)
    if board is not None:
        _add_board(spec, board, settings.cell.board_mount.T_flange_board)
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
    # The elliptic cone is what lets a grasp hold; the pyramidal one drops the object.
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
        priority=1,  # its friction is that of its contacts
        **CONTACT,
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


def _add_camera(spec: mujoco.MjSpec, camera: CameraConfiguration) -> None:
    T_base_camera = camera.T_base_camera
    # MuJoCo looks along -z with y up; the optical frame looks along z with y down.
    x, y, z, w = quaternion_from_matrix(T_base_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0]))
    spec.worldbody.add_camera(
        name=CAMERA,
        pos=T_base_camera[:3, 3],
        quat=[w, x, y, z],
        resolution=[camera.width, camera.height],
        sensor_size=[0.001 * camera.width, 0.001 * camera.height],
        focal_pixel=[camera.fx, camera.fy],
        # From the principal point to the image centre; our pixel centres are whole numbers.
        principal_pixel=[
            (camera.width - 1) / 2.0 - camera.cx,
            (camera.height - 1) / 2.0 - camera.cy,
        ],
    )


def _add_board(spec: mujoco.MjSpec, board: BoardConfiguration, T_flange_board: FloatArray) -> None:
    """Fix a board to the flange: looks, but neither mass nor contacts, so it moves nothing."""
    picture = np.repeat(draw_board(board, _PIXELS_PER_METRE)[..., None], 3, axis=2)
    texture = spec.add_texture(
        name=BOARD,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        colorspace=mujoco.mjtColorSpace.mjCOLORSPACE_LINEAR,
        width=picture.shape[1],
        height=picture.shape[0],
        nchannel=3,
    )
    texture.data = picture.tobytes()
    material = spec.add_material(name=BOARD, specular=0.0, shininess=0.0, reflectance=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = BOARD
    width, height = drawn_size(board)
    margin_x, margin_y = (width - board.size[0]) / 2.0, (height - board.size[1]) / 2.0
    left, right = -margin_x, board.size[0] + margin_x
    top, bottom = -margin_y, board.size[1] + margin_y
    spec.add_mesh(
        name=BOARD,
        uservert=[left, top, 0.0, right, top, 0.0, right, bottom, 0.0, left, bottom, 0.0],
        userface=[0, 2, 1, 0, 3, 2],
        usertexcoord=[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    x, y, z, w = quaternion_from_matrix(T_flange_board[:3, :3])
    body = spec.site(FLANGE_SITE).parent.add_body(
        name=BOARD, pos=T_flange_board[:3, 3], quat=[w, x, y, z], gravcomp=1.0
    )
    looks = {'contype': 0, 'conaffinity': 0, 'group': 1, 'mass': 0.0}
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=BOARD, material=BOARD, **looks)
    body.add_geom(
        name=BOARD,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[(left + right) / 2.0, (top + bottom) / 2.0, _THICKNESS / 2.0 + 0.0005],
        size=[width / 2.0, height / 2.0, _THICKNESS / 2.0],
        rgba=[0.35, 0.36, 0.38, 1.0],
        **looks,
    )
