# SPDX-License-Identifier: Apache-2.0
"""Messages to plain objects: object observations and episode records.

Nothing here imports ROS: messages of rclpy and messages that `rosbags` reads from a file serve
alike.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from deft_core.decode import (
    distribution_from_msg,
    grasp_from_msg,
    prior_from_msg,
    residual_from_msg,
    time_from_msg,
)
from deft_core.decode_images import (
    channels_from_msg,
    color_from_msg,
    mask_from_msg,
    points_from_msg,
)
from deft_core.episode import Episode, FilmFrame, Outcome, Phase
from deft_core.errors import InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.observation import ObjectObservation

# deft_msgs/EpisodeRecord.SUCCESS_*
SUCCESS_FROM_MSG: Final = {0: None, 1: False, 2: True}
# Channels of the cloud of an observation, besides x, y and z.
NORMAL_CHANNELS: Final = ('normal_x', 'normal_y', 'normal_z')
PIXEL_CHANNELS: Final = ('column', 'row')


def observation_from_msg(message: Any) -> ObjectObservation:
    """Observation of a message."""
    if message.header.frame_id != BASE_FRAME:
        raise InvalidInputError(
            f'An observation must be in {BASE_FRAME!r}, got {message.header.frame_id!r}.'
        )
    if len(message.quality_names) != len(message.quality_values):
        raise InvalidInputError(
            f'Every quality figure needs a name and a value, got {len(message.quality_names)} '
            f'names and {len(message.quality_values)} values.'
        )
    crop = message.crop
    pixels = channels_from_msg(message.points, PIXEL_CHANNELS)
    return ObjectObservation(
        stamp=time_from_msg(message.header.stamp),
        mask=mask_from_msg(message.mask),
        crop_box=(
            crop.x_offset,
            crop.y_offset,
            crop.x_offset + crop.width,
            crop.y_offset + crop.height,
        ),
        points=points_from_msg(message.points),
        table_plane=np.asarray(message.table_plane, dtype=np.float64),
        centre=np.asarray(message.centre, dtype=np.float64),
        axes=np.asarray(message.axes, dtype=np.float64).reshape(3, 3),
        extents=np.asarray(message.extents, dtype=np.float64),
        height=float(message.height),
        touches_border=bool(message.touches_border),
        quality=dict(zip(message.quality_names, message.quality_values, strict=True)),
        calibration_id=message.calibration_id,
        pixels=None if pixels is None else np.rint(pixels).astype(np.int64),
        normals=channels_from_msg(message.points, NORMAL_CHANNELS),
    )


def episode_from_msg(message: Any) -> Episode:
    """Episode of a record; also takes the equal message types of `rosbags`."""
    mean, std = distribution_from_msg(message.distribution)
    reward = float(message.reward)
    return Episode(
        episode_id=message.episode_id,
        index=int(message.index),
        phase=Phase(int(message.phase)),
        task=message.task,
        object_name=message.object_name,
        scene_seed=int(message.scene_seed),
        prior=prior_from_msg(message.prior),
        residual=residual_from_msg(message.residual),
        executed=grasp_from_msg(message.executed),
        outcome=Outcome(int(message.outcome)),
        reward=None if np.isnan(reward) else reward,
        reward_source=message.reward_source,
        success=SUCCESS_FROM_MSG[int(message.success)],
        first_image=color_from_msg(message.first_image),
        last_image=color_from_msg(message.last_image),
        film=tuple(FilmFrame(time_from_msg(f.header.stamp), bytes(f.data)) for f in message.film),
        sample_seed=int(message.sample_seed),
        calibration_id=message.calibration_id,
        distribution_mean=mean,
        distribution_std=std,
        started=time_from_msg(message.started),
        ended=time_from_msg(message.ended),
    )
