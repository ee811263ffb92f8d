# SPDX-License-Identifier: Apache-2.0
"""The calibration node in a graph of its own, with an arm and a camera played by the test.

The six joints of the played arm are the rotation vector and the place of its flange.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from rclpy.action import ActionClient  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from deft_core.decode import transform_from_msg  # noqa: E402
from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.nodes.encode import header, image_to_msg, intrinsics_to_msg, pose_to_msg  # noqa: E402  # noqa: E402
from deft_core.nodes.qos import COMMAND, IMAGE_PUBLISHER, LATCHED, STATE_PUBLISHER  # noqa: E402
from deft_core.nodes.runner import NodeFinished  # noqa: E402
from deft_core.rotations import (  # noqa: E402
    invert_transform,
    matrix_from_euler,
    matrix_from_rotation_vector,
    transform,
)
from deft_msgs.action import CalibrateCamera  # noqa: E402
from deft_msgs.msg import ArmState, EmergencyStop  # noqa: E402
from deft_msgs.srv import CheckCalibration  # noqa: E402
from deft_perception.calibration import load_named_calibration, save_calibration  # noqa: E402
from deft_perception.calibration_postures import save_postures  # noqa: E402
from deft_perception.hand_eye_refinement import pose_difference  # noqa: E402
from deft_perception.nodes.camera_calibration_node import CameraCalibrationNode  # noqa: E402

TIMEOUT = 60.0  # [s]
OPTICAL = 'camera_color_optical_frame'
JOINTS = tuple(f'joint{number}' for number in range(1, 7))
VIEWS = 9
CAMERA = transform(matrix_from_euler((-2.4, 0.0, -0.7)), [0.10, 0.38, 0.66])
MOUNT = transform(matrix_from_euler((1.5, 0.1, 1.6)), [-0.06, -0.09, 0.01])
Goal = CalibrateCamera.Goal


def flange(joints):
    return transform(matrix_from_rotation_vector(joints[:3]), joints[3:])


def postures(board, count):
    """Postures that put the board tilted before the camera."""
    rng = np.random.default_rng(0)
    middle = np.array([*board.size, 0.0]) / 2.0
    rows = []
    for _ in range(count):
        rotation = matrix_from_rotation_vector(rng.normal(0.0, 0.35, 3))
        place = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.08, 0.08), 0.5])
        seen = transform(rotation, place - rotation @ middle)
        pose = CAMERA @ seen @ invert_transform(MOUNT)
        from deft_core.rotations import rotation_vector_from_matrix

        rows.append([*rotation_vector_from_matrix(pose[:3, :3]), *pose[:3, 3]])
    return np.array(rows)


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def configuration(tmp_path, monkeypatch, board):
    (tmp_path / 'boards').mkdir()
    (tmp_path / 'calibration').mkdir()
    (tmp_path / 'boards' / 'board.yaml').write_text(
        f'name: board\nsquares_x: {board.squares_x}\nsquares_y: {board.squares_y}\n'
        f'square_length: {board.square_length}\nmarker_length: {board.marker_length}\n'
        f'dictionary: {board.dictionary}\n'
    )
    save_postures(tmp_path / 'postures' / 'tour.yaml', JOINTS, postures(board, VIEWS))
    monkeypatch.setenv('DEFT_CONFIG', str(tmp_path))
    return tmp_path


class Cell:
    """The node, an arm that jumps where it is sent, and a camera that sees the board on it."""

    def __init__(self, context, folder, photograph, camera, **parameters):
        self.executor = SingleThreadedExecutor(context=context)
        values = {
            'board': 'board', 'motion': 'drive', 'postures': 'tour', 'speed': 1.5,
            'still_time': 0.1, 'look_timeout': 0.3, 'run': str(folder / 'run'),
            'camera_serial': '_42', **parameters,
        }  # fmt: skip
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = CameraCalibrationNode(context=context, parameter_overrides=overrides)
        self.test = Node('test', context=context)
        for node in (self.node, self.test):
            self.executor.add_node(node)
        self.photograph, self.intrinsics = photograph, camera
        self.camera, self.joints, self.state = CAMERA, np.zeros(6), ArmState.IDLE
        self.blind = False
        self.moves = []
        self.arm = self.test.create_publisher(ArmState, '/arm/state', STATE_PUBLISHER)
        self.color = self.test.create_publisher(
            Image, '/camera/camera/color/image_raw', IMAGE_PUBLISHER
        )
        self.info = self.test.create_publisher(
            CameraInfo, '/camera/camera/color/camera_info', IMAGE_PUBLISHER
        )
        self.stop = self.test.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.test.create_subscription(
            JointTrajectory, '/xarm6_traj_controller/joint_trajectory', self.follow, COMMAND
        )
        self.test.create_timer(0.02, self.tick)
        self.client = ActionClient(self.test, CalibrateCamera, '/calibration/calibrate_camera')
        self.checks = self.test.create_client(CheckCalibration, '/calibration/check')
        self.until(lambda: self.client.server_is_ready() and self.checks.service_is_ready())
        self.ticks = 0

    def follow(self, message):
        self.moves.append(message)
        if message.points:
            self.joints = np.array(message.points[-1].positions)

    def tick(self):
        now = self.test.get_clock().now().nanoseconds * 1e-9
        pose = flange(self.joints)
        self.arm.publish(
            ArmState(
                header=header(now, 'link_base'),
                state=self.state,
                joint_names=list(JOINTS),
                joint_positions=self.joints.tolist(),
                flange_pose=pose_to_msg(pose),
            )
        )
        self.ticks = getattr(self, 'ticks', 0) + 1
        if self.ticks % 5 == 0:
            seen = invert_transform(self.camera) @ pose @ MOUNT
            grey = np.full((480, 640, 3), 128, dtype=np.uint8)
            shown = grey if self.blind else self.photograph(seen, sigma=1.0, oversampling=2)
            self.info.publish(intrinsics_to_msg(self.intrinsics, now, OPTICAL))
            self.color.publish(image_to_msg(shown, 'rgb8', now, OPTICAL))

    def until(self, condition):
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'condition not met in time'
            self.executor.spin_once(timeout_sec=0.02)

    def wait(self, future):
        self.until(future.done)
        return future.result()

    def goal(self, output='found', views=VIEWS):
        return self.wait(
            self.client.send_goal_async(CalibrateCamera.Goal(view_count=views, output=output))
        )

    def result(self, goal):
        return self.wait(goal.get_result_async()).result

    def check(self):
        return self.wait(self.checks.call_async(CheckCalibration.Request()))

    def close(self):
        self.node.close()
        for node in (self.node, self.test):
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def cell(context, configuration, photograph, board_camera):
    cells = []

    def cell(**parameters):
        cells.append(Cell(context, configuration, photograph, board_camera, **parameters))
        return cells[-1]

    yield cell
    for made in cells:
        made.close()


def test_a_driven_arm_finds_the_camera_and_a_check_agrees(cell, configuration):
    made = cell(calibration='found')
    result = made.result(made.goal())
    assert (result.error_code, result.error_message) == (Goal.NONE, '')
    assert result.calibration.calibration_id == 'found'
    assert result.calibration.camera_serial == '42'
    shift, turn = pose_difference(CAMERA, transform_from_msg(result.calibration.transform))
    assert shift < 0.002
    assert turn < np.radians(0.2)
    assert 0.0 < result.calibration.reprojection_error < 1.0
    assert load_named_calibration('found', configuration).board == 'board'
    assert len([move for move in made.moves if move.points]) == VIEWS
    run = configuration / 'run'
    assert {'views.json', 'calibration.png', 'view_0.png'} <= {p.name for p in run.iterdir()}
    good = made.check()
    assert (good.error_code, good.error_message) == (CheckCalibration.Request.NONE, '')
    assert good.translation_error < 0.003
    made.camera = transform(np.eye(3), [0.03, 0.0, 0.0]) @ CAMERA  # somebody pushed the tripod
    made.until(lambda: made.check().error_code != CheckCalibration.Request.NONE)
    bad = made.check()
    assert bad.error_code == CheckCalibration.Request.OUT_OF_TOLERANCE
    assert bad.translation_error == pytest.approx(0.03, abs=0.004)
    assert 'has the camera or the board moved' in bad.error_message


def test_an_emergency_stop_ends_the_tour_and_holds_the_arm(cell):
    made = cell()
    goal = made.goal()
    made.until(lambda: len(made.moves) >= 2)
    made.stop.publish(EmergencyStop(pressed=True, source='test', reason='a hand in the way'))
    result = made.result(goal)
    assert result.error_code == Goal.MOTION_FAILED
    assert 'a hand in the way' in result.error_message
    made.until(lambda: not made.moves[-1].points)  # an empty trajectory: hold


def test_a_cancelled_goal_holds_the_arm(cell):
    made = cell()
    goal = made.goal()
    made.until(lambda: len(made.moves) >= 1)
    made.wait(goal.cancel_goal_async())
    assert made.result(goal).error_code == Goal.CANCELLED
    made.until(lambda: not made.moves[-1].points)


def test_a_board_that_is_not_there_is_named(cell):
    made = cell()
    made.blind = True
    result = made.result(made.goal())
    assert result.error_code == Goal.NO_BOARD
    assert made.check().error_code == CheckCalibration.Request.UNKNOWN  # no calibration to check


def test_goals_that_cannot_end_well_are_rejected(cell, configuration):
    made = cell()
    first = made.goal()
    assert first.accepted
    assert not made.goal(output='other').accepted
    made.wait(first.cancel_goal_async())
    made.result(first)
    assert not made.goal(views=3).accepted
    assert not made.goal(output='../x').accepted


def test_a_process_that_was_started_for_it_ends_with_a_code(cell, configuration):
    made = cell(start='calibrate', output='alone', view_count=VIEWS)
    with pytest.raises(NodeFinished) as finished:
        made.until(lambda: False)
    assert finished.value.exit_code == 0
    assert load_named_calibration('alone', configuration).views == VIEWS
    with pytest.raises(ConfigurationError, match='already'):
        cell(start='calibrate', output='alone')


def test_wrong_words_and_a_check_without_a_mount_are_refused_at_the_start(cell, configuration):
    with pytest.raises(ConfigurationError, match="'drive', 'operator'"):
        cell(motion='push')
    from deft_perception.calibration import CameraCalibration

    placed = CameraCalibration(
        'placed', '2026-11-21', '42', 'link_base', OPTICAL, (0, 0, 1), (0, 0, 0, 1), 'a ruler'
    )
    save_calibration(placed, configuration)
    with pytest.raises(ConfigurationError, match='one look cannot check'):
        cell(start='check', calibration='placed')
