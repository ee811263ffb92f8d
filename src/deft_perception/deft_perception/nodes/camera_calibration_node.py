# SPDX-License-Identifier: Apache-2.0
"""Finds where the camera stands, or checks it with one look, and ends.

The flange poses come from `/arm/state`. With motion `drive` the arm is sent straight from one
given posture to the next, slowly; an emergency stop, a fault of the arm or Ctrl-C ends it. With
motion `operator` a person moves the arm.
"""

from __future__ import annotations

import datetime
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from deft_core.clock import Deadline
from deft_core.configuration import bounds, config_directory
from deft_core.decode import color_from_msg, intrinsics_from_msg, time_from_msg
from deft_core.errors import ConfigurationError, DeftError
from deft_core.nodes.emergency_stop import EmergencyStopMonitor
from deft_core.nodes.encode import image_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import COMMAND, IMAGE, LATCHED, STATE
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished, run_node
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray
from deft_msgs.msg import ArmState
from deft_perception.calibration.board import BoardDetector, NoBoardError, load_board, locate_board
from deft_perception.calibration.calibration_file import (
    CameraCalibration,
    load_named_calibration,
    new_calibration_file,
)
from deft_perception.calibration.collection import ArmPose, ViewCollection
from deft_perception.calibration.hand_eye import CalibrationView
from deft_perception.calibration.postures import (
    CalibrationPostures,
    load_postures,
    save_postures,
    straight_joint_move,
)
from deft_perception.calibration.report import calibrate_stored, draw_detection
from deft_perception.calibration.settings import CalibrationSettings, CollectionSettings
from deft_perception.calibration.solve import reason_to_reject
from deft_perception.calibration.views import StoredViews, save_views

_PERIOD: Final = 0.05  # [s] of real time
_ARM_STATE_AGE: Final = 2.0  # [s] of real time
_SLOWEST_CLOCK: Final = 5.0  # a simulation may run this much slower than real time
_MOVE_PATIENCE: Final = 45.0  # [s] of real time beyond that, for a busy machine and its images


@dataclass(frozen=True)
class CalibrationParameters(CalibrationSettings, CollectionSettings):
    """Parameters of the node: what makes a good calibration, and how views are taken."""

    start: str = field(default='calibrate', metadata={'doc': "'calibrate' or 'check'."})
    board: str = field(default='charuco_7x5', metadata={'doc': 'File in config/boards.'})
    motion: str = field(default='operator', metadata={'doc': "'drive' or 'operator'."})
    postures: str = field(default='simulated_cell', metadata={'doc': 'File in config/postures.'})
    # peak speed of the fastest joint
    speed: float = field(default=0.3, metadata=bounds(0.02, 1.5, 'rad/s'))
    # an arm at rest waits this long for the board, in real time
    look_timeout: float = field(default=5.0, metadata=bounds(0.1, 60.0, 's'))
    camera_serial: str = field(default='', metadata={'doc': 'Of the camera in use.'})
    view_count: int = field(
        default=20, metadata=bounds(4, 1000)
    )  # views to take for a calibration
    output: str = field(default='', metadata={'doc': 'Name of the calibration to write.'})
    calibration: str = field(default='', metadata={'doc': 'What a check looks at.'})
    # A check refuses more
    maximum_translation_error: float = field(default=0.006, metadata=bounds(0.0001, 0.1, 'm'))
    maximum_rotation_error: float = field(default=0.015, metadata=bounds(0.0001, 0.5, 'rad'))
    run: str = field(default='runs/calibration', metadata={'doc': 'Folder for pictures.'})

    def __post_init__(self) -> None:
        """Check the words, and that enough views are asked for."""
        if self.motion not in ('operator', 'drive') or self.start not in ('calibrate', 'check'):
            raise ConfigurationError(
                "motion must be 'operator' or 'drive', and start 'calibrate' or 'check'; got "
                f'{self.motion!r} and {self.start!r}.'
            )
        if self.view_count < self.minimum_views:
            raise ConfigurationError(
                f'A calibration needs at least {self.minimum_views} views (minimum_views), '
                f'{self.view_count} are asked for.'
            )


class CameraCalibrationNode(Node):
    """Takes views of the board, writes or checks a calibration, and ends the process."""

    def __init__(self, **node_options: Any) -> None:
        """Read board and postures, create the interfaces; raises ConfigurationError."""
        super().__init__('camera_calibration', **node_options)
        settings = self._settings = declare_parameters(self, CalibrationParameters)
        self._configuration = config_directory()
        # What cannot end well is refused before anything moves.
        self._checked: CameraCalibration | None = None
        if settings.start == 'check':
            self._checked = load_named_calibration(settings.calibration, self._configuration)
            _ = self._checked.T_flange_board
        else:
            new_calibration_file(settings.output, self._configuration)
        self._detector = BoardDetector(load_board(settings.board, self._configuration))
        self._postures: CalibrationPostures | None = None
        tour: FloatArray | None = None
        if settings.motion == 'drive':
            self._postures = load_postures(settings.postures, self._configuration)
            tour = self._postures.matrix()[: None if self._checked is None else 1]
        wanted = settings.view_count if self._checked is None else 1
        self._collection = ViewCollection(wanted, tour, settings)
        self._image: Image | None = None
        self._info: CameraInfo | None = None
        self._arm: ArmState | None = None
        self._arm_received = 0.0
        self._stop = EmergencyStopMonitor(self, self._cycle)
        self._arrival: Deadline | None = None  # of a driven arm at its posture, and of an image
        self._sight: Deadline | None = None  # of the board, while the arm rests
        self._overlay = self.create_publisher(Image, '/calibration/overlay', LATCHED)
        self._trajectories = self.create_publisher(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', COMMAND
        )
        self.create_subscription(Image, '/camera/camera/color/image_raw', self._take_image, IMAGE)
        self.create_subscription(
            CameraInfo, '/camera/camera/color/camera_info', self._take_info, IMAGE
        )
        self.create_subscription(ArmState, '/arm/state', self._take_arm, STATE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_PERIOD, self._cycle, clock=steady)
        if self._postures is None:
            self.get_logger().info(
                'Move the arm by hand or with the vendor software; every rest with the board in '
                'view is a look. Tilt the board in all directions, near and far.'
            )

    def close(self) -> None:
        """Hold a driven arm where it is: an empty trajectory is the controller's word for it."""
        if self._postures is not None:
            names = list(self._postures.joint_names)
            self._trajectories.publish(JointTrajectory(joint_names=names))

    def _take_info(self, message: CameraInfo) -> None:
        self._info = message

    def _take_arm(self, message: ArmState) -> None:
        self._arm, self._arm_received = message, time.monotonic()
        q, p = message.flange_pose.orientation, message.flange_pose.position
        self._collection.update(
            ArmPose(
                time_from_msg(message.header.stamp),
                np.array(message.joint_positions),
                transform(matrix_from_quaternion([q.x, q.y, q.z, q.w]), [p.x, p.y, p.z]),
            )
        )

    def _take_image(self, message: Image) -> None:
        self._image = message
        stamp = time_from_msg(message.header.stamp)
        if self._info is None or not self._collection.wants_image(stamp):
            return
        arm, name = self._collection.resting_arm(), f'view {self._collection.looks}'
        try:
            camera, color = intrinsics_from_msg(self._info), color_from_msg(message)
            detection = self._detector.detect(color)
            pose = locate_board(detection, camera)
        except NoBoardError as error:
            self._not_seen(name, error)
            return
        except DeftError as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        self._sight = None
        view = CalibrationView(name, arm.joints, arm.T_base_flange, detection, pose)
        reason = '' if self._checked is not None else reason_to_reject(view, self._settings)
        self._collection.add(view, useful=not reason)
        told = f'rejected: {reason}' if reason else f'{len(detection.corners)} corners'
        self.get_logger().info(f'{name} ({self._collection.useful} useful): {told}')
        picture = draw_detection(color, detection, pose, camera)
        self._overlay.publish(image_to_msg(picture, 'rgb8', stamp, message.header.frame_id))
        file = Path(self._settings.run) / f'{name.replace(" ", "_")}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            self.get_logger().error(f'Cannot write the picture {file}; is the disk full?')

    def _not_seen(self, name: str, error: NoBoardError) -> None:
        """A person turns the board until it is seen; others wait a little, then go on."""
        if self._sight is None:
            self._sight = Deadline(self._settings.look_timeout)
        if not self._sight.passed:
            return
        if self._checked is not None:
            self._fail(str(error))
        if self._postures is not None:
            self._sight = None
            self._collection.add(None, useful=False)
            self.get_logger().warning(f'{name}: {error}')

    def _cycle(self) -> None:
        """One look at what runs.

        Raises:
            NodeFinished: It is done, or cannot be done.
        """
        if self._arm is None or self._image is None or self._info is None:
            self.get_logger().info('Waiting for arm and camera.', throttle_duration_sec=5.0)
            return
        obstacle = self._obstacle(self._arm)
        if obstacle:
            self._fail(obstacle)
        if self._collection.finished:
            self._finish(self._arm, self._image, self._info)
        target = self._collection.next_posture()
        if target is not None and self._postures is not None:
            self._drive(self._postures, self._arm, target)

    def _obstacle(self, arm: ArmState) -> str:
        """What forbids going on; empty where nothing does."""
        stopped = self._stop.problem()
        if stopped:
            return f'{stopped} Release it.'
        age = time.monotonic() - self._arm_received
        if age > _ARM_STATE_AGE:
            return f'No /arm/state for {age:.1f} s; is the arm node running?'
        if arm.state == ArmState.FAULT:
            return f'The arm is in fault: {arm.fault}'
        if self._postures is None:
            return ''
        if arm.state == ArmState.MOVING:
            return 'The arm executes something else; wait until it is idle.'
        if self._arrival is not None and self._arrival.passed:
            return (
                f'The arm is {self._collection.missed_by():.3f} rad from posture '
                f'{self._collection.looks}, or no image came there; is its controller '
                'enabled, and do arm and camera stamp with one clock?'
            )
        return ''

    def _drive(self, postures: CalibrationPostures, arm: ArmState, target: FloatArray) -> None:
        """Send the arm straight from where it is to a posture (n,) [rad]."""
        by_name = dict(zip(arm.joint_names, arm.joint_positions, strict=True))
        start = [by_name[name] for name in postures.joint_names]
        times, positions = straight_joint_move(start, target, self._settings.speed)
        points = [
            JointTrajectoryPoint(positions=row.tolist(), time_from_start=_duration(moment))
            for moment, row in zip(times, positions, strict=True)
        ]
        self._trajectories.publish(
            JointTrajectory(joint_names=list(postures.joint_names), points=points)
        )
        self._arrival = Deadline(_SLOWEST_CLOCK * float(times[-1]) + _MOVE_PATIENCE)

    def _finish(self, arm: ArmState, image: Image, info: CameraInfo) -> None:
        """Calibrate or check from what was seen.

        Raises:
            NodeFinished: Always.
        """
        try:
            if self._checked is not None:
                self._check(self._checked, self._collection.views)
            else:
                self._calibrate(arm, image, info)
        except DeftError as error:
            self._fail(str(error))
        raise NodeFinished(EXIT_OK)

    def _calibrate(self, arm: ArmState, image: Image, info: CameraInfo) -> None:
        folder = Path(self._settings.run)
        stored = StoredViews(
            board=self._detector.board,
            camera=intrinsics_from_msg(info),
            camera_serial=self._settings.camera_serial,
            camera_frame=image.header.frame_id,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            views=tuple(self._collection.views),
        )
        save_views(folder, stored)
        if self._postures is None and stored.views:
            # What a person found once, the arm can be driven through the next time.
            file = folder / f'{self._settings.output}.yaml'
            rows = np.stack([view.joints for view in stored.views])
            save_postures(file, tuple(arm.joint_names), rows)
        file, lines = calibrate_stored(
            stored,
            self._settings,
            name=self._settings.output,
            folder=folder,
            configuration=self._configuration,
        )
        for line in [*lines, f'wrote {file}']:
            self.get_logger().info(line)

    def _check(self, calibration: CameraCalibration, views: list[CalibrationView]) -> None:
        """Compare the board through the arm with the board through the camera."""
        settings = self._settings
        shift, turn = calibration.disagreement(
            views[0].T_base_flange, views[0].pose.T_camera_board
        )
        words = f'{1000.0 * shift:.1f} mm and {math.degrees(turn):.2f} deg'
        if shift > settings.maximum_translation_error or turn > settings.maximum_rotation_error:
            self._fail(
                f'Arm and camera disagree about the board by {words}; has the camera or the board '
                f'moved since {calibration.date}? Calibrate again with `deft calibrate camera`.'
            )
        self.get_logger().info(f'{calibration.identifier}: arm and camera agree within {words}.')

    def _fail(self, message: str) -> None:
        self.get_logger().error(message)
        raise NodeFinished(EXIT_FAILURE)


def _duration(seconds: float) -> Duration:
    whole = math.floor(seconds)
    return Duration(sec=whole, nanosec=min(round((seconds - whole) * 1e9), 999_999_999))


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(CameraCalibrationNode, 'camera_calibration')


if __name__ == '__main__':
    raise SystemExit(main())
