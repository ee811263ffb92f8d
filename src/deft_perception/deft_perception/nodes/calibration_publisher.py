# SPDX-License-Identifier: Apache-2.0
"""Publishes where the camera stands, from a calibration file."""

from __future__ import annotations

import datetime
import math
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
from deft_perception.calibration.calibration_file import (
    CameraCalibration,
    check_fit,
    load_named_calibration,
)
from tf2_msgs.msg import TFMessage


@dataclass(frozen=True)
class PublisherParameters:
    """Parameters of the node.

    Attributes:
        calibration: Name of a file in `config/calibration`, without '.yaml'.
        maximum_age_days: Older calibrations are refused; 0 allows any age. [day].
        camera_serial: Of the camera in use; '' allows any but the simulated one on a robot.
    """

    calibration: str = field(
        default='simulated_cell', metadata={'doc': 'File in config/calibration, without .yaml.'}
    )
    maximum_age_days: int = field(
        default=0,
        metadata={'minimum': 0, 'maximum': 3650, 'unit': 'day', 'doc': '0: any age is allowed.'},
    )
    camera_serial: str = field(
        default='', metadata={'doc': 'Of the camera in use; empty: any real one.'}
    )


class CalibrationPublisher(Node):
    """Latches one calibration, as a static transform and with its identifier."""

    def __init__(self, **node_options: Any) -> None:
        """Read the file and publish once; raises ConfigurationError where it must not be used."""
        super().__init__('calibration_publisher', **node_options)
        parameters = declare_parameters(self, PublisherParameters)
        calibration = load_named_calibration(parameters.calibration, config_directory())
        check_fit(
            calibration,
            datetime.datetime.now(datetime.UTC).date(),
            maximum_age_days=parameters.maximum_age_days,
            camera_serial=parameters.camera_serial,
            simulated=bool(self.get_parameter('use_sim_time').value),
        )
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
        reprojection_error=_or_nan(calibration.reprojection_error),
        translation_residual=_or_nan(calibration.translation_residual),
        rotation_residual=_or_nan(calibration.rotation_residual),
        source=calibration.source,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(CalibrationPublisher, 'calibration_publisher')


if __name__ == '__main__':
    raise SystemExit(main())
