# SPDX-License-Identifier: Apache-2.0
"""The hand driver in one process with a peer that stands for the motors and the commander."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('deft_msgs')
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.grasp import HAND_JOINT_NAMES  # noqa: E402
from deft_core.nodes.qos import COMMAND, LATCHED, STATE, STATE_PUBLISHER  # noqa: E402
from deft_hand_driver.calibration.families import AffineFinger  # noqa: E402
from deft_hand_driver.calibration.finger_layout import finger_layouts  # noqa: E402
from deft_hand_driver.calibration.learned_map import ForwardModel, LearnedMap  # noqa: E402
from deft_hand_driver.calibration.map_file import MapRecord, load_map, save_map  # noqa: E402
from deft_hand_driver.controller import HandController  # noqa: E402
from deft_hand_driver.description import MOTOR_NAMES, load_hand_description  # noqa: E402
from deft_hand_driver.joint_map import SPOOL, TENDON_LENGTH, closed_form_map  # noqa: E402
from deft_hand_driver.nodes.hand_driver_node import HandDriverNode  # noqa: E402
from deft_msgs.msg import EmergencyStop, HandCommand, HandState  # noqa: E402

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
CLOSED = [0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81]


class Peer(Node):
    """Motors that follow at once, and a client."""

    def __init__(self, context):
        super().__init__('peer', context=context)
        self.motors = np.full(12, 0.1)
        self.follows = True
        self.commands = []
        self.states = []
        self.motor_publisher = self.create_publisher(
            JointState, '/hand/motor_state', STATE_PUBLISHER
        )
        self.command_publisher = self.create_publisher(HandCommand, '/hand/command', COMMAND)
        self.stop_publisher = self.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.create_subscription(JointState, '/hand/motor_command', self.on_command, COMMAND)
        self.create_subscription(HandState, '/hand/state', self.states.append, STATE)
        self.enable = self.create_client(SetBool, '/hand/enable')
        self.clear = self.create_client(Trigger, '/hand/clear_fault')
        self.timer = self.create_timer(0.01, self.publish_motors)

    def on_command(self, message):
        self.commands.append(np.array(message.position))
        if self.follows:
            self.motors = np.array(message.position)

    def publish_motors(self):
        zeros = [0.0] * 12
        self.motor_publisher.publish(
            JointState(
                name=list(MOTOR_NAMES),
                position=self.motors.tolist(),
                velocity=zeros,
                effort=zeros,
            )
        )

    def send(self, joints, duration=0.2, sequence=1, names=HAND_JOINT_NAMES):
        self.command_publisher.publish(
            HandCommand(
                joint_names=list(names),
                joint_positions=joints,
                duration=duration,
                sequence=sequence,
            )
        )


class Graph:
    """The driver and its peer on an executor of their own."""

    def __init__(self, monkeypatch):
        monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []

    def start(self, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.driver = HandDriverNode(context=self.context, parameter_overrides=overrides)
        self.peer = Peer(self.context)
        self.nodes = [self.driver, self.peer]
        for node in self.nodes:
            self.executor.add_node(node)
        self.until(lambda: self.peer.states)
        self.until(lambda: self.peer.command_publisher.get_subscription_count() > 0)
        return self.peer

    def until(self, condition, timeout=20.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'the condition was not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client, request):
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self):
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(monkeypatch):
    graph = Graph(monkeypatch)
    yield graph
    graph.close()


@pytest.fixture
def enabled(graph):
    peer = graph.start()
    assert graph.call(peer.enable, SetBool.Request(data=True)).success
    return peer


def last(peer):
    return peer.states[-1]


def test_starts_disabled_and_sends_nothing(graph):
    peer = graph.start()
    count = len(peer.states)
    peer.send(CLOSED)
    graph.until(lambda: len(peer.states) > count + 5)
    assert last(peer).state == HandState.DISABLED
    assert peer.commands == []


def test_closes_and_reports_what_was_sent(graph, enabled):
    enabled.send(CLOSED, sequence=41)
    graph.until(lambda: last(enabled).settled and last(enabled).sequence == 41)
    np.testing.assert_allclose(last(enabled).joint_targets[1], 0.3, atol=1e-6)
    np.testing.assert_allclose(last(enabled).joint_positions[13], 1.0, atol=0.2)
    assert list(last(enabled).joint_names) == list(HAND_JOINT_NAMES)


def test_reordered_names_reach_the_same_joints(graph, enabled):
    names = list(reversed(HAND_JOINT_NAMES))
    enabled.send(list(reversed(CLOSED)), names=names)
    graph.until(lambda: last(enabled).settled)
    np.testing.assert_allclose(last(enabled).joint_targets[13], 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ('joints', 'names'),
    [
        ([float('nan')] * 16, HAND_JOINT_NAMES),
        (CLOSED[:15], HAND_JOINT_NAMES[:15]),
        (CLOSED, [*HAND_JOINT_NAMES[:15], 'pinky_dip']),
    ],
)
def test_refused_commands_change_nothing(graph, enabled, joints, names):
    graph.until(lambda: enabled.commands)
    before = enabled.commands[-1]
    enabled.send(joints, names=names, sequence=9)
    count = len(enabled.commands)
    graph.until(lambda: len(enabled.commands) > count + 5)
    np.testing.assert_array_equal(enabled.commands[-1], before)
    assert last(enabled).sequence == 0


def test_silent_motors_bring_a_latched_fault(graph):
    peer = graph.start(motor_state_timeout=0.2)
    assert graph.call(peer.enable, SetBool.Request(data=True)).success
    peer.timer.cancel()
    graph.until(lambda: last(peer).state == HandState.FAULT)
    assert 'No motor state' in last(peer).fault
    peer.timer.reset()
    refused = graph.call(peer.enable, SetBool.Request(data=True))
    assert not refused.success
    assert 'clear_fault' in refused.message
    assert graph.call(peer.clear, Trigger.Request()).success
    graph.until(lambda: last(peer).state == HandState.DISABLED)
    graph.until(lambda: graph.call(peer.enable, SetBool.Request(data=True)).success)


def test_emergency_stop_holds_the_measured_pose(graph, enabled):
    enabled.send(CLOSED, duration=5.0)
    graph.until(lambda: enabled.commands and enabled.commands[-1][1] > 0.15)
    enabled.follows = False
    enabled.motors = np.full(12, 0.33)
    graph.until(lambda: last(enabled).motor_positions[0] == 0.33)
    enabled.stop_publisher.publish(EmergencyStop(pressed=True, source='test', reason='drill'))
    graph.until(lambda: last(enabled).state == HandState.FAULT)
    graph.until(lambda: np.array_equal(enabled.commands[-1], np.full(12, 0.33)))
    assert 'drill' in last(enabled).fault
    pressed = graph.call(enabled.clear, Trigger.Request())
    assert not pressed.success
    enabled.stop_publisher.publish(EmergencyStop(pressed=False, source='test', reason='over'))
    graph.until(lambda: graph.call(enabled.clear, Trigger.Request()).success)


def test_an_exception_in_a_callback_holds_before_it_ends_the_process(graph, enabled, monkeypatch):
    enabled.send(CLOSED, duration=5.0)
    graph.until(lambda: enabled.commands and enabled.commands[-1][1] > 0.15)

    def fail(self, now):
        raise ZeroDivisionError

    monkeypatch.setattr(HandController, 'update', fail)
    states = len(enabled.states)
    with pytest.raises(ZeroDivisionError):
        graph.until(lambda: False)
    graph.executor.remove_node(graph.driver)
    graph.until(lambda: len(enabled.states) > states and last(enabled).state == HandState.FAULT)
    held = enabled.commands[-1]
    np.testing.assert_array_equal(held, last(enabled).motor_positions)


def test_closing_the_node_holds_the_measured_pose(graph, enabled):
    enabled.send(CLOSED, duration=5.0)
    graph.until(lambda: enabled.commands and enabled.commands[-1][1] > 0.15)
    enabled.follows = False
    enabled.motors = np.full(12, 0.2)
    graph.until(lambda: last(enabled).motor_positions[0] == 0.2)
    graph.driver.close()
    graph.executor.remove_node(graph.driver)
    graph.until(lambda: np.array_equal(enabled.commands[-1], np.full(12, 0.2)))


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'hand': 'lepa'}, 'Unknown hand'),
        ({'rte': 50.0}, "did you mean 'rate'"),
        ({'enable_on_start': 'always'}, 'simulation'),
    ],
)
def test_wrong_parameters_are_refused(graph, parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        graph.start(**parameters)


def save_learned_map(path, zero=0.0):
    description = load_hand_description('dash', CONFIGURATION)
    motors = dict(description.motors)
    motors['index_curl'] = replace(motors['index_curl'], zero=zero)
    changed = replace(description, motors=motors)
    lower, upper = closed_form_map(changed).lower, closed_form_map(changed).upper
    fingers = tuple(
        AffineFinger(
            layout,
            np.array([0.5, 0.7, 0.55, 0.5]),
            np.full(4, 0.05),
            changed.joint_limits()[1][layout.joints],
        )
        for layout in finger_layouts(changed)
    )
    model = ForwardModel(np.array(lower), np.array(upper), fingers)
    learned = LearnedMap(changed, model, model)
    record = MapRecord(
        learned, TENDON_LENGTH, '2026-11-21', 'test', 100, 0.01, np.full(16, 0.01), 0.01, 0.03
    )
    save_map(record, path)
    return learned


def test_a_learned_map_is_used_and_named(graph, tmp_path):
    learned = save_learned_map(tmp_path / 'map.json')
    peer = graph.start(joint_map=str(tmp_path / 'map.json'))
    diagnostics = []
    peer.create_subscription(DiagnosticArray, '/diagnostics', diagnostics.append, STATE)
    assert graph.call(peer.enable, SetBool.Request(data=True)).success
    peer.send(CLOSED, sequence=5)
    graph.until(lambda: last(peer).settled and last(peer).sequence == 5)
    np.testing.assert_allclose(peer.commands[-1], learned.motors_from_joints(CLOSED), atol=1e-9)
    graph.until(lambda: np.array_equal(last(peer).motor_positions, peer.commands[-1]))
    np.testing.assert_allclose(
        last(peer).joint_positions, learned.joints_from_motors(peer.commands[-1]), atol=1e-9
    )
    graph.until(lambda: diagnostics)
    values = {value.key: value.value for value in diagnostics[-1].status[0].values}
    assert values['joint map'] == 'learned, affine, 0.0100 rad on held-out pairs, 2026-11-21'


def test_a_map_of_a_changed_hand_ends_the_node_with_the_sentence(graph, tmp_path):
    save_learned_map(tmp_path / 'map.json', zero=0.3)
    with pytest.raises(
        ConfigurationError, match=r'index_curl.zero is 0.3 there and 0.0 here.*calibrate again'
    ):
        graph.start(joint_map=str(tmp_path / 'map.json'))


def test_a_map_of_spools_is_refused_behind_topics(graph, tmp_path):
    learned = save_learned_map(tmp_path / 'map.json')
    record = load_map(tmp_path / 'map.json', learned.description, TENDON_LENGTH)
    save_map(replace(record, measured=SPOOL), tmp_path / 'map.json')
    with pytest.raises(ConfigurationError, match='measured the spool'):
        graph.start(joint_map=str(tmp_path / 'map.json'))
