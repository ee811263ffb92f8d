# SPDX-License-Identifier: Apache-2.0
"""Both nodes in one graph of their own, with a camera played by the test."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402

from deft_core.camera import RgbdFrame  # noqa: E402
from deft_core.decode import (  # noqa: E402
    color_from_msg,
    observation_from_msg,
    points_from_msg,
    transform_from_msg,
)
from deft_core.errors import ConfigurationError, InvalidInputError  # noqa: E402
from deft_core.nodes.encode import (  # noqa: E402  # noqa: E402
    header,
    image_to_msg,
    intrinsics_to_msg,
    time_to_msg,
    transform_to_msg,
)
from deft_core.nodes.qos import IMAGE_PUBLISHER, LATCHED, RECORDS  # noqa: E402
from deft_core.rotations import quaternion_from_matrix  # noqa: E402
from deft_msgs.msg import CameraCalibration, GraspPrior  # noqa: E402
from deft_msgs.srv import SegmentObject  # noqa: E402
from deft_perception.nodes.calibration_publisher import CalibrationPublisher  # noqa: E402
from deft_perception.nodes.segmentation_node import SegmentationNode  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

TIMEOUT = 20.0  # [s]
OPTICAL = 'camera_color_optical_frame'
Code = SegmentObject.Request
NEVER_STALE = {'maximum_age': 60.0}


@pytest.fixture
def context():
    context = rclpy.Context()
    # Processes that run tests side by side must not hear each other.
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def cup(scene, cylinder):
    return scene(bodies=(cylinder(0.55, 0.03, 0.036, 0.095),), noise=0.001)


@pytest.fixture
def configuration(tmp_path, monkeypatch, cup):
    """A configuration folder whose calibration is the pose of the synthetic camera."""
    (tmp_path / 'calibration').mkdir()
    x, y, z, w = quaternion_from_matrix(cup.pose[:3, :3])
    px, py, pz = cup.pose[:3, 3]
    (tmp_path / 'calibration' / 'synthetic.yaml').write_text(
        f"identifier: synthetic\ndate: '2026-11-21'\ncamera_serial: none\nbase_frame: link_base\n"
        f'camera_frame: {OPTICAL}\ntranslation: [{px}, {py}, {pz}]\n'
        f'rotation_xyzw: [{x}, {y}, {z}, {w}]\nsource: the test\n',
        encoding='utf-8',
    )
    monkeypatch.setenv('DEFT_CONFIG', str(tmp_path))
    return tmp_path


def overrides(values):
    return [Parameter(name, value=value) for name, value in values.items()]


class Graph:
    """The nodes, a camera and a client in one executor."""

    def __init__(self, context, calibrated=True, **parameters):
        self.calibrated = calibrated
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes = []
        options = overrides({'wait_timeout': 0.2, **parameters})
        self.add(SegmentationNode(context=context, parameter_overrides=options))
        if calibrated:
            name = overrides({'calibration': 'synthetic'})
            self.add(CalibrationPublisher(context=context, parameter_overrides=name))
        self.test = self.add(Node('test', context=context))
        self.client = self.test.create_client(SegmentObject, '/perception/segment_object')
        self.received = {}
        self.until(self.client.service_is_ready)
        self.connect_camera()
        if calibrated:
            self.listen(TFMessage, '/tf_static', RECORDS)
            self.listen(CameraCalibration, '/calibration/camera', LATCHED)
            self.until(lambda: len(self.received) == 2)

    def connect_camera(self):
        self.color = self.test.create_publisher(
            Image, '/camera/camera/color/image_raw', IMAGE_PUBLISHER
        )
        self.depth = self.test.create_publisher(
            Image, '/camera/camera/aligned_depth_to_color/image_raw', IMAGE_PUBLISHER
        )
        self.info = self.test.create_publisher(
            CameraInfo, '/camera/camera/color/camera_info', IMAGE_PUBLISHER
        )
        publishers = (self.color, self.depth, self.info)
        self.until(lambda: all(p.get_subscription_count() for p in publishers))

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def listen(self, kind, topic, qos):
        self.test.create_subscription(
            kind, topic, lambda message: self.received.__setitem__(topic, message), qos
        )

    def until(self, condition):
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'condition not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def publish(self, frame, stamp, depth_frame_id=OPTICAL):
        millimetres = np.nan_to_num(frame.depth * 1000.0).round().astype(np.uint16)
        self.info.publish(intrinsics_to_msg(frame.intrinsics, stamp, OPTICAL))
        self.color.publish(image_to_msg(frame.color, 'rgb8', stamp, OPTICAL))
        self.depth.publish(image_to_msg(millimetres, '16UC1', stamp, depth_frame_id))

    def ask(self, **request):
        if 'not_before' in request:
            request['not_before'] = time_to_msg(request['not_before'])
        return self.client.call_async(SegmentObject.Request(**request))

    def answer(self, **request):
        future = self.ask(**request)
        self.until(future.done)
        return future.result()

    def show(self, frame, stamp=10.0, **options):
        """Publish a frame and answer from it, once the calibration has reached the node."""
        future = self.ask(not_before=stamp)
        self.publish(frame, stamp, **options)
        self.until(future.done)
        answers = [future.result()]
        while self.calibrated and answers[-1].error_code == Code.NO_TRANSFORM:
            assert len(answers) < 1000, 'the calibration does not reach the node'
            answers.append(self.answer(not_before=stamp))
        return answers[-1]

    def close(self):
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def graph(context, configuration):
    graphs = []

    def graph(**options):
        graphs.append(Graph(context, **options))
        return graphs[-1]

    yield graph
    for made in graphs:
        made.close()


def test_the_calibration_is_latched_as_transform_and_record(graph, cup):
    received = graph().received
    (stamped,) = received['/tf_static'].transforms
    assert (stamped.header.frame_id, stamped.child_frame_id) == ('link_base', OPTICAL)
    assert transform_from_msg(stamped.transform) == pytest.approx(cup.pose)
    # As tf2 reads it: the transform takes a point of the child into the parent.
    sent, point = stamped.transform, np.array([0.1, -0.2, 0.7])
    turn = Rotation.from_quat([sent.rotation.x, sent.rotation.y, sent.rotation.z, sent.rotation.w])
    offset = [sent.translation.x, sent.translation.y, sent.translation.z]
    assert turn.apply(point) + offset == pytest.approx((cup.pose @ [*point, 1.0])[:3])
    calibration = received['/calibration/camera']
    assert calibration.calibration_id == 'synthetic'
    assert transform_from_msg(calibration.transform) == pytest.approx(cup.pose)
    assert np.isnan(calibration.reprojection_error)


def test_a_cup_goes_in_and_an_observation_comes_out(graph, cup):
    made = graph(wait_timeout=TIMEOUT)
    made.listen(Image, '/perception/overlay', LATCHED)
    made.listen(PointCloud2, '/perception/object_points', LATCHED)
    response = made.show(cup.render(), stamp=12.25)
    assert (response.error_code, response.error_message) == (Code.NONE, '')
    observation = observation_from_msg(response.observation)
    assert observation.centre[:2] == pytest.approx([0.55, 0.03], abs=0.006)
    assert observation.stamp == 12.25
    assert observation.calibration_id == 'synthetic'
    assert color_from_msg(response.observation.color).shape == (240, 320, 3)
    assert observation.normals.shape == observation.points.shape
    rows_and_columns = (observation.pixels[:, 1], observation.pixels[:, 0])
    assert np.all(observation.mask[rows_and_columns])
    made.until(lambda: {'/perception/overlay', '/perception/object_points'} <= set(made.received))
    overlay = color_from_msg(made.received['/perception/overlay'])
    assert np.any(overlay != cup.render().color)
    cloud = points_from_msg(made.received['/perception/object_points'])
    assert len(cloud) == len(observation.points)
    assert made.received['/perception/object_points'].header.frame_id == 'link_base'


def test_the_contact_of_a_proposed_grasp_is_drawn_where_it_belongs(graph, cup):
    made = graph(wait_timeout=TIMEOUT)
    made.listen(Image, '/perception/overlay', LATCHED)
    made.show(cup.render(), stamp=12.25)
    made.until(lambda: '/perception/overlay' in made.received)
    before = color_from_msg(made.received.pop('/perception/overlay'))
    priors = made.test.create_publisher(GraspPrior, '/affordance/prior', LATCHED)
    of_another = GraspPrior(header=header(11.0, 'link_base'), contact_point=[0.55, 0.03, 0.09])
    priors.publish(of_another)
    priors.publish(GraspPrior(header=header(12.25, 'link_base'), contact_point=[0.55, 0.0, 0.0]))
    made.until(lambda: '/perception/overlay' in made.received)
    after = color_from_msg(made.received['/perception/overlay'])
    column, row = cup.pixel(0.55, 0.0, 0.0)
    rows, columns = np.nonzero(np.any(after != before, axis=2))
    assert abs(rows.mean() - row) < 3.0
    assert abs(columns.mean() - column) < 3.0


def test_a_request_waits_for_a_newer_image_while_others_are_answered(graph, cup):
    made = graph(wait_timeout=TIMEOUT, **NEVER_STALE)
    assert made.show(cup.render(), stamp=1.0).error_code == Code.NONE
    waiting = made.ask(not_before=5.0)
    assert made.answer(not_before=1.0).error_code == Code.NONE  # the executor is not blocked
    made.publish(cup.render(), 4.0)
    answered = made.answer(not_before=4.0)
    assert answered.observation.header.stamp.sec == 4
    assert not waiting.done()
    made.publish(cup.render(), 5.0)
    made.until(waiting.done)
    assert waiting.result().observation.header.stamp.sec == 5


def test_an_image_that_never_comes_is_refused_in_time(graph, cup):
    made = graph(**NEVER_STALE)
    refused = made.answer()
    assert refused.error_code == Code.NO_IMAGE
    assert 'No camera image has arrived' in refused.error_message
    made.publish(cup.render(), 3.0)
    made.until(lambda: made.answer(not_before=3.0).error_code == Code.NONE)
    refused = made.answer(not_before=100.0)
    assert refused.error_code == Code.STALE_IMAGE
    assert 'same clock' in refused.error_message


def test_a_camera_that_stopped_is_refused(graph, cup):
    made = graph(wait_timeout=TIMEOUT, maximum_age=1.0)
    made.show(cup.render())
    made.until(lambda: made.answer().error_code == Code.STALE_IMAGE)
    refused = made.answer()
    assert 'is the camera still running' in refused.error_message


@pytest.mark.parametrize(
    ('covered', 'code', 'words'),
    [(True, Code.DEPTH_MISSING, 'covered'), (False, Code.STALE_IMAGE, 'colour image has not')],
)
def test_a_covered_lens_asks_again_and_a_frozen_picture_is_stale(graph, cup, covered, code, words):
    made = graph(frozen_after=0.3, wait_timeout=TIMEOUT, **NEVER_STALE)
    frame = cup.render()
    color = np.random.default_rng(0).integers(0, 255, frame.color.shape, dtype=np.uint8)
    end, stamp = time.monotonic() + 1.0, 10.0
    while time.monotonic() < end:
        stamp += 0.1
        depth = np.full_like(frame.depth, np.nan) if covered else frame.depth + 1e-3 * (stamp % 1)
        refused = made.show(RgbdFrame(stamp, color, depth, frame.intrinsics), stamp)
    assert refused.error_code == code
    assert words in refused.error_message


def test_a_camera_that_comes_back_is_taken_again(graph, cup):
    made = graph(wait_timeout=TIMEOUT, **NEVER_STALE)
    assert made.show(cup.render(), 10.0).error_code == Code.NONE
    for publisher in (made.color, made.depth, made.info):
        made.test.destroy_publisher(publisher)
    images = '/camera/camera/color/image_raw'
    made.until(lambda: made.test.count_publishers(images) == 0)
    made.connect_camera()
    # Its driver began anew, and with it the clock of a simulation.
    assert made.show(cup.render(), 3.0).error_code == Code.NONE


def test_without_calibration_nothing_is_placed(graph, cup):
    made = graph(calibrated=False, wait_timeout=TIMEOUT)
    refused = made.show(cup.render())
    assert refused.error_code == Code.NO_TRANSFORM
    assert 'calibration publisher' in refused.error_message


def test_a_second_opinion_about_the_camera_is_refused(graph, cup):
    made = graph(wait_timeout=TIMEOUT, **NEVER_STALE)
    assert made.show(cup.render()).error_code == Code.NONE
    other = made.test.create_publisher(TFMessage, '/tf_static', LATCHED)
    moved = cup.pose.copy()
    moved[0, 3] += 0.01
    stamped = TransformStamped(
        header=header(0.0, 'link_base'), child_frame_id=OPTICAL, transform=transform_to_msg(moved)
    )
    broken = TransformStamped(header=header(0.0, 'link_base'), child_frame_id='broken')
    broken.transform.rotation.w = 0.0
    other.publish(TFMessage(transforms=[broken, stamped]))
    made.until(lambda: made.answer().error_code != Code.NONE)
    refused = made.answer()
    assert refused.error_code == Code.NO_TRANSFORM
    assert 'two publishers' in refused.error_message


def test_refusals_of_the_segmentation_have_their_codes(graph, cup, scene):
    made = graph(wait_timeout=TIMEOUT, **NEVER_STALE)
    assert made.show(scene(noise=0.001).render(), 1.0).error_code == Code.NO_OBJECT
    frame = cup.render()
    blind = RgbdFrame(0.0, frame.color, np.full_like(frame.depth, np.nan), frame.intrinsics)
    assert made.show(blind, 2.0).error_code == Code.DEPTH_MISSING
    misaligned = made.show(frame, 3.0, depth_frame_id='camera_depth_optical_frame')
    assert misaligned.error_code == Code.UNKNOWN
    assert 'not aligned' in misaligned.error_message
    assert made.show(frame, 4.0).error_code == Code.NONE
    column, row = cup.pixel(0.40, -0.15, 0.0)
    aside = made.answer(use_click=True, click_column=column, click_row=row)
    assert aside.error_code == Code.NO_OBJECT
    outside = made.answer(use_click=True, click_column=-1, click_row=0)
    assert outside.error_code == Code.UNKNOWN
    assert 'outside the image' in outside.error_message


@pytest.mark.parametrize(
    ('values', 'error', 'words'),
    [
        ({'minimum_heigth': 0.01}, ConfigurationError, "did you mean 'minimum_height'"),
        ({'minimum_height': -1.0}, ConfigurationError, 'minimum_height'),
        ({'workspace_maximum': [0.0, 0.0, 0.0]}, InvalidInputError, 'must exceed'),
    ],
)
def test_wrong_parameters_are_refused_at_the_start(context, values, error, words):
    with pytest.raises(error, match=words):
        SegmentationNode(context=context, parameter_overrides=overrides(values))


@pytest.mark.parametrize(
    ('values', 'serial', 'words'),
    [
        ({'calibration': 'syntetic'}, 'none', "did you mean 'synthetic'"),
        ({'camera_serial': '_819312'}, 'none', "belongs to camera 'none'"),
        ({'maximum_age_days': 3}, 'none', 'days old, at most 3'),
        ({}, 'simulated', 'of the simulated camera'),
    ],
)
def test_a_calibration_that_must_not_be_used_ends_the_publisher(
    context, configuration, values, serial, words
):
    file = configuration / 'calibration' / 'synthetic.yaml'
    text = file.read_text().replace('2026-11-21', '2020-01-01')
    file.write_text(text.replace('camera_serial: none', f'camera_serial: {serial}'))
    with pytest.raises(ConfigurationError, match=words):
        CalibrationPublisher(
            context=context, parameter_overrides=overrides({'calibration': 'synthetic', **values})
        )
