# SPDX-License-Identifier: Apache-2.0
"""Finds where the camera stands, and checks it with one look.

The flange poses come from `/arm/state`. With motion `drive` the arm is sent straight from one
given posture to the next, slowly; an emergency stop, a fault of the arm or a cancelled goal ends
it. With motion `operator` a person moves the arm.
"""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from geometry_msgs.msg import Pose
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image

from deft_core.clock import Deadline
from deft_core.configuration import config_directory
from deft_core.decode import time_from_msg
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import IMAGE, LATCHED, STATE
from deft_core.nodes.runner import EXIT_FAILURE, EXIT_OK, NodeFinished, run_node
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray
from deft_msgs.action import CalibrateCamera
from deft_msgs.msg import ArmState, CameraCalibration, EmergencyStop
from deft_msgs.srv import CheckCalibration
from deft_perception.calibration.board import NoBoardError, load_board
from deft_perception.calibration.calibration_file import (
    load_named_calibration,
    new_calibration_file,
)
from deft_perception.calibration.calibration_record import require_mount
from deft_perception.calibration.collection import ArmPose, Look, Motion, RestWatch, ViewCollection
from deft_perception.calibration.postures import load_postures, save_postures
from deft_perception.calibration.report import solve_stored, summary_lines
from deft_perception.calibration.solve import (
    CalibrationView,
    LargeResidualError,
    TooFewViewsError,
    reason_to_reject,
)
from deft_perception.calibration.views import load_views, save_picture, save_views
from deft_perception.nodes.board_look import BoardLook
from deft_perception.nodes.calibration_check import check_calibration
from deft_perception.nodes.calibration_parameters import CalibrationParameters
from deft_perception.nodes.calibration_publisher import calibration_to_msg
from deft_perception.nodes.posture_driver import PostureDriver

_PERIOD: Final = 0.05  # [s] of real time
_COLOR: Final = '/camera/camera/color/image_raw'
_ARM_STATE_AGE: Final = 2.0  # [s] of real time
_SLOWEST_CLOCK: Final = 5.0  # a simulation may run this much slower than real time
_MOVE_PATIENCE: Final = 45.0  # [s] of real time beyond that, for a busy machine and its images
Goal = CalibrateCamera.Goal
Codes = CheckCalibration.Request


@dataclass(eq=False)
class _Job:
    """A running calibration: of a goal, or of the process itself (no goal)."""

    collection: ViewCollection
    wanted: int
    output: str
    goal: ServerGoalHandle | None
    arrival: Deadline | None = None  # of a driven arm at its posture, and of an image there
    sight: Deadline | None = None  # of the board, while the arm rests


class CameraCalibrationNode(Node):
    """Serves `/calibration/calibrate_camera` and `/calibration/check`."""

    def __init__(self, **node_options: Any) -> None:
        """Read board and postures, create the interfaces.

        Args:
            **node_options: Passed on to `Node`, such as `context`.

        Raises:
            ConfigurationError: A parameter or a file is wrong.
        """
        super().__init__('camera_calibration', **node_options)
        self._settings = declare_parameters(self, CalibrationParameters)
        folder = config_directory()
        if self._settings.start == 'calibrate':
            new_calibration_file(self._settings.output, folder)  # refused before anything moves
        if self._settings.start == 'check':
            require_mount(load_named_calibration(self._settings.calibration, folder))
        self._look = BoardLook(self, load_board(self._settings.board, folder))
        self._driver: PostureDriver | None = None
        if self._settings.motion == Motion.DRIVE:
            postures = load_postures(self._settings.postures, folder)
            self._driver = PostureDriver(self, postures, self._settings.speed)
        self._image: Image | None = None
        self._arm: ArmState | None = None
        self._arm_received = 0.0
        self._stop: EmergencyStop | None = None
        self._job: _Job | None = None
        # A check needs to know how long the arm has rested, also while nothing is calibrated.
        self._rest = RestWatch(self._settings)
        self._started = False
        self._check_posture: FloatArray | None = None
        self.create_subscription(Image, _COLOR, self._take_image, IMAGE)
        self.create_subscription(ArmState, '/arm/state', self._take_arm, STATE)
        self.create_subscription(EmergencyStop, '/emergency_stop', self._take_stop, LATCHED)
        self.create_service(CheckCalibration, '/calibration/check', self._on_check)
        self._server = ActionServer(
            self,
            CalibrateCamera,
            '/calibration/calibrate_camera',
            execute_callback=_never,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_PERIOD, self._cycle, clock=steady)

    def close(self) -> None:
        """Stop a driven arm."""
        if self._job is not None and self._driver is not None:
            self._driver.stop()
        self._server.destroy()

    def _take_stop(self, message: EmergencyStop) -> None:
        self._stop = message if message.pressed else None
        self._cycle()

    def _take_arm(self, message: ArmState) -> None:
        self._arm, self._arm_received = message, time.monotonic()
        pose = ArmPose(
            time_from_msg(message.header.stamp),
            np.array(message.joint_positions),
            _matrix(message.flange_pose),
        )
        self._rest.update(pose)
        if self._job is not None:
            self._job.collection.update(pose)

    def _take_image(self, message: Image) -> None:
        self._image = message
        job = self._job
        if job is None or not job.collection.wants_image(time_from_msg(message.header.stamp)):
            return
        collection = job.collection
        arm, name = collection.resting_arm(), f'view {len(collection.looks)}'
        try:
            detection, pose, picture = self._look.find(message)
            view = CalibrationView(name, arm.T_base_flange, detection, pose)
            save_picture(Path(self._settings.run) / f'{name.replace(" ", "_")}.png', picture)
        except NoBoardError as error:
            self._not_seen(job, name, arm, error)
            return
        except DeftError as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        job.sight = None
        reason = reason_to_reject(view, self._settings)
        collection.add(Look(arm, view, reason))
        told = f'rejected: {reason}' if reason else f'{len(detection.corners)} corners'
        self.get_logger().info(f'{name} ({collection.useful} of {job.wanted}): {told}')

    def _not_seen(self, job: _Job, name: str, arm: ArmPose, error: NoBoardError) -> None:
        """A person turns the board until it is seen; a driven arm waits a little, then goes on."""
        if job.sight is None:
            job.sight = Deadline(self._settings.look_timeout)
        if self._driver is not None and job.sight.passed:
            job.sight = None
            job.collection.add(Look(arm, None, str(error)))
            self.get_logger().warning(f'{name}: {error}')

    def _on_goal(self, request: Goal) -> GoalResponse:
        least = self._settings.minimum_views
        try:
            new_calibration_file(request.output, config_directory())
        except ConfigurationError as error:
            self.get_logger().warning(f'Rejected a goal: {error}')
            return GoalResponse.REJECT
        if self._job is not None or request.view_count < least:
            self.get_logger().warning(
                'Rejected a goal: a calibration runs already, or fewer than '
                f'{least} views are asked for.'
            )
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, goal: ServerGoalHandle) -> None:
        self._begin(goal.request.view_count, goal.request.output, goal)

    def _begin(self, wanted: int, output: str, goal: ServerGoalHandle | None) -> None:
        postures = None if self._driver is None else self._driver.postures.matrix()
        self._job = _Job(ViewCollection(wanted, postures, self._settings), wanted, output, goal)
        if postures is None:
            self.get_logger().info(
                'Move the arm by hand or with the vendor software; every rest with the board in '
                'view is a look. Tilt the board in all directions, near and far.'
            )

    def _cycle(self) -> None:
        """One look at what runs.

        Raises:
            NodeFinished: The process was started for one thing, and it is done.
        """
        if self._settings.start and not self._started and self._ready():
            self._started = True
            if self._settings.start == 'check':
                outcome = check_calibration(self._settings, self._look, self._image, self._rest)
                if outcome.code != Codes.NONE:
                    self.get_logger().error(outcome.message)
                    raise NodeFinished(EXIT_FAILURE)
                self.get_logger().info(outcome.message)
                raise NodeFinished(EXIT_OK)
            self._begin(self._settings.view_count, self._settings.output, None)
        job = self._job
        if job is None:
            return
        if job.goal is not None and job.goal.is_cancel_requested:
            self._end(job, 'CANCELLED', 'The calibration was cancelled; the arm holds still.')
            return
        obstacle = self._obstacle(job)
        if obstacle:
            self._end(job, 'MOTION_FAILED', obstacle)
            return
        if job.goal is not None:
            rejected = len(job.collection.looks) - job.collection.useful
            job.goal.publish_feedback(
                CalibrateCamera.Feedback(
                    views_taken=job.collection.useful, views_rejected=rejected
                )
            )
        if job.collection.finished:
            self._solve(job)
        elif self._driver is not None and self._arm is not None:
            target = job.collection.next_posture()
            if target is not None:
                duration = self._driver.send(self._arm, target)
                job.arrival = Deadline(_SLOWEST_CLOCK * duration + _MOVE_PATIENCE)

    def _ready(self) -> bool:
        """Whether arm and camera are there, and for a check whether the arm rests."""
        if self._arm is None or self._image is None or not self._look.ready:
            return False
        if self._settings.start != 'check':
            return True
        if self._driver is not None and self._check_posture is None:
            self._check_posture = self._driver.postures.matrix()[0]
            self._driver.send(self._arm, self._check_posture)
            self._rest.forget()
        return self._rest.covers(time_from_msg(self._image.header.stamp)) and self._arrived()

    def _arrived(self) -> bool:
        """Whether the arm is where a check looks from; where a person moves it, always."""
        if self._check_posture is None or self._rest.newest is None:
            return self._driver is None
        distance = np.abs(self._rest.newest.joints - self._check_posture).max()
        return bool(distance <= self._settings.arrival_tolerance)

    def _obstacle(self, job: _Job) -> str:
        """What forbids going on; empty where nothing does."""
        if self._stop is not None:
            return f'Emergency stop by {self._stop.source}: {self._stop.reason}. Release it.'
        if self._arm is None:
            return ''
        age = time.monotonic() - self._arm_received
        if age > _ARM_STATE_AGE:
            return f'No /arm/state for {age:.1f} s; is the arm node running?'
        if self._arm.state == ArmState.FAULT:
            return f'The arm is in fault: {self._arm.fault}'
        if self._driver is None:
            return ''
        if self._arm.state == ArmState.MOVING:
            return 'The arm executes something else; wait until it is idle.'
        if job.arrival is not None and job.arrival.passed:
            return (
                f'The arm is {job.collection.missed_by():.3f} rad from posture '
                f'{len(job.collection.looks)}, or no image came there; is its controller '
                'enabled, and do arm and camera stamp with one clock?'
            )
        return ''

    def _solve(self, job: _Job) -> None:
        """Calibrate from what was seen, write it, answer."""
        assert self._image is not None
        assert self._arm is not None
        folder = Path(self._settings.run)
        try:
            save_views(
                folder,
                job.collection.looks,
                board=self._look.board,
                camera=self._look.camera,
                camera_serial=self._settings.camera_serial,
                camera_frame=self._image.header.frame_id,
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            )
            stored = load_views(folder)
            if self._driver is None and len(stored.postures) > 0:
                # What a person found once, the arm can be driven through the next time.
                names = tuple(self._arm.joint_names)
                save_postures(folder / f'{job.output}.yaml', names, stored.postures)
            calibration, result, file = solve_stored(
                stored,
                self._settings,
                name=job.output,
                folder=folder,
                configuration=config_directory(),
            )
        except DeftError as error:
            self._end(job, _name_of(error, bool(job.collection.views)), str(error))
            return
        for line in [*summary_lines(calibration, result), f'wrote {file}']:
            self.get_logger().info(line)
        self._end(job, 'NONE', '', calibration_to_msg(calibration))

    def _end(
        self, job: _Job, name: str, message: str, calibration: CameraCalibration | None = None
    ) -> None:
        """Stop the arm where it may still move, and answer.

        Raises:
            NodeFinished: The process was started for this calibration.
        """
        self._job = None
        if name != 'NONE':
            self.get_logger().error(message)
            if self._driver is not None:
                self._driver.stop()
        if job.goal is None:
            raise NodeFinished(EXIT_OK if name == 'NONE' else EXIT_FAILURE)
        result = CalibrateCamera.Result(error_code=getattr(Goal, name), error_message=message)
        if calibration is not None:
            result.calibration = calibration

        def answer(handle: ServerGoalHandle) -> CalibrateCamera.Result:
            if name == 'NONE':
                handle.succeed()
            elif name == 'CANCELLED':
                handle.canceled()
            else:
                handle.abort()
            return result

        job.goal.execute(answer)

    def _on_check(
        self, _: CheckCalibration.Request, response: CheckCalibration.Response
    ) -> CheckCalibration.Response:
        outcome = check_calibration(self._settings, self._look, self._image, self._rest)
        response.error_code = outcome.code
        response.error_message = '' if outcome.code == Codes.NONE else outcome.message
        response.translation_error = outcome.translation
        response.rotation_error = outcome.rotation
        return response


def _name_of(error: DeftError, seen: bool) -> str:
    """Error constant of the action for what went wrong."""
    if isinstance(error, TooFewViewsError):
        return 'TOO_FEW_VIEWS' if seen else 'NO_BOARD'
    if isinstance(error, InvalidInputError):
        return 'TOO_FEW_VIEWS'
    return 'RESIDUAL_TOO_LARGE' if isinstance(error, LargeResidualError) else 'UNKNOWN'


def _never(_: ServerGoalHandle) -> CalibrateCamera.Result:
    raise AssertionError('goals are run by the cycle')


def _matrix(pose: Pose) -> FloatArray:
    q, p = pose.orientation, pose.position
    return transform(matrix_from_quaternion([q.x, q.y, q.z, q.w]), [p.x, p.y, p.z])


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(CameraCalibrationNode)


if __name__ == '__main__':
    raise SystemExit(main())
