# SPDX-License-Identifier: Apache-2.0
"""Calibration of the camera from made-up views whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deft_core.camera import CameraIntrinsics
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.rotations import invert_transform, matrix_from_euler, transform, transform_points
from deft_perception.calibration.board import BoardConfiguration, BoardDetection, locate_board
from deft_perception.calibration.calibration_file import load_named_calibration
from deft_perception.calibration.hand_eye import CalibrationView, HandEyeSolution, pose_difference
from deft_perception.calibration.report import (
    calibrate_stored,
    calibration_of,
    draw_calibration,
    draw_detection,
)
from deft_perception.calibration.settings import CalibrationSettings
from deft_perception.calibration.solve import (
    LargeResidualError,
    TooFewViewsError,
    calibrate,
    reason_to_reject,
)
from deft_perception.calibration.views import StoredViews, load_views, save_views

BOARD = BoardConfiguration('board', 7, 5, 0.025, 0.0185, 'DICT_4X4_50')
CAMERA = CameraIntrinsics(640, 480, 615.0, 615.0, 322.0, 238.0)
TRUTH = HandEyeSolution(
    transform(matrix_from_euler((-2.4, 0.0, -0.7)), [0.10, 0.38, 0.66]),
    transform(matrix_from_euler((1.5, 0.1, 1.6)), [-0.06, -0.09, 0.01]),
)
SETTINGS = CalibrationSettings()
OPTICAL = 'camera_color_optical_frame'


def view(rng, name, arm=(0.0, 0.0), corner=0.1, keep=24):
    """A board somewhere before the camera, with errors of the arm [m, rad] and of corners."""
    points = np.asarray(BOARD.board().getChessboardCorners(), dtype=np.float64)
    rotation = Rotation.from_rotvec(rng.normal(0.0, 0.35, 3)).as_matrix()
    middle = np.array([rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.1), rng.uniform(0.4, 0.65)])
    board = transform(rotation, middle - rotation @ points.mean(axis=0))
    chosen = np.sort(rng.permutation(len(points))[:keep])
    corners = CAMERA.project(transform_points(board, points[chosen]))
    corners = corners + rng.normal(0.0, corner, corners.shape)
    detection = BoardDetection(corners, chosen, points[chosen])
    flange = TRUTH.T_base_camera @ board @ invert_transform(TRUTH.T_flange_board)
    error = transform(
        Rotation.from_rotvec(rng.normal(0.0, arm[1], 3)).as_matrix(), rng.normal(0.0, arm[0], 3)
    )
    pose = locate_board(detection, CAMERA)
    return CalibrationView(name, np.arange(6.0), flange @ error, detection, pose)


def views(seed=0, count=20, **options):
    rng = np.random.default_rng(seed)
    return [view(rng, f'view {index}', **options) for index in range(count)]


def error_of(result):
    return pose_difference(TRUTH.T_base_camera, result.solution.T_base_camera)


def test_twenty_views_find_camera_and_mount():
    result = calibrate(views(), CAMERA, SETTINGS)
    shift, turn = error_of(result)
    assert shift < 0.001
    assert turn < 0.002
    assert pose_difference(TRUTH.T_flange_board, result.solution.T_flange_board)[0] < 0.001
    assert result.rejected == ()
    assert sum(residual.held_out for residual in result.views) == 5
    assert result.judged.reprojection < 0.6
    assert shift < 4.0 * result.refinement.translation_deviation


def test_errors_of_the_arm_do_not_grow_in_the_camera():
    """A fit of pixels alone would turn half a millimetre of the arm into a millimetre and more."""
    exact_arm = replace(SETTINGS, arm_translation_deviation=0.0, arm_rotation_deviation=0.0)
    taken = views(0, arm=(0.0005, 0.0005))
    shift, _ = error_of(calibrate(taken, CAMERA, SETTINGS))
    assert shift < 0.0008
    assert shift < 0.7 * error_of(calibrate(taken, CAMERA, exact_arm))[0]


@pytest.mark.parametrize('scale', [0.98, 0.99, 1.01, 1.03])
@pytest.mark.parametrize('arm', [0.0, 0.0005])
def test_squares_of_another_length_than_stated_are_refused(scale, arm):
    taken = [
        replace(one, detection=wrong, pose=locate_board(wrong, CAMERA))
        for one in views(2, arm=(arm, arm))
        for wrong in [replace(one.detection, points=scale * one.detection.points)]
    ]
    with pytest.raises(LargeResidualError) as refusal:
        calibrate(taken, CAMERA, SETTINGS)
    assert float(str(refusal.value).split('are ')[1].split(' %')[0]) == pytest.approx(
        100.0 / scale, abs=0.3
    )


@pytest.mark.parametrize('arm', [0.0, 0.001, 0.003])
def test_errors_of_the_arm_are_not_taken_for_squares(arm):
    patient = replace(SETTINGS, maximum_reprojection_error=50.0, maximum_translation_residual=0.1)
    for seed in range(4):
        result = calibrate(views(seed, arm=(arm, arm)), CAMERA, patient)
        assert error_of(result)[0] < 4.0 * result.refinement.translation_deviation


def test_views_that_contradict_the_others_are_rejected_and_named():
    good = views(1, arm=(0.0003, 0.0003))
    slip = transform(matrix_from_euler((0.0, 0.03, 0.0)), [0.01, 0.0, 0.02])
    bad = [
        replace(good[index], T_base_flange=good[index].T_base_flange @ slip) for index in (3, 11)
    ]
    good[3], good[11] = bad
    result = calibrate(good, CAMERA, SETTINGS)
    assert [name for name, _ in result.rejected] == ['view 3', 'view 11']
    assert 'what the other views say' in result.rejected[0][1]
    assert error_of(result)[0] < 0.001


def test_useless_views_are_rejected_with_their_reason():
    rng = np.random.default_rng(0)
    usual = view(rng, 'usual')
    assert reason_to_reject(usual, SETTINGS) == ''
    assert '8 corners' in reason_to_reject(view(rng, 'few', keep=8), SETTINGS)
    assert 'off a flat board' in reason_to_reject(view(rng, 'blurred', corner=1.5), SETTINGS)
    aside = replace(usual, pose=replace(usual.pose, obliqueness=1.3))
    assert 'seen at 1.30 rad' in reason_to_reject(aside, SETTINGS)
    flat = replace(usual, pose=replace(usual.pose, ambiguity=0.95))
    assert 'tilted' in reason_to_reject(flat, SETTINGS)


def test_too_few_views_are_refused_with_the_reasons():
    taken = [*views(count=6), *views(3, count=4, corner=2.0)]
    taken = [replace(one, name=f'view {index}') for index, one in enumerate(taken)]
    with pytest.raises(TooFewViewsError, match=r'6 usable views, at least 8.*view 6: corners are'):
        calibrate(taken, CAMERA, SETTINGS)


def test_one_axis_is_refused():
    taken = views()
    fixed = taken[0].T_base_flange[:3, :3]
    turned = [
        replace(one, T_base_flange=transform(fixed, one.T_base_flange[:3, 3])) for one in taken
    ]
    with pytest.raises(InvalidInputError, match='one axis only'):
        calibrate(turned, CAMERA, SETTINGS)


def test_an_arm_that_reports_nonsense_gives_no_calibration():
    rng = np.random.default_rng(5)
    taken = views(count=9)
    order = rng.permutation(len(taken))
    shuffled = [
        replace(one, T_base_flange=taken[other].T_base_flange)
        for one, other in zip(taken, order, strict=True)
    ]
    with pytest.raises((LargeResidualError, TooFewViewsError)):
        calibrate(shuffled, CAMERA, SETTINGS)


def stored(taken):
    return StoredViews(BOARD, CAMERA, '_819312', OPTICAL, '2026-11-21', tuple(taken))


def test_the_record_holds_what_a_check_needs():
    taken = views()
    result = calibrate(taken, CAMERA, SETTINGS)
    calibration = calibration_of(result, 'cell_a', stored(taken))
    assert calibration.camera_serial == '819312'
    assert calibration.views == 20
    assert calibration.T_base_camera == pytest.approx(result.solution.T_base_camera, abs=1e-5)
    one = taken[4]
    shift, turn = calibration.disagreement(one.T_base_flange, one.pose.T_camera_board)
    assert shift < 0.003
    assert turn < 0.02
    moved = transform(np.eye(3), [0.0, 0.02, 0.0]) @ one.T_base_flange
    assert calibration.disagreement(moved, one.pose.T_camera_board)[0] > 0.015
    blind = replace(calibration, board_translation=None)
    with pytest.raises(ConfigurationError, match='one look cannot check'):
        blind.disagreement(one.T_base_flange, one.pose.T_camera_board)


def test_residuals_and_detections_are_drawn(tmp_path):
    taken = views(count=9)
    result = calibrate(taken, CAMERA, SETTINGS)
    draw_calibration(result, taken, CAMERA, tmp_path / 'new' / 'figure.png')
    assert (tmp_path / 'new' / 'figure.png').read_bytes().startswith(b'\x89PNG')
    grey = np.full((480, 640, 3), 128, dtype=np.uint8)
    drawn = draw_detection(grey, taken[0].detection, taken[0].pose, CAMERA)
    assert np.any(drawn != grey)


def test_stored_views_give_the_same_calibration(tmp_path):
    taken = views(count=9)
    save_views(tmp_path, stored(taken))
    loaded = load_views(tmp_path)
    assert len(loaded.views) == 9
    assert loaded.views[3].joints == pytest.approx(taken[3].joints)
    file, lines = calibrate_stored(
        loaded, SETTINGS, name='again', folder=tmp_path, configuration=tmp_path
    )
    assert file == tmp_path / 'calibration' / 'again.yaml'
    direct = calibrate(taken, CAMERA, SETTINGS).solution.T_base_camera
    assert load_named_calibration('again', tmp_path).T_base_camera == pytest.approx(
        direct, abs=1e-5
    )
    assert (tmp_path / 'calibration.png').is_file()
    assert '9 used, 0 rejected' in '\n'.join(lines)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('"schema_version": 1', '"schema_version": 2'),
        ('"corners": [[', '"corners": [[NaN, 1.0], ['),
        ('"identifiers": [0', '"identifiers": [99'),
        ('"identifiers": [0', '"identifiers": [-1'),
        ('"views": [{', '"views": [{}, {'),
        ('"views"', '"vues"'),
        ('{', '<'),
    ],
)
def test_damaged_views_are_refused(tmp_path, old, new):
    path = save_views(tmp_path, stored(views(count=4)))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RecordingError):
        load_views(tmp_path)
    with pytest.raises(RecordingError, match='calibrate again'):
        load_views(tmp_path / 'nowhere')
