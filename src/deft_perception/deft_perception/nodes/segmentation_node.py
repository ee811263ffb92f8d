# SPDX-License-Identifier: Apache-2.0
"""Serves the segmentation of the object on the table from the newest camera images."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from deft_core.camera import RgbdFrame
from deft_core.clock import Deadline
from deft_core.configuration import bounds, config_directory
from deft_core.decode import color_from_msg, depth_from_msg, intrinsics_from_msg, time_from_msg
from deft_core.errors import (
    ConfigurationError,
    DeftError,
    FrameError,
    InvalidInputError,
    NoObjectError,
    StaleDataError,
)
from deft_core.frames import BASE_FRAME
from deft_core.nodes.encode import image_to_msg, observation_to_msg, time_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import IMAGE, LATCHED
from deft_core.nodes.runner import run_node
from deft_core.observation import ObjectObservation
from deft_core.task import load_task
from deft_core.validation import FloatArray
from deft_msgs.msg import GraspPrior
from deft_msgs.srv import SegmentObject
from deft_perception.camera.frame_pairing import FramePairing, ImagePair
from deft_perception.nodes.transform_listener import TransformListener
from deft_perception.segmentation.overlay import draw_overlay
from deft_perception.segmentation.quality import flags_of
from deft_perception.segmentation.segmenter import make_segmenter
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import DepthMissingError

_WAIT_CHECK_PERIOD = 0.05  # [s] how often waiting requests look at their deadline
_COLOR = '/camera/camera/color/image_raw'
_DEPTH = '/camera/camera/aligned_depth_to_color/image_raw'
_INFO = '/camera/camera/color/camera_info'


@dataclass(frozen=True)
class SegmentationParameters(SegmentationSettings):
    """Parameters of the node: those of the segmentation, and of the camera intake."""

    # images received longer ago are stale, monotonic clock
    maximum_age: float = field(default=2.0, metadata=bounds(0.01, 60.0, 's'))
    # colour or depth identical for this long means a frozen camera; 0 = off
    frozen_after: float = field(default=3.0, metadata=bounds(0.0, 600.0, 's'))
    # how long a request waits for an image as new as it asks for
    wait_timeout: float = field(default=5.0, metadata=bounds(0.0, 60.0, 's'))
    # seed of the fits; together with the stamp of the image it fixes the result
    seed: int = field(default=0, metadata=bounds(0))


class _Waiting(NamedTuple):
    """A request that waits for a new image; the future holds None when time is up."""

    not_before_ns: int
    deadline: Deadline
    pair: Future


@dataclass(eq=False)
class _Seen:
    """What the last answer was made from; the contact point comes later, if at all."""

    frame: RgbdFrame
    observation: ObjectObservation
    contact_point: FloatArray | None = None


class SegmentationNode(Node):
    """Answers `/perception/segment_object`, latches the overlay and the points of the answer."""

    def __init__(self, **node_options: Any) -> None:
        """Create the interfaces; raises ConfigurationError or InvalidInputError."""
        super().__init__('segmentation', **node_options)
        self._settings = declare_parameters(self, SegmentationParameters)
        self._segmentation = make_segmenter(self._settings)
        self._config_directory = config_directory()
        self._images = FramePairing(
            self._settings.maximum_age, self._settings.frozen_after, time.monotonic
        )
        self._info: CameraInfo | None = None
        self._waiting: list[_Waiting] = []
        self._transforms = TransformListener(self)
        self.create_subscription(Image, _COLOR, self._take_color, IMAGE)
        self.create_subscription(Image, _DEPTH, self._take_depth, IMAGE)
        self.create_subscription(CameraInfo, _INFO, self._take_info, IMAGE)
        self._overlay = self.create_publisher(Image, '/perception/overlay', LATCHED)
        self._points = self.create_publisher(PointCloud2, '/perception/object_points', LATCHED)
        # A request waits for an image; in the default group that wait would lock the images out.
        self.create_service(
            SegmentObject,
            '/perception/segment_object',
            self._segment,
            callback_group=ReentrantCallbackGroup(),
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_WAIT_CHECK_PERIOD, lambda: self._offer(None), clock=steady)
        self._seen: _Seen | None = None
        self._show_soon = self.create_timer(0.0, self._show, clock=steady, autostart=False)
        self.create_subscription(GraspPrior, '/affordance/prior', self._take_prior, LATCHED)

    def _take_info(self, message: CameraInfo) -> None:
        self._info = message

    def _take_color(self, message: Image) -> None:
        stamp = _nanoseconds(message.header.stamp)
        self._offer(self._images.add_color(stamp, message, _signature(message)))

    def _take_depth(self, message: Image) -> None:
        stamp = _nanoseconds(message.header.stamp)
        self._offer(self._images.add_depth(stamp, message, _signature(message)))

    def _offer(self, pair: ImagePair | None) -> None:
        """Give a new pair to the requests that wait for it; others may have run out of time."""
        for waiting in self._waiting:
            if pair is not None and pair.stamp_ns >= waiting.not_before_ns:
                waiting.pair.set_result(pair)
            elif waiting.deadline.passed:
                waiting.pair.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if not waiting.pair.done()]

    async def _segment(
        self, request: SegmentObject.Request, response: SegmentObject.Response
    ) -> SegmentObject.Response:
        try:
            pair = await self._pair_since(_nanoseconds(request.not_before))
            self._answer(pair, request, response)
        except DeftError as error:
            response.error_code = self._error_code(error)
            response.error_message = str(error)
            self.get_logger().warning(response.error_message)
        return response

    async def _pair_since(self, not_before_ns: int) -> ImagePair:
        """The newest pair if it is as new as asked for, else the first that is.

        Awaiting gives the executor back, so images keep arriving.

        Raises:
            StaleDataError: No such pair came in time, or the camera is frozen.
        """
        newest = self._images.newest
        if newest is None or newest.stamp_ns < not_before_ns:
            timeout = self._settings.wait_timeout
            waiting = _Waiting(not_before_ns, Deadline(timeout), Future())
            self._waiting.append(waiting)
            if await waiting.pair is None:
                latest = self._images.latest()  # says it better where the camera is at fault
                raise StaleDataError(
                    f'No image with stamp {not_before_ns * 1e-9:.3f} s or later came within '
                    f'{timeout:.1f} s; the newest has {latest.stamp_ns * 1e-9:.3f} s. Do camera '
                    'and robot use the same clock?'
                )
        return self._images.latest()

    def _answer(
        self, pair: ImagePair, request: SegmentObject.Request, response: SegmentObject.Response
    ) -> None:
        rule = load_task(request.task, self._config_directory).object if request.task else None
        frame = self._frame(pair)
        pose, calibration_id = self._transforms.camera_pose(BASE_FRAME, frame.frame_id)
        observation = self._segmentation.segment(
            frame,
            pose,
            np.random.default_rng([self._settings.seed, pair.stamp_ns]),
            click=(request.click_column, request.click_row) if request.use_click else None,
            instruction=request.instruction,
            rule=rule,
            calibration_id=calibration_id,
        )
        flags = flags_of(observation)
        if flags:
            self.get_logger().warning(f'the observation is flagged: {", ".join(flags)}')
        response.observation = observation_to_msg(observation, frame.color)
        response.error_code = SegmentObject.Request.NONE
        self._points.publish(response.observation.points)
        self._seen = _Seen(frame, observation)
        self._show_soon.reset()

    def _take_prior(self, message: GraspPrior) -> None:
        """A grasp was proposed for what was seen: show where the hand shall touch."""
        seen = self._seen
        if seen is not None and message.header.stamp == time_to_msg(seen.frame.stamp):
            seen.contact_point = np.array(message.contact_point)
            self._show_soon.reset()

    def _show(self) -> None:
        """Draw what was seen, after the answer has gone out."""
        self._show_soon.cancel()
        seen = self._seen
        if seen is None:
            return
        overlay = draw_overlay(
            seen.frame, seen.observation, seen.observation.T_base_camera, seen.contact_point
        )
        self._overlay.publish(image_to_msg(overlay, 'rgb8', seen.frame.stamp, seen.frame.frame_id))

    def _frame(self, pair: ImagePair) -> RgbdFrame:
        if self._info is None:
            raise StaleDataError(f'Images arrive but no camera_info on {_INFO}; check the camera.')
        color_frame, depth_frame = pair.color.header.frame_id, pair.depth.header.frame_id
        if color_frame != depth_frame:
            raise InvalidInputError(
                f'Depth in frame {depth_frame!r} is not aligned to colour in {color_frame!r}; '
                'use the aligned depth of the camera.'
            )
        return RgbdFrame(
            stamp=time_from_msg(pair.color.header.stamp),
            color=color_from_msg(pair.color),
            depth=depth_from_msg(pair.depth),
            intrinsics=intrinsics_from_msg(self._info),
            frame_id=color_frame,
        )

    def _error_code(self, error: DeftError) -> int:
        codes = SegmentObject.Request
        never = self._images.newest is None or self._info is None
        for kind, code in (
            (StaleDataError, codes.NO_IMAGE if never else codes.STALE_IMAGE),
            (FrameError, codes.NO_TRANSFORM),
            (ConfigurationError, codes.UNKNOWN_TASK),
            (DepthMissingError, codes.DEPTH_MISSING),
            (NoObjectError, codes.NO_OBJECT),
        ):
            if isinstance(error, kind):
                return int(code)
        return int(codes.UNKNOWN)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _signature(message: Image) -> int | None:
    """Checksum of the pixels; None where all are equal: no depth at all, or darkness."""
    pixel = max(1, message.step // max(1, message.width))  # [byte]
    values = np.frombuffer(message.data, dtype=np.uint8)
    return None if np.array_equal(values[pixel:], values[:-pixel]) else zlib.crc32(values)


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(SegmentationNode, 'segmentation')


if __name__ == '__main__':
    raise SystemExit(main())
