# SPDX-License-Identifier: Apache-2.0
"""Messages of whole records: object observations and episodes."""

from __future__ import annotations

import array
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, PointCloud2, RegionOfInterest

from deft_core.camera import ColorImage
from deft_core.decode_records import NORMAL_CHANNELS, PIXEL_CHANNELS
from deft_core.episode import Episode, FilmFrame
from deft_core.frames import BASE_FRAME, CAMERA_OPTICAL_FRAME
from deft_core.nodes.encode import (
    distribution_to_msg,
    grasp_to_msg,
    header,
    prior_to_msg,
    residual_to_msg,
    time_to_msg,
)
from deft_core.nodes.encode_images import (
    image_to_msg,
    points_to_msg,
)
from deft_core.observation import ObjectObservation
from deft_msgs.msg import EpisodeRecord
from deft_msgs.msg import ObjectObservation as ObjectObservationMsg

SUCCESS_TO_MSG: Final = {
    None: EpisodeRecord.SUCCESS_UNKNOWN,
    False: EpisodeRecord.SUCCESS_NO,
    True: EpisodeRecord.SUCCESS_YES,
}
SUCCESS_FROM_MSG: Final = {value: key for key, value in SUCCESS_TO_MSG.items()}


def observation_to_msg(observation: ObjectObservation, color: ColorImage) -> ObjectObservationMsg:
    """Message of an observation together with the image it was made from."""
    x0, y0, x1, y1 = observation.crop_box
    stamp = observation.stamp
    return ObjectObservationMsg(
        header=header(stamp, BASE_FRAME),
        color=image_to_msg(color, 'rgb8', stamp, CAMERA_OPTICAL_FRAME),
        mask=image_to_msg(
            observation.mask.astype(np.uint8) * np.uint8(255), 'mono8', stamp, CAMERA_OPTICAL_FRAME
        ),
        crop=RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0),
        points=observed_points_to_msg(observation),
        table_plane=observation.table_plane,
        centre=observation.centre,
        axes=observation.axes.ravel(),
        extents=observation.extents,
        height=observation.height,
        touches_border=observation.touches_border,
        quality_names=list(observation.quality),
        quality_values=[float(v) for v in observation.quality.values()],
        calibration_id=observation.calibration_id,
    )


def observed_points_to_msg(observation: ObjectObservation) -> PointCloud2:
    """Seen points with, where known, normals (names as PCL has them) and pixels."""
    channels: dict[str, npt.NDArray[Any]] = {}
    if observation.normals is not None:
        channels |= dict(zip(NORMAL_CHANNELS, observation.normals.T, strict=True))
    if observation.pixels is not None:
        channels |= dict(zip(PIXEL_CHANNELS, observation.pixels.T, strict=True))
    return points_to_msg(observation.points, observation.stamp, BASE_FRAME, channels)


def episode_to_msg(
    episode: Episode, session_id: str, outcome_message: str, software_version: str
) -> EpisodeRecord:
    """Message of an episode record."""
    return EpisodeRecord(
        header=header(episode.ended, episode.executed.frame_id),
        session_id=session_id,
        episode_id=episode.episode_id,
        index=episode.index,
        phase=episode.phase.value,
        task=episode.task,
        object_name=episode.object_name,
        scene_seed=episode.scene_seed,
        sample_seed=episode.sample_seed,
        prior=prior_to_msg(episode.prior, episode.started),
        residual=residual_to_msg(episode.residual),
        executed=grasp_to_msg(episode.executed, episode.started),
        distribution=distribution_to_msg(episode.distribution_mean, episode.distribution_std),
        outcome=episode.outcome.value,
        outcome_message=outcome_message,
        reward=float('nan') if episode.reward is None else episode.reward,
        reward_source=episode.reward_source,
        success=SUCCESS_TO_MSG[episode.success],
        started=time_to_msg(episode.started),
        ended=time_to_msg(episode.ended),
        first_image=image_to_msg(
            episode.first_image, 'rgb8', episode.started, CAMERA_OPTICAL_FRAME
        ),
        last_image=image_to_msg(episode.last_image, 'rgb8', episode.ended, CAMERA_OPTICAL_FRAME),
        film=[_film_to_msg(frame) for frame in episode.film],
        calibration_id=episode.calibration_id,
        software_version=software_version,
    )


def _film_to_msg(frame: FilmFrame) -> CompressedImage:
    return CompressedImage(
        header=header(frame.stamp, CAMERA_OPTICAL_FRAME),
        format='jpeg',
        data=array.array('B', frame.jpeg),
    )
