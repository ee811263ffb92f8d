# SPDX-License-Identifier: Apache-2.0
"""A decoded EpisodeRecord message (by rosbags, without ROS) as a checked `Episode`."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.episode import Episode, FilmFrame, Outcome, Phase
from deft_core.errors import InvalidInputError, RecordingError
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspResidual
from deft_core.prior import GraspPrior

FloatArray = npt.NDArray[np.float64]
_MAXIMUM_IMAGE_SIDE: Final = 8192  # pixel
_MAXIMUM_FILM_FRAMES: Final = 10_000
_SUCCESS: Final[dict[int, bool | None]] = {0: None, 1: False, 2: True}


def episode_from_record(record: Any) -> Episode:
    """Convert and check one record.

    Args:
        record: A deft_msgs/msg/EpisodeRecord as rosbags decodes it.

    Raises:
        RecordingError: A field is out of range or does not fit the others; names the episode.
    """
    try:
        return _convert(record)
    except (InvalidInputError, ValueError, AttributeError) as error:
        name = getattr(record, 'episode_id', '?')
        raise RecordingError(f'episode record {name!r} is not usable: {error}') from error


def _convert(record: Any) -> Episode:
    reward = float(record.reward)
    if not math.isnan(reward) and not 0.0 <= reward <= 1.0:
        raise InvalidInputError(f'reward is {reward}, expected 0 to 1 or NaN')
    if record.success not in _SUCCESS:
        raise InvalidInputError(f'success is {record.success}, expected 0, 1 or 2')
    if len(record.film) > _MAXIMUM_FILM_FRAMES:
        raise InvalidInputError(f'film has {len(record.film)} frames, at most 10000 are read')
    if not record.episode_id:
        raise InvalidInputError('episode_id is empty')
    distribution = record.distribution
    return Episode(
        episode_id=str(record.episode_id),
        index=int(record.index),
        phase=Phase(int(record.phase)),
        task=str(record.task),
        object_name=str(record.object_name),
        scene_seed=int(record.scene_seed),
        prior=_prior(record.prior),
        residual=_residual(record.residual),
        executed=_grasp(record.executed),
        outcome=Outcome(int(record.outcome)),
        reward=None if math.isnan(reward) else reward,
        reward_source=str(record.reward_source),
        success=_SUCCESS[int(record.success)],
        first_image=_image(record.first_image, 'first_image'),
        last_image=_image(record.last_image, 'last_image'),
        film=tuple(_film_frame(frame) for frame in record.film),
        sample_seed=int(record.sample_seed),
        calibration_id=str(record.calibration_id),
        distribution_mean=_residual(distribution.mean).to_vector(),
        distribution_std=_residual(distribution.standard_deviation).to_vector(),
        started=_seconds(record.started),
        ended=_seconds(record.ended),
    )


def _seconds(stamp: Any) -> float:
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9


def _joints(message: Any) -> FloatArray:
    """Joint positions in `HAND_JOINT_NAMES` order, whatever the order in the message. [rad]"""
    names = [str(name) for name in message.joint_names]
    if sorted(names) != sorted(HAND_JOINT_NAMES):
        raise InvalidInputError(f'joint names are {names}, expected {list(HAND_JOINT_NAMES)}')
    by_name = dict(zip(names, message.joint_positions, strict=True))
    return np.array([by_name[name] for name in HAND_JOINT_NAMES], dtype=np.float64)


def _residual(message: Any) -> GraspResidual:
    return GraspResidual(message.position, message.wrist_rotation, _joints(message))


def _grasp(message: Any) -> GraspParameters:
    return GraspParameters(
        message.position, message.wrist_rotation, _joints(message), str(message.header.frame_id)
    )


def _prior(message: Any) -> GraspPrior:
    return GraspPrior(
        grasp=_grasp(message.grasp),
        contact_point=message.contact_point,
        contact_uncertainty=float(message.contact_uncertainty),
        source=str(message.source),
        task=str(message.task),
        instruction=str(message.instruction),
        calibration_id=str(message.calibration_id),
    )


def _image(message: Any, name: str) -> npt.NDArray[np.uint8]:
    """RGB array of an image message. Shape (height, width, 3)."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if message.encoding != 'rgb8':
        raise InvalidInputError(f'{name} is encoded as {message.encoding!r}, expected rgb8')
    if not (0 < height <= _MAXIMUM_IMAGE_SIDE and 0 < width <= _MAXIMUM_IMAGE_SIDE):
        raise InvalidInputError(f'{name} has {width} x {height} pixels')
    data = np.asarray(message.data, dtype=np.uint8)
    if step < 3 * width or data.size != step * height:
        raise InvalidInputError(
            f'{name} has {data.size} bytes for {width} x {height} pixels in rows of {step} bytes'
        )
    return data.reshape(height, step)[:, : 3 * width].reshape(height, width, 3).copy()


def _film_frame(message: Any) -> FilmFrame:
    if message.format != 'jpeg':
        raise InvalidInputError(f'a film frame is {message.format!r}, expected jpeg')
    stamp = _seconds(message.header.stamp)
    return FilmFrame(stamp=stamp, jpeg=np.asarray(message.data, dtype=np.uint8).tobytes())
