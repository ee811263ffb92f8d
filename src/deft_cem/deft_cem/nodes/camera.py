# SPDX-License-Identifier: Apache-2.0
"""Takes single pictures out of the colour stream, and a rollout video while a motion runs."""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from typing import Final

import cv2
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from deft_core.clock import Deadline, MonotonicClock
from deft_core.decode import color_from_msg, time_from_msg
from deft_core.errors import StaleDataError
from deft_core.nodes.qos import IMAGE

COLOR_TOPIC: Final = '/camera/camera/color/image_raw'
VIDEO_SIZE: Final = (320, 240)  # [pixel] columns, rows
_JPEG_QUALITY: Final = 85
_MAXIMUM_FRAMES: Final = 600  # five minutes; a longer motion has failed anyway
Taken = Callable[[Image], None]


class ColorCamera:
    """Decodes only the images that are wanted: the stream is raw bytes until then."""

    def __init__(
        self, node: Node, video_period: float, clock: MonotonicClock = time.monotonic
    ) -> None:
        """Subscribe to the colour stream.

        Args:
            node: The node that owns the subscription.
            video_period: ROS time between two video frames. [s].
            clock: What time-outs run on.
        """
        self._node = node
        self._clock = clock
        self._video_period = video_period
        self._video: list[CompressedImage] = []
        self._videoing = False
        self._next_frame = 0.0
        self._wanted: tuple[float, Deadline, Taken] | None = None
        self.seen = False
        node.create_subscription(Image, COLOR_TOPIC, self._on_image, IMAGE, raw=True)

    def start_video(self) -> None:
        """Begin a new video."""
        self._video = []
        self._videoing = True
        self._next_frame = 0.0

    def stop_video(self) -> list[CompressedImage]:
        """End the video and return its frames, in order."""
        self._videoing = False
        return self._video

    def take(self, not_before: float, timeout: float, on_image: Taken) -> None:
        """Take one picture.

        Args:
            not_before: Least stamp of the picture, ROS clock. [s].
            timeout: Monotonic time allowed. [s].
            on_image: Gets the picture.
        """
        self._wanted = (not_before, Deadline(timeout, self._clock), on_image)

    def drop(self) -> None:
        """Want no picture and no video any more."""
        self._wanted = None
        self._videoing = False

    def overdue(self) -> str | None:
        """Name of the stream when a wanted picture did not come in time."""
        return COLOR_TOPIC if self._wanted is not None and self._wanted[1].passed else None

    def _on_image(self, data: bytes) -> None:
        self.seen = True
        video_due = self._videoing and (
            self._node.get_clock().now().nanoseconds * 1e-9 >= self._next_frame
        )
        if self._wanted is None and not video_due:
            return
        message = deserialize_message(data, Image)
        stamp = time_from_msg(message.header.stamp)
        if video_due and len(self._video) < _MAXIMUM_FRAMES:
            self._next_frame = stamp + self._video_period
            self._video.append(_video_frame(message))
        if self._wanted is not None and stamp >= self._wanted[0]:
            _, _, on_image = self._wanted
            self._wanted = None
            on_image(message)


def _video_frame(message: Image) -> CompressedImage:
    """Small JPEG of a colour image; raises StaleDataError where it cannot be encoded."""
    image = color_from_msg(message)
    small = cv2.resize(image, VIDEO_SIZE, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise StaleDataError(f'an image of shape {image.shape} cannot be encoded as JPEG')
    return CompressedImage(
        header=message.header, format='jpeg', data=array.array('B', data.tobytes())
    )
