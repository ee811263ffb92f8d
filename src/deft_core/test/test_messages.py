# SPDX-License-Identifier: Apache-2.0
"""Objects survive the way through a message, and bad messages are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deft_core import decode
from deft_core.camera import CameraIntrinsics
from deft_core.episode import Episode, Outcome, Phase, VideoFrame
from deft_core.errors import InvalidInputError
from deft_core.grasp import (
    GRASP_DIMENSION,
    HAND_JOINT_NAMES,
    GraspParameters,
    GraspPrior,
    GraspResidual,
)
from deft_core.observation import ObjectObservation
from deft_core.rotations import matrix_from_euler, transform
from deft_core.trajectory import WristTrajectory

encode = pytest.importorskip('deft_core.nodes.encode', reason='needs the built messages')
from sensor_msgs.msg import RegionOfInterest  # noqa: E402

VECTOR = np.linspace(-1.0, 1.0, GRASP_DIMENSION)
COLOR = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def make_prior() -> GraspPrior:
    return GraspPrior(
        grasp=GraspParameters.from_vector(VECTOR),
        contact_point=[0.5, 0.1, 0.02],
        contact_uncertainty=0.003,
        source='geometric/1',
        task='pick_cup',
        instruction='pick up the cup',
        calibration_id='cell',
    )


def make_episode(**changes) -> Episode:
    episode = Episode(
        episode_id='s-003',
        index=3,
        phase=Phase.FINE_TUNE,
        task='pick_cup',
        object_name='red_cup',
        scene_seed=17,
        prior=make_prior(),
        residual=GraspResidual.from_vector(VECTOR / 10),
        executed=make_prior().grasp + GraspResidual.from_vector(VECTOR / 10),
        outcome=Outcome.COMPLETED,
        reward=0.25,
        reward_source='operator',
        success=False,
        first_image=COLOR,
        last_image=COLOR[::-1].copy(),
        rollout_video=(VideoFrame(1.5, b'\xff\xd8'), VideoFrame(2.0, b'\xff\xd9')),
        sample_seed=2**63,
        calibration_id='cell',
        distribution_mean=VECTOR,
        distribution_std=np.abs(VECTOR),
        started=100.25,
        ended=107.5,
    )
    return dataclasses.replace(episode, **changes)


def assert_equal(a, b) -> None:
    """Equality of dataclasses that hold arrays."""
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        for field in dataclasses.fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, tuple) and a and dataclasses.is_dataclass(a[0]):
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


@pytest.mark.parametrize(
    'changes',
    [{}, {'reward': None, 'success': None, 'outcome': Outcome.UNREACHABLE}, {'success': True}],
)
def test_episode_round_trip(changes):
    episode = make_episode(**changes)
    message = encode.episode_to_msg(episode, 'session', '', '0.1.0')
    assert_equal(decode.episode_from_msg(message), episode)


def test_observation_round_trip():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2:4, 3:6] = True
    observation = ObjectObservation(
        stamp=12.5,
        mask=mask,
        crop_box=(2, 1, 6, 5),
        points=np.array([[0.5, 0.25, 0.125]]),
        table_plane=np.array([0.0, 0.0, 1.0, 0.0]),
        centre=np.array([0.5, 0.0, 0.05]),
        axes=np.eye(3),
        extents=np.array([0.1, 0.08, 0.07]),
        height=0.1,
        touches_border=True,
        quality={'points': 6.0},
        calibration_id='cell',
    )
    message = encode.observation_to_msg(observation, COLOR)
    assert_equal(decode.observation_from_msg(message), observation)


def test_trajectory_round_trip():
    trajectory = WristTrajectory(np.eye(3), -np.eye(3), rate=10.0, source='demonstration')
    message = encode.trajectory_to_msg(trajectory, 0.0)
    assert_equal(decode.trajectory_from_msg(message), trajectory)


def test_transform_round_trip():
    matrix = transform(matrix_from_euler([0.1, -0.5, 2.0]), [1.0, 2.0, 3.0])
    back = decode.transform_from_msg(encode.transform_to_msg(matrix))
    np.testing.assert_allclose(back, matrix, atol=1e-12)


def test_joints_are_reordered_by_name():
    message = encode.grasp_to_msg(GraspParameters.from_vector(VECTOR), 0.0)
    message.joint_names = list(reversed(HAND_JOINT_NAMES))
    joints = decode.grasp_from_msg(message).joint_positions
    np.testing.assert_array_equal(joints, VECTOR[6:][::-1])


def test_misspelt_joint_is_named():
    message = encode.grasp_to_msg(GraspParameters.from_vector(VECTOR), 0.0)
    message.joint_names = ['indx_side', *HAND_JOINT_NAMES[1:]]
    with pytest.raises(InvalidInputError, match='indx_side'):
        decode.grasp_from_msg(message)


def test_frame_must_be_named():
    message = encode.grasp_to_msg(GraspParameters.from_vector(VECTOR), 0.0)
    message.header.frame_id = ''
    with pytest.raises(InvalidInputError, match='frame_id'):
        decode.grasp_from_msg(message)


def test_both_color_orders_and_padded_rows_give_the_same_picture():
    message = encode.image_to_msg(COLOR, 'rgb8', 0.0, 'camera')
    np.testing.assert_array_equal(decode.color_from_msg(message), COLOR)
    padded = np.zeros((6, 32), dtype=np.uint8)
    padded[:, :24] = COLOR[..., ::-1].reshape(6, 24)
    message.encoding, message.step, message.data = 'bgr8', 32, padded.tobytes()
    np.testing.assert_array_equal(decode.color_from_msg(message), COLOR)


def test_depth_in_millimetres_and_metres_agree_and_holes_are_nan():
    millimetres = np.array([[0, 500], [1000, 1234]], dtype=np.uint16)
    metres = np.array([[np.inf, 0.5], [1.0, 1.234]], dtype=np.float32)
    a = decode.depth_from_msg(encode.image_to_msg(millimetres, '16UC1', 0.0, 'c'))
    b = decode.depth_from_msg(encode.image_to_msg(metres, '32FC1', 0.0, 'c'))
    np.testing.assert_allclose(a, b)
    assert np.isnan(a[0, 0])
    big_endian = encode.image_to_msg(millimetres.byteswap(), '16UC1', 0.0, 'c')
    big_endian.is_bigendian = 1
    np.testing.assert_allclose(decode.depth_from_msg(big_endian), a)


@pytest.mark.parametrize(('field', 'value'), [('step', 5), ('height', 7), ('width', 100_000)])
def test_image_whose_size_and_data_disagree_is_refused(field, value):
    message = encode.image_to_msg(COLOR, 'rgb8', 0.0, 'camera')
    setattr(message, field, value)
    with pytest.raises(InvalidInputError, match=r'must (hold|be 1 to)'):
        decode.color_from_msg(message)


@pytest.mark.parametrize('distortion', [(), (-0.05, 0.06, 0.001, 0.0, -0.02), (0.1,) + (0.0,) * 7])
def test_camera_info_round_trip(distortion):
    intrinsics = CameraIntrinsics(640, 480, 605.0, 606.0, 320.5, 240.5, distortion)
    message = encode.intrinsics_to_msg(intrinsics, 0.0, 'camera')
    assert decode.intrinsics_from_msg(message) == intrinsics


@pytest.mark.parametrize(
    ('field', 'value', 'words'),
    [
        ('distortion_model', 'equidistant', "'equidistant'"),
        ('d', [0.1, 0.2], 'with 2 coefficients'),
        ('binning_x', 2, 'binning 2 x 0'),
        ('roi', RegionOfInterest(x_offset=100, width=300, height=200), 'region of interest'),
    ],
)
def test_a_camera_that_is_not_understood_is_refused_by_name(field, value, words):
    camera = CameraIntrinsics(640, 480, 605.0, 606.0, 320.5, 240.5)
    message = encode.intrinsics_to_msg(camera, 0.0, 'camera')
    setattr(message, field, value)
    with pytest.raises(InvalidInputError, match=words):
        decode.intrinsics_from_msg(message)
