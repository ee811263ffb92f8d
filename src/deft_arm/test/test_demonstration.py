# SPDX-License-Identifier: Apache-2.0
"""From a tracked hand to displacements: formats, trackers, smoothing, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_arm.demonstration.extraction import ExtractionSettings, extract
from deft_arm.demonstration.figure import draw
from deft_arm.demonstration.tracks import (
    TRACKERS,
    PoseTrack,
    load_track,
    palm_axes,
    track_from_frames,
)
from deft_core.camera import CameraIntrinsics
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.rotations import (
    matrix_from_euler,
    matrix_from_rotation_vector,
    quaternion_from_matrix,
    rotation_vector_from_matrix,
    transform,
)

CAMERA = 'camera_color_optical_frame'
INTRINSICS = CameraIntrinsics(640, 480, 615.0, 615.0, 320.0, 240.0)
T_BASE_CAMERA = transform(matrix_from_euler([-2.4, 0.3, -0.9]), [0.1, 0.4, 0.7])
# Fingers along z, palm towards x, thumb's side y: knuckles 9 cm from the wrist.
HAND = np.zeros((21, 3))
for finger, across in enumerate((0.045, 0.03, 0.005, -0.015, -0.035)):
    for joint in range(4):
        along = (0.03 if finger == 0 else 0.09) + 0.03 * joint
        HAND[1 + 4 * finger + joint] = [0.005 * joint, across, along]
VIDEO_RATE = 30.0


def motion(times):
    """Wrist in the camera frame: an arc that turns and lifts."""
    share = np.clip(times / 4.0, 0.0, 1.0)
    smooth = 3.0 * share**2 - 2.0 * share**3
    positions = np.stack([0.1 * smooth, -0.15 * smooth, 0.6 + 0.05 * smooth], axis=1)
    turns = np.stack([0.8 * smooth, 0.3 * smooth, -0.2 * smooth], axis=1)
    start = matrix_from_euler([0.4, -0.5, 0.2])
    rotations = np.array([matrix_from_rotation_vector(turn) @ start for turn in turns])
    return positions, rotations


def track(duration=5.0, noise=0.0, seed=0, rate=VIDEO_RATE):
    times = np.arange(0.0, duration, 1.0 / rate)
    positions, rotations = motion(times)
    generator = np.random.default_rng(seed)
    positions = positions + generator.normal(0.0, noise, positions.shape)
    wobble = generator.normal(0.0, 5.0 * noise, positions.shape)
    rotations = np.array(
        [matrix_from_rotation_vector(w) @ r for w, r in zip(wobble, rotations, strict=True)]
    )
    return PoseTrack(times, positions, rotations, CAMERA, 'made up')


def expected(reach, rate=10.0):
    """Grasp centre and hand axes in the base frame at the ends of the displacements."""
    positions, rotations = motion(np.arange(41) / rate)
    axes = T_BASE_CAMERA[:3, :3] @ rotations
    points = positions @ T_BASE_CAMERA[:3, :3].T + T_BASE_CAMERA[:3, 3]
    return points + axes @ [0.0, 0.0, reach], axes


@pytest.mark.parametrize('reach', [0.0, 0.1])
def test_displacements_are_those_of_the_hand_in_the_base_frame(reach):
    found = extract(track(), T_BASE_CAMERA, ExtractionSettings(reach=reach)).trajectory
    assert len(found) == 40
    assert found.frame_id == BASE_FRAME
    assert found.rate == 10.0
    points, axes = expected(reach)
    poses = found.poses(axes[0], points[0])
    for (rotation, position), point, axis in zip(poses, points[1:], axes[1:], strict=True):
        np.testing.assert_allclose(position, point, atol=2e-3)
        assert np.linalg.norm(rotation_vector_from_matrix(rotation @ axis.T)) < 0.01


def test_noise_is_smoothed_away():
    noisy = track(noise=0.003)
    points, axes = expected(0.1)

    def errors(window):
        found = extract(noisy, T_BASE_CAMERA, ExtractionSettings(window=window)).trajectory
        poses = found.poses(axes[0], points[0])
        steps = np.linalg.norm(found.translations - np.diff(points, axis=0), axis=1)
        return steps.std(), np.linalg.norm(poses[-1][1] - points[-1])

    rough, _ = errors(0.0)
    smooth, end = errors(0.4)
    assert smooth < 0.5 * rough
    assert end < 0.006


def test_outliers_and_short_gaps_do_not_show():
    clean = track()
    positions = clean.positions.copy()
    positions[[20, 47, 80]] += 0.2
    keep = np.ones(len(positions), dtype=bool)
    keep[60:68] = False  # a quarter of a second without a hand
    spoilt = PoseTrack(
        clean.times[keep], positions[keep], clean.rotations[keep], CAMERA, 'with faults'
    )
    found = extract(spoilt, T_BASE_CAMERA, ExtractionSettings())
    assert found.outliers == 3
    assert '3 outliers' in found.trajectory.source
    reference = extract(clean, T_BASE_CAMERA, ExtractionSettings()).trajectory
    np.testing.assert_allclose(
        np.cumsum(found.trajectory.translations, axis=0),
        np.cumsum(reference.translations, axis=0),
        atol=3e-3,
    )


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InvalidInputError, match='not in the track'):
        extract(track(duration=3.0), T_BASE_CAMERA, ExtractionSettings())
    with pytest.raises(InvalidInputError, match='not in the track'):
        extract(track(), T_BASE_CAMERA, ExtractionSettings(start=2.0))
    holed = track()
    keep = (holed.times < 1.0) | (holed.times > 2.0)
    holed = PoseTrack(
        holed.times[keep], holed.positions[keep], holed.rotations[keep], CAMERA, 'holed'
    )
    with pytest.raises(InvalidInputError, match=r'No hand was found from 0\.97 s to 2\.03 s'):
        extract(holed, T_BASE_CAMERA, ExtractionSettings())
    with pytest.raises(InvalidInputError, match='rate must be'):
        ExtractionSettings(rate=0.0)
    with pytest.raises(InvalidInputError, match='increasing times'):
        PoseTrack(np.zeros(2), np.zeros((2, 3)), np.array([np.eye(3)] * 2), CAMERA, 'x')
    with pytest.raises(InvalidInputError, match='no rotation matrix'):
        PoseTrack(np.arange(2), np.zeros((2, 3)), np.zeros((2, 3, 3)), CAMERA, 'x')


def test_a_faster_rate_takes_a_shorter_stretch():
    slow = extract(track(), T_BASE_CAMERA, ExtractionSettings(rate=10.0)).trajectory
    fast = extract(track(), T_BASE_CAMERA, ExtractionSettings(rate=20.0)).trajectory
    np.testing.assert_allclose(
        fast.translations.sum(axis=0), slow.translations[:20].sum(axis=0), atol=2e-3
    )


@given(st.floats(-3.0, 3.0), st.floats(-1.4, 1.4), st.floats(-3.0, 3.0))
def test_hand_axes_come_from_keypoints_of_both_hands(roll, pitch, yaw):
    rotation = matrix_from_euler([roll, pitch, yaw])
    keypoints = HAND @ rotation.T + [0.1, 0.2, 0.5]
    # Wrist to middle knuckle is a little off the fingers' axis in this hand: 3 degrees.
    right = palm_axes(keypoints, right=True)
    assert np.linalg.norm(rotation_vector_from_matrix(right @ rotation.T)) < 0.06
    mirrored = (HAND * [1.0, -1.0, 1.0]) @ rotation.T
    left = palm_axes(mirrored, right=False)
    assert np.linalg.norm(rotation_vector_from_matrix(left @ rotation.T)) < 0.06


def seen(index):
    """Keypoints in the camera frame at an image."""
    positions, rotations = motion(np.array([index / VIDEO_RATE]))
    return HAND @ rotations[0].T + positions[0]


def as_hamer(keypoints):
    place = np.array([0.02, -0.01, keypoints[0, 2]])
    local = keypoints - place
    scaled = 12_500.0
    stretched = place.copy()
    stretched[2] *= scaled / INTRINSICS.fx
    return {
        'keypoints_3d': local.tolist(),
        'cam_t_full': stretched.tolist(),
        'scaled_focal_length': scaled,
    }


def as_mediapipe(keypoints):
    image = np.zeros((21, 3))
    columns = keypoints[:, 0] / keypoints[:, 2] * INTRINSICS.fx + INTRINSICS.cx
    rows = keypoints[:, 1] / keypoints[:, 2] * INTRINSICS.fy + INTRINSICS.cy
    image[:, 0], image[:, 1] = columns / INTRINSICS.width, rows / INTRINSICS.height
    return {
        'landmarks': image.tolist(),
        'world_landmarks': (keypoints - keypoints.mean(axis=0)).tolist(),
        'wrist_depth_m': keypoints[0, 2],
    }


def as_frankmocap(keypoints):
    """Weak perspective: every point at the depth of the origin of the local hand."""
    origin = keypoints[0]
    per_metre = INTRINSICS.fx / origin[2]
    ratio = 0.9
    scale = per_metre * ratio / 112.0
    corner = np.array([150.0, 90.0])
    local = keypoints - origin
    centre = origin[:2] / origin[2] * INTRINSICS.fx + [INTRINSICS.cx, INTRINSICS.cy]
    shift = (centre - corner - 112.0 / ratio) / per_metre
    return {
        'pred_joints_smpl': [local.tolist()],
        'pred_camera': [scale, *shift],
        'bbox_scale_ratio': ratio,
        'bbox_top_left': corner.tolist(),
    }


WRITERS = {
    'keypoints': lambda keypoints: {'keypoints_3d': keypoints.tolist()},
    'hamer': as_hamer,
    'wilor': as_hamer,
    'frankmocap': as_frankmocap,
    'mediapipe': as_mediapipe,
}


@pytest.mark.parametrize('tracker', sorted(TRACKERS))
def test_every_tracker_gives_the_same_track(tracker):
    frames = [WRITERS[tracker](seen(index)) for index in range(0, 150)]
    frames[10] = {}  # how FrankMocap writes an image without a hand
    found = track_from_frames(frames, tracker, VIDEO_RATE, INTRINSICS, CAMERA, right=True)
    assert len(found.times) == 149
    assert found.source == tracker
    positions, rotations = motion(found.times)
    np.testing.assert_allclose(found.positions, positions, atol=1e-6)
    for axes, rotation in zip(found.rotations[::20], rotations[::20], strict=True):
        assert np.linalg.norm(rotation_vector_from_matrix(axes @ rotation.T)) < 0.06
    extract(found, T_BASE_CAMERA, ExtractionSettings())


def test_wrong_tracker_output_names_the_frame():
    good = WRITERS['keypoints'](seen(0))

    def read(frames, tracker='keypoints'):
        return track_from_frames(frames, tracker, VIDEO_RATE, INTRINSICS, CAMERA, right=True)

    with pytest.raises(ConfigurationError, match=r"Frame 1 .*lacks the entry 'keypoints_3d'"):
        read([good, {'keypoints': []}])
    with pytest.raises(ConfigurationError, match='Frame 0'):
        read([{'keypoints_3d': [[0.0, 0.0, 0.0]] * 21}, good])
    with pytest.raises(ConfigurationError, match='a hand in 1 of 2 frames'):
        read([good, None])
    with pytest.raises(ConfigurationError, match='must be a list'):
        read({'frames': []})


def test_tracks_survive_their_file(tmp_path):
    made = track(duration=1.0)
    made.save(tmp_path / 'track.json')
    loaded = load_track(tmp_path / 'track.json', 'ignored')
    assert loaded.frame_id == CAMERA
    np.testing.assert_allclose(loaded.positions, made.positions, atol=1e-6)
    np.testing.assert_allclose(loaded.rotations, made.rotations, atol=1e-6)
    rows = ['time_s,x_m,y_m,z_m,qx,qy,qz,qw']
    for time, position, rotation in zip(made.times, made.positions, made.rotations, strict=True):
        numbers = [time, *position, *quaternion_from_matrix(rotation)]
        rows.append(','.join(f'{number:.9f}' for number in numbers))
    (tmp_path / 'track.csv').write_text('\n'.join(rows))
    listed = load_track(tmp_path / 'track.csv', CAMERA)
    np.testing.assert_allclose(listed.rotations, made.rotations, atol=1e-6)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.json', '{}', 'not a pose track'),
        ('a.json', '{', 'is not JSON'),
        ('a.json', json.dumps({'schema': 'deft_pose_track/1', 'rotations_xyzw': []}), 'frame_id'),
        ('a.csv', 'time,x\n1,2', 'must name time_s'),
        ('a.csv', 'time_s,x_m,y_m,z_m,qx,qy,qz,qw\n0,0,0,0,0,0,0,zero', 'line 2: .*zero'),
        ('a.csv', 'time_s,x_m,y_m,z_m,qx,qy,qz,qw\n0,0,0,0,0,0,0,0', 'zero'),
    ],
)
def test_wrong_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_track(tmp_path / name, CAMERA)


def test_a_missing_file_is_named(tmp_path):
    for name in ('none.json', 'none.csv'):
        with pytest.raises(ConfigurationError, match=name):
            load_track(tmp_path / name, CAMERA)


@pytest.mark.parametrize(('roll', 'yaw'), [(0.3, 5.0), (3.1, 1.0)])
def test_the_frame_of_the_camera_does_not_matter(roll, yaw):
    """Seen from elsewhere, with that place known, a motion gives the same displacements."""
    other = transform(matrix_from_euler([roll, 0.4, yaw]), [0.3, -0.2, 0.5])
    here = extract(track(), T_BASE_CAMERA, ExtractionSettings()).trajectory
    moved = track().moved(other, 'another camera')
    there = extract(moved, T_BASE_CAMERA @ np.linalg.inv(other), ExtractionSettings()).trajectory
    np.testing.assert_allclose(there.translations, here.translations, atol=1e-9)
    np.testing.assert_allclose(there.rotation_vectors, here.rotation_vectors, atol=1e-7)


def test_the_picture_shows_the_way(tmp_path, configuration):
    from PIL import Image

    found = extract(track(noise=0.002), T_BASE_CAMERA, ExtractionSettings())
    path = tmp_path / 'picture.png'
    draw(
        found.trajectory, np.eye(3), np.array([0.5, 0.0, 0.1]), configuration, 'fine', path, found
    )
    pixels = np.asarray(Image.open(path).convert('RGB'))
    assert pixels.shape == (600, 1100, 3)
    for color in ((0x44, 0x77, 0xAA), (0x22, 0x88, 0x33), (0xEE, 0x66, 0x77)):
        assert np.sum(np.all(np.abs(pixels.astype(int) - color) < 20, axis=2)) > 100
