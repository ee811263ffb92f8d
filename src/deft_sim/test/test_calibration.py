# SPDX-License-Identifier: Apache-2.0
"""The calibration board in the simulated cell: rendered right, and good for a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from deft_core.configuration import config_directory
from deft_core.rotations import invert_transform
from deft_perception.calibration.board import (
    BoardDetector,
    load_board,
    locate_board,
    reprojection_residuals,
)
from deft_perception.calibration.hand_eye import pose_difference
from deft_perception.calibration.postures import load_postures
from deft_perception.calibration.settings import CalibrationSettings
from deft_perception.calibration.solve import calibrate
from deft_sim.calibration import take_views
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import CALIBRATION, load_simulation_settings
from deft_sim.world import World

FOLDER = config_directory()
POSTURES = load_postures(CALIBRATION, FOLDER).matrix()


@pytest.fixture
def board(settings):
    return load_board(settings.cell.board_mount.board, FOLDER)


@pytest.fixture
def cell_with_board(settings, task, board, offscreen):
    cell = SimulatedCell(settings, task, board=board)
    yield cell
    cell.close()


def test_nine_views_find_the_camera_within_a_millimetre(cell_with_board, board, settings):
    """The benchmark takes twenty; the limits of the whole are 2 mm and 0.2 degrees."""
    cell, camera = cell_with_board, settings.cell.camera.intrinsics
    detector = BoardDetector(board)
    views = list(take_views(cell, detector, POSTURES[:9]))
    assert len(views) == 9
    truth, mount = cell.camera_pose(), settings.cell.board_mount.T_flange_board
    for view in views:
        exact = invert_transform(truth) @ view.T_base_flange @ mount
        residuals = reprojection_residuals(exact, view.detection, camera)
        assert np.sqrt(np.mean(residuals**2)) < 0.3
    result = calibrate(views, camera, CalibrationSettings())
    shift, turn = pose_difference(truth, result.solution.T_base_camera)
    assert shift < 0.001
    assert turn < np.radians(0.1)
    assert pose_difference(mount, result.solution.T_flange_board)[0] < 0.001


@pytest.mark.parametrize(
    ('name', 'least', 'most'),
    [('simulated_cell', 0.00002, 0.0005), ('badly_calibrated', 0.007, 0.009)],
)
def test_the_calibrations_of_the_cell_are_as_good_and_as_bad_as_they_say(name, least, most):
    """One is what `deft calibrate camera` leaves, and no copy of the truth."""
    settings = load_simulation_settings(FOLDER, name)
    truth, believed = settings.cell.camera.T_base_camera, settings.calibration.T_base_camera
    shift, turn = pose_difference(truth, believed)
    assert least < shift < most
    assert turn < np.radians(0.05)


def test_the_board_neither_weighs_nor_touches(settings, task, board):
    plain, model = (World(settings, task, 'red_mug', kind).model for kind in (None, board))
    assert model.body_mass.sum() == pytest.approx(plain.body_mass.sum())
    geom = model.geom('calibration_board').id
    assert (model.geom_contype[geom], model.geom_conaffinity[geom]) == (0, 0)


def test_a_seen_board_lies_where_the_flange_has_it(cell_with_board, board, settings):
    cell, detector = cell_with_board, BoardDetector(board)
    (view,) = take_views(cell, detector, POSTURES[:1])
    found = locate_board(view.detection, settings.cell.camera.intrinsics)
    expected = view.T_base_flange @ settings.cell.board_mount.T_flange_board
    shift, _ = pose_difference(cell.camera_pose() @ found.T_camera_board, expected)
    assert shift < 0.003
