# SPDX-License-Identifier: Apache-2.0
"""The calibration node in a graph of its own, with an arm and a camera played by the test.

The six joints of the played arm are the rotation vector and the place of its flange.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.nodes.encode import header, image_to_msg, intrinsics_to_msg, pose_to_msg  # noqa: E402  # noqa: E402
from deft_core.nodes.qos import COMMAND, IMAGE_PUBLISHER, LATCHED, STATE_PUBLISHER  # noqa: E402
from deft_core.nodes.runner import NodeFinished  # noqa: E402
from deft_core.rotations import (  # noqa: E402
    invert_transform,
    matrix_from_euler,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
    transform,
)
from deft_msgs.msg import ArmState, EmergencyStop  # noqa: E402
from deft_perception.calibration.calibration_file import (  # noqa: E402
    CameraCalibration,
    load_named_calibration,
    save_calibration,
)
from deft_perception.calibration.hand_eye import pose_difference  # noqa: E402
from deft_perception.calibration.postures import load_postures, save_postures  # noqa: E402
from deft_perception.nodes.camera_calibration_node import CameraCalibrationNode  # noqa: E402

TIMEOUT = 60.0  # [s]
OPTICAL = 'camera_color_optical_frame'
JOINTS = tuple(f'joint{number}' for number in range(1, 7))
VIEWS = 9
CAMERA = transform(matrix_from_euler((-2.4, 0.0, -0.7)), [0.10, 0.38, 0.66])
MOUNT = transform(matrix_from_euler((1.5, 0.1, 1.6)), [-0.06, -0.09, 0.01])


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
        rows.append([*rotation_vector_from_matrix(pose[:3, :3]), *pose[:3, 3]])
    return np.array(rows)


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
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


class Log:
    """A logger that remembers."""

    def __init__(self):
        self.said = []

    def info(self, message, **_):
        self.said.append(message)

    warning = error = info


class Cell:
    """The node, an arm that jumps where it is sent, and a camera that sees the board on it."""

    def __init__(self, context, folder, photograph, camera, **parameters):
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        values = {
            'board': 'board', 'motion': 'drive', 'postures': 'tour', 'speed': 1.5,
            'still_time': 0.1, 'look_timeout': 0.3, 'run': str(folder / 'run'),
            'camera_serial': '_42', 'output': 'found', 'view_count': VIEWS, **parameters,
        }  # fmt: skip
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = CameraCalibrationNode(context=context, parameter_overrides=overrides)
        self.test = Node('test', context=context)
        for node in (self.node, self.test):
            self.executor.add_node(node)
        log = Log()
        self.said, self.node.get_logger = log.said, lambda: log
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
        self.ticks = 0
        self.test.create_timer(0.02, self.tick)

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
        self.ticks += 1
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

    def end(self):
        """Exit code of the process, and the last thing that it said."""
        with pytest.raises(NodeFinished) as finished:
            self.until(lambda: False)
        self.node.close()
        # Callbacks that the ended process would not come to any more stay in its executor.
        self.executor.shutdown()
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.test)
        return finished.value.exit_code, self.said[-1]

    def close(self):
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
    made = cell()
    code, said = made.end()
    assert (code, said) == (0, f'wrote {configuration / "calibration" / "found.yaml"}')
    found = load_named_calibration('found', configuration)
    assert (found.camera_serial, found.board, found.views) == ('42', 'board', VIEWS)
    shift, turn = pose_difference(CAMERA, found.T_base_camera)
    assert shift < 0.002
    assert turn < np.radians(0.2)
    assert 0.0 < found.reprojection_error < 1.0
    run = configuration / 'run'
    assert {'views.json', 'calibration.png', 'view_0.png'} <= {p.name for p in run.iterdir()}
    made.until(lambda: len([move for move in made.moves if move.points]) == VIEWS)
    made.close()

    check = cell(start='check', calibration='found')
    code, said = check.end()
    assert code == 0
    assert 'found: arm and camera agree within' in said
    assert len([move for move in check.moves if move.points]) == 1
    pushed = cell(start='check', calibration='found')  # somebody pushed the tripod
    pushed.camera = transform(np.eye(3), [0.03, 0.0, 0.0]) @ CAMERA
    code, said = pushed.end()
    assert code == 3
    assert 'has the camera or the board moved' in said
    blind = cell(start='check', calibration='found')
    blind.blind = True
    code, said = blind.end()
    assert code == 3
    assert '0 corners' in said
    with pytest.raises(ConfigurationError, match='already'):
        cell()


def test_a_person_moves_the_arm_and_keeps_the_postures(cell, configuration, board):
    made = cell(motion='operator', least_shift=0.0, least_turn=0.001)
    for number, row in enumerate(postures(board, VIEWS)):
        made.joints = row
        if number < VIEWS - 1:
            made.until(lambda n=number: sum(words.startswith('view') for words in made.said) > n)
    assert made.end()[0] == 0
    assert not made.moves  # nothing here commanded the arm
    kept = configuration / 'run' / 'found.yaml'
    kept.rename(configuration / 'postures' / 'found.yaml')
    assert load_postures('found', configuration).matrix().shape == (VIEWS, 6)


def stop_that_another_releases(made):
    made.stop.publish(EmergencyStop(pressed=True, source='test', reason='a hand in the way'))
    made.stop.publish(EmergencyStop(pressed=False, source='panel'))


def fault(made):
    made.state = ArmState.FAULT


def busy(made):
    made.state = ArmState.MOVING


@pytest.mark.parametrize(
    ('trouble', 'words'),
    [
        (stop_that_another_releases, 'a hand in the way'),
        (fault, 'in fault'),
        (busy, 'executes something else'),
    ],
)
def test_trouble_ends_the_tour_and_holds_the_arm(cell, trouble, words):
    made = cell()
    made.until(lambda: len(made.moves) >= 2)
    trouble(made)
    code, said = made.end()
    assert code == 3
    assert words in said
    made.until(lambda: not made.moves[-1].points)  # an empty trajectory: hold


def test_a_process_that_is_ended_holds_the_arm(cell):
    made = cell()
    made.until(lambda: len(made.moves) >= 1)
    made.node.close()  # what the runner does at Ctrl-C
    made.until(lambda: not made.moves[-1].points)


def test_a_board_that_is_not_there_is_named(cell):
    made = cell()
    made.blind = True
    code, said = made.end()
    assert code == 3
    assert '0 usable views' in said


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'motion': 'push'}, "'operator' or 'drive'"),
        ({'start': ''}, "'calibrate' or 'check'"),
        ({'output': '../x'}, 'letters, digits'),
        ({'view_count': 5}, 'at least 8 views'),
        ({'start': 'check', 'calibration': 'placed'}, 'one look cannot check'),
        ({'start': 'check', 'calibration': 'other'}, "Unknown camera calibration 'other'"),
    ],
)
def test_what_cannot_end_well_is_refused_at_the_start(cell, configuration, values, words):
    placed = CameraCalibration(
        'placed', '2026-11-21', '42', 'link_base', OPTICAL, (0, 0, 1), (0, 0, 0, 1), 'a ruler'
    )
    save_calibration(placed, configuration)
    with pytest.raises(ConfigurationError, match=words):
        cell(**values)
