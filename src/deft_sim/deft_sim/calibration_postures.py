# SPDX-License-Identifier: Apache-2.0
"""Postures of the simulated arm from which its camera sees the calibration board well.

Found by trying: random postures that keep clear of table and arm are photographed, and those count
in which the detector finds the board. On a real cell the operator finds them by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import mujoco
import numpy as np

from deft_arm.configuration import ArmConfiguration
from deft_core.errors import UnreachableError
from deft_core.grasp import FINGERS
from deft_core.rotations import (
    invert_transform,
    rotation_vector_from_matrix,
    transform,
    transform_points,
)
from deft_core.validation import FloatArray
from deft_description.models import FLANGE_SITE
from deft_perception.calibration.board import BoardConfiguration, BoardDetector, NoBoardError
from deft_sim.calibration_board import BOARD
from deft_sim.configuration import SimulationSettings
from deft_sim.rendering import OffscreenRenderer
from deft_sim.scene import CAMERA
from deft_sim.world import ARM, World

_IMAGE_MARGIN: Final = 15.0  # [pixel]
_LEAST_CLEARANCE: Final = 0.13  # [m] over the table, higher than any cup
_SELF_CLEARANCE: Final = 0.02  # [m] between hand or board and the arm that carries them
_LEAST_FACING: Final = 0.6  # cosine between line of sight and the board's normal
_FARTHEST: Final = 0.75  # [m] where a square still has 20 pixels
_PATH_STEP: Final = 0.08  # [rad]
_LENGTH_SCALE: Final = 0.25  # [m] that counts like a radian where postures are told apart
_POOL: Final = 8  # candidates per wanted posture


class PostureFinder:
    """Draws, photographs and orders postures.

    Args:
        settings: The simulated cell.
        arm: Limits and home.
        board: On the flange as `settings` mounts it.
    """

    def __init__(
        self, settings: SimulationSettings, arm: ArmConfiguration, board: BoardConfiguration
    ) -> None:
        """Build the world with the board."""
        self._arm = arm
        self._detector = BoardDetector(board)
        self._mount = settings.cell.board_mount.T_flange_board
        camera = settings.cell.camera
        self._camera = camera.intrinsics
        self._T_camera_base = invert_transform(settings.calibration.T_base_camera)
        width, height = board.size
        self._outline = np.array(
            [[0.0, 0.0, 0.0], [width, 0.0, 0.0], [width, height, 0.0], [0.0, height, 0.0]]
        )
        self._least_corners = round(0.8 * board.corner_count)
        self._model = World(settings, next(iter(settings.objects.cups)), board).model
        self._data = mujoco.MjData(self._model)
        self._renderer = OffscreenRenderer(camera.width, camera.height)
        self._board = self._model.geom(BOARD).id
        bodies = [
            self._model.body(self._model.geom_bodyid[geom]).name
            for geom in range(self._model.ngeom)
        ]
        hand = {*FINGERS, 'palm'}
        self._wrist = [
            geom
            for geom, body in enumerate(bodies)
            if body.split('_')[0] in hand or body == 'link6'
        ]
        self._arm_geoms = [
            geom for geom, body in enumerate(bodies) if body in ('link1', 'link2', 'link3')
        ]
        self._forearm = [geom for geom, body in enumerate(bodies) if body in ('link4', 'link5')]

    def find(self, count: int, rng: np.random.Generator, attempts: int = 400_000) -> FloatArray:
        """Postures in the order of a tour from home, far apart from each other.

        Args:
            count: Number of postures.
            rng: Draws the candidates.
            attempts: Candidates drawn at most.

        Returns:
            Shape (count, 6). [rad].

        Raises:
            UnreachableError: Too few postures show the board and can be reached from home.
        """
        lower, upper = self._arm.planning_limits()
        pool: list[FloatArray] = []
        for _ in range(attempts):
            candidate = rng.uniform(lower, upper)
            # Turns of the wrist beyond half a turn show nothing new.
            candidate[[3, 5]] = rng.uniform(-np.pi, np.pi, 2)
            if self._is_clear(candidate) and self._shows_the_board(candidate):
                pool.append(candidate)
                if len(pool) == _POOL * count:
                    break
        tour = self._tour(self._spread(pool, 4 * count), count)
        if len(tour) < count:
            raise UnreachableError(
                f'Only {len(tour)} of {count} postures show the board and can be reached; mount '
                'the board elsewhere on the flange.'
            )
        return np.array(tour)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _board_pose(self, joints: FloatArray) -> FloatArray:
        """`T_camera_board`. Shape (4, 4). [m]."""
        self._data.qpos[ARM] = joints
        mujoco.mj_kinematics(self._model, self._data)
        flange = self._data.site(FLANGE_SITE)
        pose = transform(flange.xmat.reshape(3, 3), flange.xpos)
        return np.asarray(self._T_camera_base @ pose @ self._mount)

    def _is_clear(self, joints: FloatArray) -> bool:
        """Whether arm, hand and board keep away from table, arm and the edge of the image."""
        pose = self._board_pose(joints)
        points = transform_points(pose, self._outline)
        pixels = self._camera.project(points)
        size = np.array([self._camera.width, self._camera.height])
        if not np.all((pixels > _IMAGE_MARGIN) & (pixels < size - _IMAGE_MARGIN)):
            return False
        sight = points.mean(axis=0)
        distance = float(np.linalg.norm(sight))
        if distance > _FARTHEST or pose[:3, 2] @ sight / distance < _LEAST_FACING:
            return False
        return self._is_free(joints)

    def _is_free(self, joints: FloatArray) -> bool:
        points = transform_points(
            invert_transform(self._T_camera_base) @ self._board_pose(joints), self._outline
        )
        if points[:, 2].min() < _LEAST_CLEARANCE:
            return False
        moving = [*self._wrist, *self._forearm]
        # Lowest point of the box around each geom.
        middle, half = self._model.geom_aabb[moving, :3], self._model.geom_aabb[moving, 3:]
        up = self._data.geom_xmat[moving].reshape(-1, 3, 3)[:, 2]
        lowest = self._data.geom_xpos[moving, 2] + np.sum(up * middle - np.abs(up) * half, axis=1)
        if lowest.min() < _LEAST_CLEARANCE:
            return False
        pairs = [
            *((geom, other) for geom in (*self._wrist, self._board) for other in self._arm_geoms),
            *((self._board, other) for other in self._forearm),
        ]
        return all(self._distance(first, second) > _SELF_CLEARANCE for first, second in pairs)

    def _distance(self, first: int, second: int) -> float:
        """Between two geoms, at most twice the clearance. [m]."""
        segment = np.zeros(6)
        return float(
            mujoco.mj_geomDistance(
                self._model, self._data, first, second, 2.0 * _SELF_CLEARANCE, segment
            )
        )

    def _shows_the_board(self, joints: FloatArray) -> bool:
        self._data.qpos[ARM] = joints
        mujoco.mj_forward(self._model, self._data)
        color, _ = self._renderer.render(self._model, self._data, CAMERA)
        try:
            return len(self._detector.detect(color).corners) >= self._least_corners
        except NoBoardError:
            return False

    def _spread(self, pool: Sequence[FloatArray], count: int) -> list[FloatArray]:
        """Postures farthest from each other in the board's pose, one after the other."""
        if not pool:
            return []
        features = np.stack([self._feature(joints) for joints in pool])
        chosen = [0]
        nearest = np.linalg.norm(features - features[0], axis=1)
        while len(chosen) < min(count, len(pool)):
            chosen.append(int(np.argmax(nearest)))
            nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
        return [pool[index] for index in chosen]

    def _feature(self, joints: FloatArray) -> FloatArray:
        pose = self._board_pose(joints)
        rotation = rotation_vector_from_matrix(pose[:3, :3])
        return np.concatenate([rotation, pose[:3, 3] / _LENGTH_SCALE])

    def _tour(self, postures: list[FloatArray], count: int) -> list[FloatArray]:
        """From home always to the nearest posture that a straight joint move reaches."""
        here = np.asarray(self._arm.home, dtype=np.float64)
        left = list(postures)
        tour: list[FloatArray] = []
        while left and len(tour) < count:
            left.sort(key=lambda joints: float(np.abs(joints - here).max()))
            found = next((i for i, joints in enumerate(left) if self.is_open(here, joints)), None)
            if found is None:
                break
            here = left.pop(found)
            tour.append(here)
        return tour

    def is_open(self, start: FloatArray, end: FloatArray) -> bool:
        """Whether a straight joint move keeps clear, its end included. Shapes (6,). [rad]."""
        steps = max(2, round(float(np.abs(end - start).max()) / _PATH_STEP))
        shares = np.linspace(0.0, 1.0, steps + 1)[1:]
        return all(self._is_free(start + share * (end - start)) for share in shares)
