# SPDX-License-Identifier: Apache-2.0
"""Episodes made of numbers, their CDR bytes, and bags of them, without ROS."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TYPE
from deft_bag.writer import EpisodeBag
from deft_cem.optimisers.cem import initial_standard_deviation
from deft_core.episode import Episode, Outcome, Phase, VideoFrame
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspPrior, GraspResidual

SIGMA = initial_standard_deviation()
TYPESTORE = message_typestore()


def make_episode(index: int, *, reward: float | None = 0.5, seed: int = 0, **changes) -> Episode:
    """One practice episode; every number depends on `seed` and `index`."""
    rng = np.random.default_rng([seed, index])
    position = np.array([0.4, 0.0, 0.1]) + rng.uniform(-0.1, 0.1, 3)
    grasp = GraspParameters(position, [0.0, 1.5, rng.uniform(-0.5, 0.5)], np.full(16, 0.4))
    residual = GraspResidual.from_vector(rng.standard_normal(22) * SIGMA)
    values = {
        'episode_id': f'test-{seed}-{index:03d}',
        'index': index,
        'phase': Phase.WARM_UP if index < 10 else Phase.FINE_TUNE,
        'task': 'pick_cup',
        'object_name': 'red_mug',
        'scene_seed': index + 7,
        'prior': GraspPrior(
            grasp, position, 0.01, 'geometric', 'pick_cup', 'pick up the cup', 'cell'
        ),
        'residual': residual,
        'executed': grasp + residual,
        'outcome': Outcome.COMPLETED,
        'reward': reward,
        'reward_source': 'scripted_operator',
        'success': None if reward is None else reward > 0.7,
        'first_image': rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        'last_image': rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        'rollout_video': (VideoFrame(float(index), b'\xff\xd8film'),),
        'sample_seed': 3,
        'calibration_id': 'cell',
        'distribution_mean': np.zeros(22),
        'distribution_std': SIGMA,
        'started': 10.0 * index,
        'ended': 10.0 * index + 8.5,
    }
    values.update(changes)
    return Episode(**values)


def record_of(episode: Episode):
    """The EpisodeRecord message of an episode as rosbags' own message class."""
    m = TYPESTORE.types

    def time(stamp: float):
        return m['builtin_interfaces/msg/Time'](
            sec=math.floor(stamp), nanosec=round((stamp - math.floor(stamp)) * 1e9)
        )

    def header(stamp: float, frame: str = 'link_base'):
        return m['std_msgs/msg/Header'](stamp=time(stamp), frame_id=frame)

    def grasp(value: GraspParameters):
        return m['deft_msgs/msg/GraspParameters'](
            header=header(0.0, value.frame_id),
            position=value.position,
            wrist_rotation=value.wrist_rotation,
            joint_names=list(HAND_JOINT_NAMES),
            joint_positions=value.joint_positions,
        )

    def residual(vector):
        value = GraspResidual.from_vector(vector)
        return m['deft_msgs/msg/GraspResidual'](
            position=value.position,
            wrist_rotation=value.wrist_rotation,
            joint_names=list(HAND_JOINT_NAMES),
            joint_positions=value.joint_positions,
        )

    def image(pixels, encoding: str = 'rgb8'):
        return m['sensor_msgs/msg/Image'](
            header=header(0.0, 'camera_color_optical_frame'),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.shape[1] * 3,
            data=pixels.reshape(-1),
        )

    empty = np.zeros((0, 0, 3), dtype=np.uint8)
    prior = episode.prior
    return m['deft_msgs/msg/EpisodeRecord'](
        header=header(episode.ended),
        session_id='test',
        episode_id=episode.episode_id,
        index=episode.index,
        phase=episode.phase.value,
        task=episode.task,
        object_name=episode.object_name,
        scene_seed=episode.scene_seed,
        sample_seed=episode.sample_seed,
        prior=m['deft_msgs/msg/GraspPrior'](
            header=header(0.0),
            grasp=grasp(prior.grasp),
            contact_point=prior.contact_point,
            contact_uncertainty=prior.contact_uncertainty,
            source=prior.source,
            task=prior.task,
            instruction=prior.instruction,
            calibration_id=prior.calibration_id,
            mano_pose=np.full(45, np.nan, dtype=np.float32),
            heat_map=image(empty, ''),
        ),
        residual=residual(episode.residual.to_vector()),
        executed=grasp(episode.executed),
        distribution=m['deft_msgs/msg/GraspDistribution'](
            mean=residual(episode.distribution_mean),
            standard_deviation=residual(episode.distribution_std),
        ),
        outcome=episode.outcome.value,
        outcome_message='',
        reward=math.nan if episode.reward is None else episode.reward,
        reward_source=episode.reward_source,
        success={None: 0, False: 1, True: 2}[episode.success],
        started=time(episode.started),
        ended=time(episode.ended),
        first_image=image(episode.first_image),
        last_image=image(episode.last_image),
        rollout_video=[
            m['sensor_msgs/msg/CompressedImage'](
                header=header(frame.stamp),
                format='jpeg',
                data=np.frombuffer(frame.jpeg, dtype=np.uint8),
            )
            for frame in episode.rollout_video
        ],
        calibration_id=episode.calibration_id,
        software_version='0.1.0',
    )


def cdr(record) -> bytes:
    return bytes(TYPESTORE.serialize_cdr(record, EPISODE_TYPE))


def write_bag(folder, episodes, session_id: str = 'test') -> None:
    """A bag of the given episodes; without any it is an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    bag = EpisodeBag(folder)
    for number, episode in enumerate(episodes):
        record = record_of(episode)
        record.session_id = session_id
        bag.write_episode(number, cdr(record), round(episode.ended * 1e9))


@pytest.fixture(scope='session')
def records() -> SimpleNamespace:
    """Builders of test data, for the conftest of every package that reads bags."""
    return SimpleNamespace(
        sigma=SIGMA,
        typestore=TYPESTORE,
        make_episode=make_episode,
        record_of=record_of,
        cdr=cdr,
        write_bag=write_bag,
    )
