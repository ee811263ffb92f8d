# SPDX-License-Identifier: Apache-2.0
"""Draw what arm and hand sweep in one planned episode, inside the envelope of the cell.

Look at it after changing envelope, obstacles or home in config/arms.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Final

import mujoco
import numpy as np
from PIL import Image

from deft_affordance.wrist_poses import SIDE_GRASP
from deft_arm.configuration import ArmConfiguration, load_arm_configuration
from deft_arm.planning.planner import EpisodePlanner
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, RecordingError
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.task import load_task
from deft_core.validation import FloatArray
from deft_description.models import ARM_JOINT_NAMES, robot_spec

_WIDTH: Final = 960  # [pixel]
_HEIGHT: Final = 540
_GHOSTS: Final = 10  # postures drawn through
_ALPHA: Final = 0.25
_EDGE: Final = 0.004  # [m] half thickness
_GREEN: Final = (0.10, 0.45, 0.20, 1.0)
_RED: Final = (0.90, 0.38, 0.45, 1.0)
_WOOD: Final = (0.89, 0.85, 0.79, 1.0)


def main(arguments: list[str] | None = None) -> int:
    """Plan one grasp and draw it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('output', type=Path, help='picture to write, .png or .webp')
    parser.add_argument('--arm', default='xarm6', help='file in config/arms (%(default)s)')
    parser.add_argument('--task', default='pick_cup', help='file in config/tasks (%(default)s)')
    parser.add_argument(
        '--position',
        type=float,
        nargs=3,
        metavar=('X', 'Y', 'Z'),
        default=(0.55, 0.0, 0.08),
        help='of the grasp centre in the base frame, m (%(default)s)',
    )
    options = parser.parse_args(arguments)
    try:
        configuration = load_arm_configuration(options.arm)
        postures = _postures(configuration, options.task, np.array(options.position))
        _draw(configuration, postures, options.output)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError | InvalidInputError) else 3
    print(f'wrote {options.output}')
    return 0


def _postures(configuration: ArmConfiguration, task_name: str, position: FloatArray) -> FloatArray:
    """Joint positions of arm and hand along an episode with a side grasp. Shape (n, 22). [rad]."""
    task = load_task(task_name, config_directory())
    wrist = euler_from_matrix(SIDE_GRASP)
    plan = EpisodePlanner(configuration).plan(
        GraspParameters(position, wrist, np.array(task.half_closed_hand)),
        task.load_trajectory(config_directory()),
        task.pregrasp.distance,
        task.pregrasp.direction,
        configuration.home,
        task.open_hand,
    )
    hand, rows = np.array(task.open_hand), []
    for phase in plan.phases:
        if phase.hand_joint_positions is not None:
            hand = phase.hand_joint_positions
        rows += [np.concatenate([arm, hand]) for arm in phase.arm.positions]
    chosen = np.linspace(0, len(rows) - 1, _GHOSTS).round().astype(int)
    return np.array([rows[index] for index in chosen])


def _draw(configuration: ArmConfiguration, postures: FloatArray, output: Path) -> None:
    model = _cell(configuration)
    data = mujoco.MjData(model)
    names = (*ARM_JOINT_NAMES, *HAND_JOINT_NAMES)
    addresses = [int(model.jnt_qposadr[model.joint(name).id]) for name in names]
    with mujoco.Renderer(model, _HEIGHT, _WIDTH) as renderer:
        for number, posture in enumerate(postures):
            data.qpos[addresses] = posture
            mujoco.mj_forward(model, data)
            if number == 0:
                renderer.update_scene(data, _camera(configuration))
                continue
            first = renderer.scene.ngeom
            mujoco.mjv_addGeoms(
                model, data, mujoco.MjvOption(), mujoco.MjvPerturb(),
                mujoco.mjtCatBit.mjCAT_DYNAMIC, renderer.scene,
            )  # fmt: skip
            for geom in renderer.scene.geoms[first : renderer.scene.ngeom]:
                geom.rgba[3] = 1.0 if number == len(postures) - 1 else _ALPHA
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_HAZE):
            renderer.scene.flags[effect] = 0
        picture = renderer.render()
    try:
        Image.fromarray(picture).save(output)
    except (OSError, ValueError) as error:
        raise RecordingError(f'Cannot write the picture {output}: {error}') from error


def _cell(configuration: ArmConfiguration) -> mujoco.MjModel:
    """The robot with table, obstacles and the edges of the envelope."""
    spec = robot_spec()
    spec.visual.headlight.ambient = [0.3, 0.3, 0.3]
    spec.visual.global_.offwidth, spec.visual.global_.offheight = _WIDTH, _HEIGHT
    spec.add_texture(
        name='sky',
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[1.0, 1.0, 1.0],
        rgb2=[1.0, 1.0, 1.0],
        width=16,
        height=96,
    )
    spec.worldbody.add_light(pos=[1.0, -1.0, 3.0], dir=[-0.3, 0.3, -1.0], castshadow=False)
    lower, upper = np.array(configuration.envelope_lower), np.array(configuration.envelope_upper)
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    table = configuration.table_height
    _box(spec, (middle[0], middle[1], table - 0.01), (half[0], half[1], 0.01), _WOOD)
    for axis in range(3):
        rest = [other for other in range(3) if other != axis]
        for signs in itertools.product((-1.0, 1.0), repeat=2):
            centre, size = middle.copy(), np.full(3, _EDGE)
            size[axis] = half[axis]
            centre[rest] += np.array(signs) * half[rest]
            _box(spec, centre, size, _GREEN)
    for obstacle in configuration.obstacles:
        _box(spec, obstacle.centre, 0.5 * np.array(obstacle.size), _RED, obstacle.yaw)
    return spec.compile()


def _box(
    spec: mujoco.MjSpec,
    centre: FloatArray | tuple[float, ...],
    half_size: FloatArray | tuple[float, ...],
    rgba: tuple[float, ...],
    yaw: float = 0.0,
) -> None:
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=list(centre),
        size=list(half_size),
        quat=[np.cos(0.5 * yaw), 0.0, 0.0, np.sin(0.5 * yaw)],
        rgba=list(rgba),
        contype=0,
        conaffinity=0,
    )


def _camera(configuration: ArmConfiguration) -> mujoco.MjvCamera:
    """Sees the whole envelope from the front right, a little from above."""
    lower, upper = np.array(configuration.envelope_lower), np.array(configuration.envelope_upper)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = 0.5 * (lower + upper)
    camera.lookat[2] = lower[2] + 0.35 * (upper[2] - lower[2])
    camera.distance = 1.1 * float(np.linalg.norm(upper - lower))
    camera.azimuth, camera.elevation = 150.0, -18.0
    return camera


if __name__ == '__main__':
    sys.exit(main())
