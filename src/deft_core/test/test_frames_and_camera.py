# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deft_core.camera import CameraIntrinsics, RgbdFrame
from deft_core.errors import FrameError, InvalidInputError
from deft_core.frames import TransformTree
from deft_core.rotations import matrix_from_euler, transform, transform_points

INTRINSICS = CameraIntrinsics(width=8, height=6, fx=10.0, fy=11.0, cx=3.5, cy=2.5)


def test_tree_maps_source_coordinates_to_target_through_a_chain():
    T_base_camera = transform(matrix_from_euler([0.1, 0.2, 0.3]), [1.0, 0.0, 0.5])
    T_camera_board = transform(matrix_from_euler([-0.4, 0.0, 1.0]), [0.0, 0.1, 0.7])
    tree = TransformTree()
    tree.add('base', 'camera', T_base_camera)
    tree.add('camera', 'board', T_camera_board)
    point = np.array([[0.01, 0.02, 0.03]])
    expected = transform_points(T_base_camera, transform_points(T_camera_board, point))
    np.testing.assert_allclose(transform_points(tree.get('base', 'board'), point), expected)


def test_unknown_and_unconnected_frames_are_named():
    tree = TransformTree()
    tree.add('base', 'camera', np.eye(4))
    tree.add('world', 'board', np.eye(4))
    with pytest.raises(FrameError, match=r"'tool' is unknown; known frames: \['base'"):
        tree.get('base', 'tool')
    with pytest.raises(FrameError, match='not connected'):
        tree.get('base', 'board')


PLUMB_BOB = (-0.0556, 0.0662, 0.00056, -0.00024, -0.0213)  # usual for a D455


RATIONAL = (0.45, -2.6, 0.0003, -0.0001, 1.5, 0.33, -2.43, 1.43)  # usual for an Azure Kinect


@pytest.mark.parametrize('distortion', [PLUMB_BOB, RATIONAL])
def test_lens_distortion_is_undone_where_pixels_become_rays(distortion):
    camera = CameraIntrinsics(640, 480, 385.0, 386.0, 320.0, 240.0, distortion)
    pixels = np.array([[0.0, 0.0], [639.0, 0.0], [100.0, 100.0], [320.0, 479.0]])
    rays = camera.rays(pixels)
    points = camera.deproject(np.full((480, 640), 0.8))
    columns, rows = pixels.astype(int).T
    assert points[rows, columns] == pytest.approx(0.8 * np.hstack([rays, np.ones((4, 1))]))
    assert camera.project(points[rows, columns]) == pytest.approx(pixels, abs=1e-5)
    x, y = rays.T
    k1, k2, p1, p2, k3, *lower = (*distortion, 0.0, 0.0, 0.0)[:8]
    r = x * x + y * y
    scale = (1 + k1 * r + k2 * r**2 + k3 * r**3) / (1 + np.polyval([*lower[::-1], 0.0], r))
    u = x * scale + 2 * p1 * x * y + p2 * (r + 2 * x * x)
    v = y * scale + p1 * (r + 2 * y * y) + 2 * p2 * x * y
    seen = np.stack([385.0 * u + 320.0, 386.0 * v + 240.0], axis=1)
    assert seen == pytest.approx(pixels, abs=1e-5)


@pytest.mark.parametrize(
    ('distortion', 'words'),
    [((0.1, 0.2), 'coefficients'), ((-5.0, 0.0, 0.0, 0.0), 'cannot be undone')],
)
def test_a_lens_that_makes_no_sense_is_refused(distortion, words):
    with pytest.raises(InvalidInputError, match=words):
        CameraIntrinsics(640, 480, 385.0, 386.0, 320.0, 240.0, distortion)


def test_deprojection_inverts_projection():
    depth = np.linspace(0.5, 1.0, 48, dtype=np.float32).reshape(6, 8)
    depth[2, 3] = np.nan
    points = INTRINSICS.deproject(depth)
    rows, columns = np.nonzero(np.isfinite(depth))
    pixels = INTRINSICS.project(points[rows, columns])
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=-1), atol=1e-9)
    assert np.isnan(points[2, 3]).all()


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(INTRINSICS.project([[0.0, 0.0, -1.0]])).all()


def test_image_sizes_must_agree_with_the_camera():
    with pytest.raises(InvalidInputError, match='aligned'):
        RgbdFrame(0.0, np.zeros((6, 8, 3), np.uint8), np.zeros((5, 8), np.float32), INTRINSICS)
    with pytest.raises(InvalidInputError, match='camera_info'):
        CameraIntrinsics(width=8, height=6, fx=0.0, fy=0.0, cx=0.0, cy=0.0)
