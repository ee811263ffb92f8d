# SPDX-License-Identifier: Apache-2.0
"""`deft trajectory`: from a tracked hand to a file that a task can name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_arm.demonstration.tracks import PoseTrack
from deft_bringup.command_line import main
from deft_core.configuration import config_directory
from deft_core.rotations import matrix_from_euler, matrix_from_rotation_vector
from deft_core.trajectory import WristTrajectory
from deft_perception.calibration.calibration_file import load_named_calibration


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(__file__).resolve().parents[3] / 'config'
    monkeypatch.setenv('DEFT_CONFIG', str(folder))
    return folder


def write_track(path: Path, lift: float, frame: str) -> None:
    """A hand that lifts something and turns it a little, seen by the simulated camera."""
    calibration = load_named_calibration('simulated_cell', config_directory())
    T_camera_base = np.linalg.inv(calibration.T_base_camera)
    times = np.arange(0.0, 6.0, 1.0 / 30.0)
    share = np.clip((times - 1.0) / 4.0, 0.0, 1.0)
    smooth = 3.0 * share**2 - 2.0 * share**3
    positions = np.array([0.45, 0.0, 0.1]) + smooth[:, None] * [0.0, 0.0, lift]
    start = matrix_from_euler([2.0, 0.0, 1.6])
    turns = smooth[:, None] * [0.0, 0.0, 0.2]
    rotations = np.array([matrix_from_rotation_vector(turn) @ start for turn in turns])
    in_base = PoseTrack(times, positions, rotations, 'link_base', 'a made-up hand')
    in_base.moved(T_camera_base, frame).save(path)


def test_a_track_becomes_a_trajectory(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track, output, picture = (tmp_path / n for n in ('track.json', 'lift.json', 'lift.png'))
    write_track(track, 0.15, 'camera_color_optical_frame')
    words = ['trajectory', 'extract', str(track), str(output), '--calibration', 'simulated_cell']
    assert main([*words, '--start', '1.0', '--reach', '0', '--figure', str(picture)]) == 0
    said = capsys.readouterr().out
    assert '180 poses over 6.0 s, 0 outliers left out' in said
    assert 'possible, in 4.0 s of 4.0 s' in said
    assert picture.stat().st_size > 10_000
    made = WristTrajectory.load(output)
    assert len(made) == 40
    np.testing.assert_allclose(made.translations.sum(axis=0), [0.0, 0.0, 0.15], atol=2e-3)
    np.testing.assert_allclose(made.rotation_vectors.sum(axis=0), [0.0, 0.0, 0.2], atol=5e-3)
    assert made.source.startswith('a made-up hand; grasp at 1.00 s')
    # The file can be looked at again.
    assert main(['trajectory', 'show', str(output)]) == 0


def test_what_the_arm_cannot_do_is_not_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track, output = tmp_path / 'track.json', tmp_path / 'lift.json'
    write_track(track, 0.9, 'camera_color_optical_frame')
    words = ['trajectory', 'extract', str(track), str(output), '--calibration', 'simulated_cell']
    assert main([*words, '--start', '1.0']) == 3
    assert 'not possible. The pose after displacement' in capsys.readouterr().out
    assert not output.exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], "is tracked in frame 'camera_color_optical_frame'; name the calibration"),
        (['--calibration', 'nowhere'], 'nowhere'),
        (['--format', 'hamer', '--calibration', 'simulated_cell'], 'needs --intrinsics'),
        (['--calibration', 'simulated_cell', '--start', '4.0'], 'is not in the track'),
    ],
)
def test_wrong_words_are_refused(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    track = tmp_path / 'track.json'
    write_track(track, 0.15, 'camera_color_optical_frame')
    assert main(['trajectory', 'extract', str(track), str(tmp_path / 'out.json'), *words]) == 2
    assert message in capsys.readouterr().err


def test_every_shipped_trajectory_can_be_done(config: Path) -> None:
    for path in sorted((config / 'trajectories').glob('*.json')):
        assert main(['trajectory', 'show', str(path)]) == 0, path.name
