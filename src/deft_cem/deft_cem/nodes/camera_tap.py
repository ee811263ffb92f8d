# SPDX-License-Identifier: Apache-2.0
"""Takes single pictures out of the colour stream, and a film while a motion runs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import cv2
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from deft_core.camera import ColorImage
from deft_core.clock import Deadline
from deft_core.decode import color_from_msg, time_from_msg
from deft_core.episode import FilmFrame
from deft_core.errors import StaleDataError
from deft_core.nodes.qos import IMAGE

COLOR_TOPIC: Final = '/camera/camera/color/image_raw'
FILM_SIZE: Final = (320, 240)  # [pixel] columns, rows
_JPEG_QUALITY: Final = 85
_MAXIMUM_FRAMES: Final = 600  # five minutes; a longer motion has failed anyway
Taken = Callable[[ColorImage], None]


class CameraTap:
    """Decodes only the images that are wanted: the stream is raw bytes until then."""

    def __init__(self, node: Node, film_period: float) -> None:
        """Subscribe to the colour stream.

        Args:
            node: The node that owns the subscription.
            film_period: ROS time between two film frames. [s].
        """
        self._node = node
        self._film_period = film_period
        self._film: list[FilmFrame] = []
        self._filming = False
        self._next_frame = 0.0
        self._wanted: tuple[float, Deadline, Taken] | None = None
        self._noticed: tuple[float, Callable[[], None]] | None = None
        self.seen = False
        node.create_subscription(Image, COLOR_TOPIC, self._on_image, IMAGE, raw=True)

    def start_film(self) -> None:
        """Begin a new film."""
        self._film = []
        self._filming = True
        self._next_frame = 0.0

    def stop_film(self) -> tuple[FilmFrame, ...]:
        """End the film and return its frames, in order."""
        self._filming = False
        return tuple(self._film)

    def take(self, not_before: float, timeout: float, on_image: Taken) -> None:
        """Take one picture.

        Args:
            not_before: Least stamp of the picture, ROS clock. [s].
            timeout: Monotonic time allowed. [s].
            on_image: Gets the picture, RGB.
        """
        self._wanted = (not_before, Deadline(timeout), on_image)

    def notice(self, not_before: float, on_arrival: Callable[[], None]) -> None:
        """Tell when a picture arrives, without looking at it.

        Args:
            not_before: Least stamp of the picture, ROS clock. [s].
            on_arrival: Called once.
        """
        self._noticed = (not_before, on_arrival)

    def ignore(self) -> None:
        """Tell nobody any more."""
        self._noticed = None

    def drop(self) -> None:
        """Want no picture and no film any more."""
        self._wanted = self._noticed = None
        self._filming = False

    def overdue(self) -> str | None:
        """Name of the stream when a wanted picture did not come in time."""
        return COLOR_TOPIC if self._wanted is not None and self._wanted[1].passed else None

    def _on_image(self, data: bytes) -> None:
        self.seen = True
        if self._noticed is not None and _stamp(data) >= self._noticed[0]:
            _, on_arrival = self._noticed
            self._noticed = None
            on_arrival()
        film_due = self._filming and (
            self._node.get_clock().now().nanoseconds * 1e-9 >= self._next_frame
        )
        if self._wanted is None and not film_due:
            return
        message = deserialize_message(data, Image)
        image = color_from_msg(message)
        stamp = time_from_msg(message.header.stamp)
        if film_due and len(self._film) < _MAXIMUM_FRAMES:
            self._next_frame = stamp + self._film_period
            self._film.append(FilmFrame(stamp, encode_film_frame(image)))
        if self._wanted is not None and stamp >= self._wanted[0]:
            _, _, on_image = self._wanted
            self._wanted = None
            on_image(image)


def _stamp(data: bytes) -> float:
    """ROS time of a serialised message with a header: two numbers after four bytes of CDR."""
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return float(seconds + nanoseconds * 1e-9)


def encode_film_frame(image: ColorImage) -> bytes:
    """Small JPEG of an RGB image.

    Raises:
        StaleDataError: The image cannot be encoded.
    """
    small = cv2.resize(image, FILM_SIZE, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise StaleDataError(f'an image of shape {image.shape} cannot be encoded as JPEG')
    return bytes(data)
