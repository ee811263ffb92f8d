# SPDX-License-Identifier: Apache-2.0
"""Finds the board in image messages and shows what was found."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from deft_core.camera import CameraIntrinsics, ColorImage
from deft_core.decode import color_from_msg, intrinsics_from_msg, time_from_msg
from deft_core.errors import StaleDataError
from deft_core.nodes.encode import image_to_msg
from deft_core.nodes.qos import IMAGE, LATCHED
from deft_perception.calibration_figure import draw_detection
from deft_perception.charuco_board import (
    BoardConfiguration,
    BoardDetection,
    BoardDetector,
    BoardPose,
    locate_board,
)

_INFO = '/camera/camera/color/camera_info'


class BoardLook:
    """Looks at images for one board; latches a picture of the last find."""

    def __init__(self, node: Node, board: BoardConfiguration) -> None:
        """Create the interfaces on behalf of a node."""
        self.board = board
        self._detector = BoardDetector(board)
        self._info: CameraInfo | None = None
        self._overlay = node.create_publisher(Image, '/calibration/overlay', LATCHED)
        node.create_subscription(CameraInfo, _INFO, self._take_info, IMAGE)

    @property
    def ready(self) -> bool:
        """Whether the camera has said what lens it has."""
        return self._info is not None

    @property
    def camera(self) -> CameraIntrinsics:
        """Intrinsics of the images.

        Raises:
            StaleDataError: No camera_info has come.
        """
        if self._info is None:
            raise StaleDataError(f'No camera_info has come on {_INFO}; check the camera.')
        return intrinsics_from_msg(self._info)

    def find(self, image: Image) -> tuple[BoardDetection, BoardPose, ColorImage]:
        """Corners and pose of the board, and a picture of both.

        Raises:
            NoBoardError: The image does not show the board.
            StaleDataError: No camera_info has come.
            InvalidInputError: The image is damaged or of another encoding.
        """
        camera, color = self.camera, color_from_msg(image)
        detection = self._detector.detect(color)
        pose = locate_board(detection, camera)
        picture = draw_detection(color, detection, pose, camera)
        stamp = time_from_msg(image.header.stamp)
        self._overlay.publish(image_to_msg(picture, 'rgb8', stamp, image.header.frame_id))
        return detection, pose, picture

    def _take_info(self, message: CameraInfo) -> None:
        self._info = message
