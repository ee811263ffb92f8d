# SPDX-License-Identifier: Apache-2.0
"""A printed calibration board on a bracket of the flange, to look at and not to touch."""

from __future__ import annotations

import mujoco
import numpy as np

from deft_core.rotations import quaternion_from_matrix
from deft_core.validation import FloatArray
from deft_description.models import FLANGE_SITE
from deft_perception.calibration.board import BoardConfiguration, draw_board, drawn_size

BOARD = 'calibration_board'
_PIXELS_PER_METRE = 8000.0  # finer than any camera of the cell sees it
_THICKNESS = 0.003  # [m]


def add_board(spec: mujoco.MjSpec, board: BoardConfiguration, T_flange_board: FloatArray) -> None:
    """Fix a board to the flange.

    It has looks but neither mass nor contacts, so it moves nothing.

    Args:
        spec: Robot and world.
        board: What is printed; the picture is drawn here by OpenCV.
        T_flange_board: Maps board coordinates (x along its rows, y along its columns, z into it)
            to the flange. Shape (4, 4). [m].
    """
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
