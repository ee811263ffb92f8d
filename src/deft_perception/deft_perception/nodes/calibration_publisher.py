# SPDX-License-Identifier: Apache-2.0
"""Publishes where the camera stands, from a calibration file."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from deft_core.configuration import config_directory
from deft_core.nodes.encode import header, transform_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED
from deft_core.nodes.runner import run_node
from deft_msgs.msg import CameraCalibration as CameraCalibrationMsg
from deft_perception.calibration import CameraCalibration, load_named_calibration
from tf2_msgs.msg import TFMessage


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node.

    Attributes:
        calibration: Name of a file in `config/calibration`, without '.yaml'.
    """

    calibration: str = field(
        default='simulated_cell', metadata={'doc': 'File in config/calibration, without .yaml.'}
    )


class CalibrationPublisher(Node):
    """Latches one calibration, as a static transform and with its identifier."""

    def __init__(self, **node_options: Any) -> None:
        """Read the file and publish once.

        Args:
            **node_options: Passed on to `Node`, such as `context`.

        Raises:
            ConfigurationError: A parameter or the calibration file is wrong.
        """
        super().__init__('calibration_publisher', **node_options)
        name = declare_parameters(self, Parameters).calibration
        calibration = load_named_calibration(name, config_directory())
        self._static_transforms = self.create_publisher(TFMessage, '/tf_static', LATCHED)
        self._calibrations = self.create_publisher(
            CameraCalibrationMsg, '/calibration/camera', LATCHED
        )
        stamped = TransformStamped(
            header=header(0.0, calibration.base_frame),
            child_frame_id=calibration.camera_frame,
            transform=transform_to_msg(calibration.T_base_camera),
        )
        stamped.header.stamp = self.get_clock().now().to_msg()
        self._static_transforms.publish(TFMessage(transforms=[stamped]))
        self._calibrations.publish(calibration_to_msg(calibration))
        self.get_logger().info(
            f'camera calibration {calibration.identifier} of {calibration.date}: '
            f'{calibration.base_frame} -> {calibration.camera_frame}'
        )


def calibration_to_msg(calibration: CameraCalibration) -> CameraCalibrationMsg:
    """Message of a calibration; the residuals of one placed by hand are unknown."""
    day = datetime.datetime.combine(
        datetime.date.fromisoformat(calibration.date), datetime.time(), tzinfo=datetime.UTC
    )
    return CameraCalibrationMsg(
        header=header(day.timestamp(), calibration.base_frame),
        child_frame_id=calibration.camera_frame,
        calibration_id=calibration.identifier,
        camera_serial=calibration.camera_serial,
        transform=transform_to_msg(calibration.T_base_camera),
        reprojection_error=float('nan'),
        translation_residual=float('nan'),
        rotation_residual=float('nan'),
        source=calibration.source,
    )


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(CalibrationPublisher)


if __name__ == '__main__':
    raise SystemExit(main())
