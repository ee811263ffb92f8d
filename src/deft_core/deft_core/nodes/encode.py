# SPDX-License-Identifier: Apache-2.0
"""Plain objects to messages.

Bytes travel as `array.array`, which rclpy takes without touching every element.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Quaternion, Transform, Vector3
from sensor_msgs.msg import (
    CameraInfo,
    CompressedImage,
    Image,
    PointCloud2,
    PointField,
    RegionOfInterest,
)
from std_msgs.msg import Header

from deft_core.camera import CameraIntrinsics, ColorImage
from deft_core.decode import (
    EPISODE_FIELDS,
    NORMAL_CHANNELS,
    OBSERVATION_FIELDS,
    PIXEL_CHANNELS,
    PRIOR_FIELDS,
    SUCCESS_FROM_MSG,
    same,
)
from deft_core.episode import Episode, VideoFrame
from deft_core.frames import BASE_FRAME, CAMERA_OPTICAL_FRAME
from deft_core.grasp import HAND_JOINT_NAMES, GraspParameters, GraspPrior, GraspResidual
from deft_core.observation import ObjectObservation
from deft_core.rotations import quaternion_from_matrix
from deft_core.trajectory import WristTrajectory
from deft_core.validation import FloatArray
from deft_msgs.msg import EpisodeRecord, GraspDistribution
from deft_msgs.msg import GraspParameters as GraspParametersMsg
from deft_msgs.msg import GraspPrior as GraspPriorMsg
from deft_msgs.msg import GraspResidual as GraspResidualMsg
from deft_msgs.msg import ObjectObservation as ObjectObservationMsg
from deft_msgs.msg import WristTrajectory as WristTrajectoryMsg

SUCCESS_TO_MSG: Final = {value: key for key, value in SUCCESS_FROM_MSG.items()}
_MANO_POSE_SIZE = 45


def time_to_msg(stamp: float) -> Time:
    """ROS time of seconds since the epoch of the ROS clock. [s]."""
    seconds = math.floor(stamp)
    nanoseconds = min(round((stamp - seconds) * 1e9), 999_999_999)
    return Time(sec=seconds, nanosec=nanoseconds)


def header(stamp: float, frame_id: str) -> Header:
    """Header with a stamp in seconds. [s]."""
    return Header(stamp=time_to_msg(stamp), frame_id=frame_id)


def grasp_to_msg(grasp: GraspParameters, stamp: float) -> GraspParametersMsg:
    """Message of grasp parameters."""
    return GraspParametersMsg(
        header=header(stamp, grasp.frame_id),
        position=grasp.position,
        wrist_rotation=grasp.wrist_rotation,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=grasp.joint_positions,
    )


def residual_to_msg(residual: GraspResidual) -> GraspResidualMsg:
    """Message of a residual."""
    return GraspResidualMsg(
        position=residual.position,
        wrist_rotation=residual.wrist_rotation,
        joint_names=list(HAND_JOINT_NAMES),
        joint_positions=residual.joint_positions,
    )


def distribution_to_msg(mean: npt.ArrayLike, std: npt.ArrayLike) -> GraspDistribution:
    """Message of a diagonal Gaussian; mean and std have shape (22,). [m, rad]."""
    return GraspDistribution(
        mean=residual_to_msg(GraspResidual.from_vector(mean)),
        standard_deviation=residual_to_msg(GraspResidual.from_vector(std)),
    )


def prior_to_msg(prior: GraspPrior, stamp: float) -> GraspPriorMsg:
    """Message of a prior, without the heat map that only a learned model has."""
    return GraspPriorMsg(
        header=header(stamp, prior.grasp.frame_id),
        grasp=grasp_to_msg(prior.grasp, stamp),
        mano_pose=np.full(_MANO_POSE_SIZE, np.nan, dtype=np.float32),
        **same(prior, PRIOR_FIELDS),
    )


def trajectory_to_msg(trajectory: WristTrajectory, stamp: float) -> WristTrajectoryMsg:
    """Message of a post-grasp trajectory."""
    return WristTrajectoryMsg(
        header=header(stamp, trajectory.frame_id),
        rate=trajectory.rate,
        translations=[_vector_to_msg(row) for row in trajectory.translations],
        rotation_vectors=[_vector_to_msg(row) for row in trajectory.rotation_vectors],
        source=trajectory.source,
    )


def transform_to_msg(matrix: npt.ArrayLike) -> Transform:
    """Message of a rigid transform, shape (4, 4). [m]."""
    checked = np.asarray(matrix, dtype=np.float64)
    return Transform(
        translation=_vector_to_msg(checked[:3, 3]), rotation=_quaternion_to_msg(checked)
    )


def pose_to_msg(matrix: npt.ArrayLike) -> Pose:
    """Pose message of a rigid transform, shape (4, 4). [m]."""
    checked = np.asarray(matrix, dtype=np.float64)
    pose = Pose(orientation=_quaternion_to_msg(checked))
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in checked[:3, 3])
    return pose


def _quaternion_to_msg(matrix: FloatArray) -> Quaternion:
    x, y, z, w = (float(v) for v in quaternion_from_matrix(matrix[:3, :3]))
    return Quaternion(x=x, y=y, z=z, w=w)


def _vector_to_msg(vector: FloatArray) -> Vector3:
    return Vector3(x=float(vector[0]), y=float(vector[1]), z=float(vector[2]))


def image_to_msg(
    image: npt.NDArray[np.generic], encoding: str, stamp: float, frame_id: str
) -> Image:
    """Image message; the array must already have the type of the encoding."""
    contiguous = np.ascontiguousarray(image)
    rows, columns = contiguous.shape[:2]
    data = array.array('B')
    data.frombytes(contiguous.tobytes())
    return Image(
        header=header(stamp, frame_id),
        height=rows,
        width=columns,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=contiguous.strides[0],
        data=data,
    )


def intrinsics_to_msg(intrinsics: CameraIntrinsics, stamp: float, frame_id: str) -> CameraInfo:
    """camera_info as realsense2_camera fills it in."""
    k, d = intrinsics.matrix, intrinsics.coefficients.tolist()
    return CameraInfo(
        header=header(stamp, frame_id),
        height=intrinsics.height,
        width=intrinsics.width,
        distortion_model='plumb_bob' if len(d) <= 5 else 'rational_polynomial',
        d=d,
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def points_to_msg(
    points: npt.NDArray[np.floating],
    stamp: float,
    frame_id: str,
    channels: Mapping[str, npt.NDArray[Any]] | None = None,
) -> PointCloud2:
    """Unordered cloud of points (n, 3) [m] and further channels (n,), all as float32."""
    further = {} if channels is None else channels
    packed = np.ascontiguousarray(np.column_stack([points, *further.values()]), dtype=np.float32)
    names = ('x', 'y', 'z', *further)
    step = 4 * len(names)
    data = array.array('B')
    data.frombytes(packed.tobytes())
    return PointCloud2(
        header=header(stamp, frame_id),
        height=1,
        width=len(packed),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(names)
        ],
        is_bigendian=sys.byteorder == 'big',
        point_step=step,
        row_step=step * len(packed),
        data=data,
        is_dense=bool(np.all(np.isfinite(packed[:, :3]))),
    )


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
        axes=observation.axes.ravel(),
        quality_names=list(observation.quality),
        quality_values=[float(v) for v in observation.quality.values()],
        **same(observation, OBSERVATION_FIELDS),
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
        phase=episode.phase.value,
        prior=prior_to_msg(episode.prior, episode.started),
        residual=residual_to_msg(episode.residual),
        executed=grasp_to_msg(episode.executed, episode.started),
        distribution=distribution_to_msg(episode.distribution_mean, episode.distribution_std),
        outcome=episode.outcome.value,
        outcome_message=outcome_message,
        reward=float('nan') if episode.reward is None else episode.reward,
        success=SUCCESS_TO_MSG[episode.success],
        started=time_to_msg(episode.started),
        ended=time_to_msg(episode.ended),
        first_image=image_to_msg(
            episode.first_image, 'rgb8', episode.started, CAMERA_OPTICAL_FRAME
        ),
        last_image=image_to_msg(episode.last_image, 'rgb8', episode.ended, CAMERA_OPTICAL_FRAME),
        rollout_video=[_video_to_msg(frame) for frame in episode.rollout_video],
        software_version=software_version,
        **same(episode, EPISODE_FIELDS),
    )


def _video_to_msg(frame: VideoFrame) -> CompressedImage:
    return CompressedImage(
        header=header(frame.stamp, CAMERA_OPTICAL_FRAME),
        format='jpeg',
        data=array.array('B', frame.jpeg),
    )
