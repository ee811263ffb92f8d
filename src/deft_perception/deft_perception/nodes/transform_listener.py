# SPDX-License-Identifier: Apache-2.0
"""Static transforms and the camera calibration, as the graph publishes them.

tf2_ros is not on every machine that runs this graph, so `/tf_static` feeds the transform tree of
`deft_core`. Only static transforms are read: the camera stands still.
"""

from __future__ import annotations

import numpy as np
from rclpy.node import Node

from deft_core.decode import transform_from_msg
from deft_core.errors import FrameError, InvalidInputError
from deft_core.frames import TransformTree
from deft_core.nodes.qos import LATCHED, RECORDS
from deft_core.validation import FloatArray
from deft_msgs.msg import CameraCalibration
from tf2_msgs.msg import TFMessage

_TOLERANCE = 1e-4  # [m] and [-]; file and message hold the same numbers


class TransformListener:
    """Keeps the newest static transforms and the identifier of the calibration behind them."""

    def __init__(self, node: Node) -> None:
        """Subscribe on behalf of a node."""
        self._logger = node.get_logger()
        self._tree = TransformTree()
        self._calibration: CameraCalibration | None = None
        node.create_subscription(TFMessage, '/tf_static', self._add, RECORDS)
        node.create_subscription(CameraCalibration, '/calibration/camera', self._keep, LATCHED)

    def camera_pose(self, base_frame: str, camera_frame: str) -> tuple[FloatArray, str]:
        """`T_base_camera`, shape (4, 4) [m], and the identifier of its calibration.

        Raises:
            FrameError: The frames are unknown or not connected, no calibration was published, or
                it disagrees with the transforms.
        """
        pose = self._tree.get(base_frame, camera_frame)
        calibration = self._calibration
        if calibration is None:
            raise FrameError(
                'Transforms are there but no calibration on /calibration/camera, so observations '
                'could not be traced to one; start the calibration publisher.'
            )
        published = self._tree.get(calibration.header.frame_id, calibration.child_frame_id)
        difference = np.abs(published - transform_from_msg(calibration.transform)).max()
        if difference > _TOLERANCE:
            raise FrameError(
                f'/tf_static places {calibration.child_frame_id!r} elsewhere than calibration '
                f'{calibration.calibration_id!r} does (by {difference:.4f}); two publishers of '
                'this transform are running, stop one (realsense2_camera: publish_tf:=false).'
            )
        return pose, calibration.calibration_id

    def _add(self, message: TFMessage) -> None:
        for stamped in message.transforms:
            parent, child = stamped.header.frame_id, stamped.child_frame_id
            try:
                self._tree.add(parent, child, transform_from_msg(stamped.transform))
            except InvalidInputError as error:
                self._logger.error(f'ignored static transform {parent} -> {child}: {error}')

    def _keep(self, message: CameraCalibration) -> None:
        self._calibration = message
