# SPDX-License-Identifier: Apache-2.0
"""Synthetic RGB-D scenes: rays cast against a table and simple bodies with plain numpy."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from deft_core.camera import CameraIntrinsics, RgbdFrame
from deft_core.rotations import invert_transform, transform, transform_points
from deft_perception.calibration.board import BoardConfiguration, draw_board, drawn_size

BOARD = BoardConfiguration('board', 7, 5, 0.025, 0.0185, 'DICT_4X4_50')
BOARD_CAMERA = CameraIntrinsics(640, 480, 615.0, 615.0, 322.0, 238.0)
BOARD_SCALE = 4000.0  # [pixel/m] of the drawn board
CAMERA_POSITION = (0.05, 0.35, 0.70)
CAMERA_TARGET = (0.50, 0.0, 0.05)
INFINITE = np.inf


def look_at(position, target):
    """`T_base_camera` of an optical frame (z forward, y down) at `position`."""
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return transform(np.stack([right, np.cross(forward, right), forward], axis=1), position)


@dataclass(frozen=True)
class Cylinder:
    """Upright cylinder on the table; `wall` > 0 makes it an open cup of that thickness."""

    x: float
    y: float
    radius: float
    height: float
    wall: float = 0.0
    base: float = 0.0

    def intersect(self, origin, rays):
        distance = _cylinder(origin, rays, self, self.radius, self.wall)
        if self.wall > 0.0:
            inner = _cylinder_inside(origin, rays, self, self.radius - self.wall)
            distance = np.minimum(distance, inner)
        return distance


@dataclass(frozen=True)
class Box:
    """Box on the table, turned by `yaw`, with side lengths `size`."""

    x: float
    y: float
    size: tuple[float, float, float]
    yaw: float = 0.0
    base: float = 0.0

    def intersect(self, origin, rays):
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        rotation = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        o = rotation @ (origin - np.array([self.x, self.y, self.base + self.size[2] / 2]))
        d = rays @ rotation.T
        half = np.array(self.size) / 2
        with np.errstate(divide='ignore', invalid='ignore'):
            low, high = (-half - o) / d, (half - o) / d
        near = np.minimum(low, high).max(axis=-1)
        far = np.maximum(low, high).min(axis=-1)
        return np.where((near < far) & (near > 0.0), near, INFINITE)


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid lying on the table with half axes `half` along the base axes."""

    x: float
    y: float
    half: tuple[float, float, float]

    def intersect(self, origin, rays):
        scale = np.array(self.half)
        o = (origin - np.array([self.x, self.y, self.half[2]])) / scale
        d = rays / scale
        a, b, c = np.sum(d * d, axis=-1), d @ o, o @ o - 1.0
        root = b * b - a * c
        with np.errstate(invalid='ignore'):
            distance = (-b - np.sqrt(root)) / a
        return np.where(root > 0.0, distance, INFINITE)


def _cylinder(origin, rays, body, radius, wall):
    o = origin - np.array([body.x, body.y, body.base])
    a = np.sum(rays[..., :2] ** 2, axis=-1)
    b, c = rays[..., :2] @ o[:2], o[:2] @ o[:2] - radius**2
    root = b * b - a * c
    with np.errstate(invalid='ignore'):
        side = (-b - np.sqrt(root)) / a
        z = o[2] + side * rays[..., 2]
    side = np.where((root > 0.0) & (z >= 0.0) & (z <= body.height), side, INFINITE)
    top = (body.height - o[2]) / rays[..., 2]
    off = np.linalg.norm(o[:2] + top[..., None] * rays[..., :2], axis=-1)
    on_top = (off <= radius) & (off >= (radius - wall if wall > 0.0 else 0.0))
    return np.minimum(side, np.where(on_top, top, INFINITE))


def _cylinder_inside(origin, rays, body, radius):
    """Far inner wall and floor of an open cup, seen through its mouth."""
    o = origin - np.array([body.x, body.y, body.base])
    mouth = (body.height - o[2]) / rays[..., 2]
    enters = np.linalg.norm(o[:2] + mouth[..., None] * rays[..., :2], axis=-1) < radius
    a = np.sum(rays[..., :2] ** 2, axis=-1)
    b, c = rays[..., :2] @ o[:2], o[:2] @ o[:2] - radius**2
    with np.errstate(invalid='ignore'):
        wall = (-b + np.sqrt(b * b - a * c)) / a
    floor = (0.004 - o[2]) / rays[..., 2]
    return np.where(enters, np.minimum(wall, floor), INFINITE)


@dataclass(frozen=True)
class Scene:
    """What stands on the table (z = 0), and how the camera errs."""

    bodies: tuple = ()
    noise: float = 0.0
    hole_share: float = 0.0
    quantisation: float = 0.0
    mixed_pixels: bool = False
    lost_beside_edges: int = 0
    seed: int = 0
    width: int = 320
    height: int = 240
    position: tuple[float, float, float] = CAMERA_POSITION
    target: tuple[float, float, float] = CAMERA_TARGET
    table_height: float = 0.0
    distortion: tuple[float, ...] = ()
    pose: np.ndarray = field(init=False)
    camera: CameraIntrinsics = field(init=False)

    def __post_init__(self):
        focal = 300.0 * self.width / 320
        object.__setattr__(self, 'pose', look_at(self.position, self.target))
        camera = CameraIntrinsics(
            self.width,
            self.height,
            focal,
            focal,
            (self.width - 1) / 2,
            (self.height - 1) / 2,
            self.distortion,
        )
        object.__setattr__(self, 'camera', camera)

    def render(self) -> RgbdFrame:
        """RGB-D frame; colour is grey, it is not used by the geometry."""
        rng = np.random.default_rng(self.seed)
        depth = self._cast(1) if not self.mixed_pixels else self._mixed()
        depth = depth + rng.normal(0.0, self.noise, depth.shape) if self.noise else depth
        if self.quantisation:
            depth = np.round(depth / self.quantisation) * self.quantisation
        depth[rng.random(depth.shape) < self.hole_share] = np.nan
        if self.lost_beside_edges:
            depth[self._edges()] = np.nan
        color = np.full((self.height, self.width, 3), 128, dtype=np.uint8)
        return RgbdFrame(12.5, color, depth.astype(np.float32), self.camera)

    def pixel(self, x, y, z):
        """Pixel (column, row) in which a point of the base frame appears."""
        point = transform_points(invert_transform(self.pose), [[x, y, z]])
        column, row = self.camera.project(point)[0]
        return round(column), round(row)

    def _edges(self):
        """Pixels within `lost_beside_edges` of a step in depth."""
        exact = self._cast(1)
        reach = self.lost_beside_edges
        lost = np.zeros(exact.shape, dtype=bool)
        for axis in (0, 1):
            step = np.abs(exact - np.roll(exact, 1, axis)) > 0.015
            for shift in range(-reach, reach):
                lost |= np.roll(step, shift, axis)
        return lost

    def _mixed(self):
        """Mean of 2 x 2 rays per pixel: at an edge a value between the two surfaces."""
        fine = self._cast(2)
        return fine.reshape(self.height, 2, self.width, 2).mean(axis=(1, 3))

    def _cast(self, oversampling):
        k = oversampling
        columns = (np.arange(self.width * k) + 0.5) / k - 0.5
        rows = (np.arange(self.height * k) + 0.5) / k - 0.5
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
        flat = self.camera.rays(pixels).reshape(pixels.shape)
        directions = np.concatenate([flat, np.ones((*flat.shape[:2], 1))], axis=-1)
        rays = directions @ self.pose[:3, :3].T
        origin = self.pose[:3, 3]
        with np.errstate(divide='ignore'):
            depth = (self.table_height - origin[2]) / rays[..., 2]
        for body in self.bodies:
            depth = np.minimum(depth, body.intersect(origin, rays))
        return depth


@pytest.fixture(scope='session')
def scene() -> type[Scene]:
    """Makes a scene: `scene(bodies=(...), noise=0.002)`."""
    return Scene


@pytest.fixture(scope='session')
def cylinder() -> type[Cylinder]:
    """Makes an upright cylinder or cup."""
    return Cylinder


@pytest.fixture(scope='session')
def box() -> type[Box]:
    """Makes a box."""
    return Box


@pytest.fixture(scope='session')
def ellipsoid() -> type[Ellipsoid]:
    """Makes an ellipsoid."""
    return Ellipsoid


def _photograph(pose, board=BOARD, sigma=0.0, oversampling=3):
    """The drawn board seen from a pose, with a grey background."""
    drawn = draw_board(board, BOARD_SCALE)
    width, height = drawn_size(board)
    per_pixel = width / drawn.shape[1]
    margin = ((width - board.size[0]) / 2.0, (height - board.size[1]) / 2.0)
    # Drawn pixel (u, v) lies at ((u + 0.5) * per_pixel - margin) on the board.
    to_board = np.array(
        [
            [per_pixel, 0.0, 0.5 * per_pixel - margin[0]],
            [0.0, per_pixel, 0.5 * per_pixel - margin[1]],
            [0.0, 0.0, 1.0],
        ]
    )
    fine = np.diag([oversampling, oversampling, 1.0])
    fine[:2, 2] = (oversampling - 1) / 2.0
    to_image = fine @ BOARD_CAMERA.matrix @ pose[:3, [0, 1, 3]] @ to_board
    size = (BOARD_CAMERA.width * oversampling, BOARD_CAMERA.height * oversampling)
    image = cv2.warpPerspective(drawn, to_image, size, borderValue=120)
    image = cv2.resize(
        image, (BOARD_CAMERA.width, BOARD_CAMERA.height), interpolation=cv2.INTER_AREA
    )
    noisy = image + np.random.default_rng(0).normal(0.0, sigma, image.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope='session')
def board() -> BoardConfiguration:
    """A calibration board."""
    return BOARD


@pytest.fixture(scope='session')
def board_camera() -> CameraIntrinsics:
    """The camera of `photograph`."""
    return BOARD_CAMERA


@pytest.fixture(scope='session')
def photograph():
    """Takes a picture of a board: `photograph(T_camera_board, sigma=1.5)`."""
    return _photograph
