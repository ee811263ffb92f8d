# SPDX-License-Identifier: Apache-2.0
"""What the simulated camera sees against what is there."""

from __future__ import annotations

import subprocess
import sys
import threading

import mujoco
import numpy as np
import pytest

from deft_core.errors import DeviceError
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import SimulationSettings
from deft_sim.objects.cups import CUPS
from deft_sim.rendering import OffscreenRenderer
from deft_sim.scene import CAMERA
from deft_sim.tasks import OBJECT_BODY, SimulatedTask
from deft_sim.world import World

pytestmark = pytest.mark.usefixtures('offscreen')


@pytest.fixture(scope='module')
def renderer(settings: SimulationSettings) -> OffscreenRenderer:
    return OffscreenRenderer(settings.cell.camera.width, settings.cell.camera.height)


def test_depth_equals_rays_through_the_pixels(
    settings: SimulationSettings, task: SimulatedTask, renderer: OffscreenRenderer
) -> None:
    """Intrinsics, extrinsics, row order and depth scale, against MuJoCo's own ray casting."""
    world = World(settings, task, 'red_mug')
    data = mujoco.MjData(world.model)
    data.joint(OBJECT_BODY).qpos = [0.55, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    data.qpos[:6] = settings.arm_home
    mujoco.mj_forward(world.model, data)
    _, depth = renderer.render(world.model, data, CAMERA)
    pose = settings.cell.camera.T_base_camera
    points = settings.cell.camera.intrinsics.deproject(depth)
    shown = np.array([1, 1, 1, 0, 0, 0], dtype=np.uint8)
    hit = np.zeros(1, dtype=np.int32)
    errors = []
    for row in range(20, 470, 30):
        for column in range(20, 630, 30):
            ray = pose[:3, :3] @ points[row, column]
            length = float(np.linalg.norm(ray))
            distance = mujoco.mj_ray(
                world.model, data, pose[:3, 3], ray / length, shown, 1, -1, hit
            )
            errors.append(abs(distance - length))
    # Antialiasing moves the depth sample by a fraction of a pixel: a millimetre on the table.
    assert float(np.median(errors)) < 0.001
    assert float(np.percentile(errors, 90)) < 0.004


def test_the_cup_is_seen_where_it_stands(
    settings: SimulationSettings, task: SimulatedTask
) -> None:
    cell = SimulatedCell(settings, task, 'red_mug', scene_seed=5)
    frame = cell.capture()
    cell.close()
    red = (frame.color[..., 0] > 110) & (frame.color[..., 1] < 70) & (frame.color[..., 2] < 70)
    assert red.sum() > 1500
    points = frame.intrinsics.deproject(frame.depth)[red & np.isfinite(frame.depth)]
    pose = settings.cell.camera.T_base_camera
    base = points @ pose[:3, :3].T + pose[:3, 3]
    centre = cell.object_position()
    distance = np.linalg.norm(np.median(base[:, :2], axis=0) - centre[:2])
    assert distance < 0.04  # the seen side lies one radius towards the camera
    height = CUPS['red_mug'].height
    assert np.percentile(base[:, 2], 98) == pytest.approx(height, abs=0.012)
    assert np.percentile(base[:, 2], 2) > -0.006


def test_the_arm_at_home_does_not_hide_the_layout_area(
    settings: SimulationSettings, task: SimulatedTask
) -> None:
    """Every corner of the area shows the cup, so an episode can always begin."""
    seen = []
    for seed in range(8):
        cell = SimulatedCell(settings, task, 'red_mug', scene_seed=seed)
        color = cell.capture().color.astype(int)
        cell.close()
        seen.append(int(np.sum((color[..., 0] > 110) & (color[..., 1] < 70))))
    assert min(seen) > 1200


def test_one_renderer_serves_several_worlds(
    settings: SimulationSettings, task: SimulatedTask, renderer: OffscreenRenderer
) -> None:
    pictures = {}
    for name in ('red_mug', 'blue_tumbler', 'red_mug'):
        world = World(settings, task, name)
        data = mujoco.MjData(world.model)
        data.joint(OBJECT_BODY).qpos = [0.55, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        mujoco.mj_forward(world.model, data)
        color, _ = renderer.render(world.model, data, CAMERA)
        if name in pictures:
            np.testing.assert_array_equal(color, pictures[name])
        pictures[name] = color
    assert (pictures['red_mug'] != pictures['blue_tumbler']).any()


def test_another_thread_is_refused(
    settings: SimulationSettings, task: SimulatedTask, renderer: OffscreenRenderer
) -> None:
    world = World(settings, task, 'red_mug')
    data = mujoco.MjData(world.model)
    mujoco.mj_forward(world.model, data)
    raised: list[Exception] = []

    def render() -> None:
        try:
            renderer.render(world.model, data, CAMERA)
        except DeviceError as error:
            raised.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert len(raised) == 1
    assert 'thread' in str(raised[0])


def test_a_machine_without_egl_gets_one_sentence() -> None:
    """PyOpenGL without a library fails with an attribute of None; the user sees the remedy."""
    script = (
        'import sys\n'
        "sys.modules['mujoco.egl'] = None\n"
        'from deft_core.errors import DeviceError\n'
        'from deft_sim.rendering import OffscreenRenderer\n'
        'try:\n'
        '    OffscreenRenderer(64, 48)\n'
        'except DeviceError as error:\n'
        '    print(error)\n'
    )
    finished = subprocess.run(
        [sys.executable, '-c', f'import sys\nsys.path[:0] = {sys.path!r}\n' + script],
        capture_output=True,
        text=True,
        check=True,
        env={'MUJOCO_GL': '', 'PATH': ''},
        timeout=60,
    )
    assert 'apt-get install libegl1 libgl1-mesa-dri' in finished.stdout
    assert len(finished.stdout.strip().splitlines()) == 1
