# SPDX-License-Identifier: Apache-2.0
"""The driver on a simulated bus in another process; numbers in names are fault cases.

Where signals or exit codes matter the driver has a process of its own.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('deft_msgs')
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.grasp import HAND_JOINT_NAMES  # noqa: E402
from deft_core.nodes.encode import header  # noqa: E402
from deft_core.nodes.qos import (  # noqa: E402
    COMMAND,
    LATCHED,
    LEASED_COMMAND,
    STATE,
)
from deft_hand_driver.calibration.learned_map import (  # noqa: E402
    AffineModel,
    MapRecord,
    load_map,
    save_map,
)
from deft_hand_driver.calibration.pairs import hand_identity  # noqa: E402
from deft_hand_driver.description import load_hand_description  # noqa: E402
from deft_hand_driver.dynamixel.bus import DynamixelBus  # noqa: E402
from deft_hand_driver.joint_map import closed_form_map  # noqa: E402
from deft_hand_driver.nodes.hand_driver_node import HandDriverNode  # noqa: E402
from deft_msgs.msg import EmergencyStop, HandCommand, HandState  # noqa: E402
from dynamixel_simulator.motor_models import XC330_T288  # noqa: E402

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
CLOSED = [0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81]
CURL = 2
DRIVER = 'import sys; from deft_hand_driver.nodes.hand_driver_node import main; sys.exit(main())'
# A busy machine must not fail a test that is not about silence.
PARAMETERS = {
    'rate': 50.0,
    'reply_margin': 0.1,
    'motor_state_timeout': 2.0,
    'bus_watchdog': 2.0,
}


def environment():
    paths = [path for path in sys.path if path] + [os.environ.get('PYTHONPATH', '')]
    return {
        **os.environ,
        'DEFT_CONFIG': str(CONFIGURATION),
        'PYTHONPATH': os.pathsep.join(paths),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }


class Servos:
    """Simulated servos of DASH in a process of their own."""

    def __init__(self, link):
        self.path = str(link)
        self.process = subprocess.Popen(
            [
                sys.executable, '-m', 'deft_hand_driver.simulated_hand', '--hand', 'dash',
                '--link', self.path,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert self._answer().startswith('port')

    def _answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 30.0)
        assert ready, 'the simulated servos do not answer'
        return self.process.stdout.readline()

    def do(self, line):
        self.process.stdin.write(f'{line}\n')
        self.process.stdin.flush()
        assert self._answer() == 'ok\n'

    def register(self, name, identifier=3):
        """Read by a client of its own: the driver must be gone."""
        with DynamixelBus.open(self.path, 1_000_000, 0.5) as client:
            return client.read(identifier, XC330_T288.control_table(50), name)

    def close(self):
        self.process.kill()
        self.process.communicate()


class Graph:
    """A peer, and the driver in this process or in its own."""

    def __init__(self, servos):
        self.servos = servos
        self.driver = None
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = Node('peer', context=self.context)
        self.executor.add_node(self.node)
        self.processes = []
        self.states = []
        self.diagnostics = []
        self.sequence = 0
        node = self.node
        node.create_subscription(HandState, '/hand/state', self.states.append, STATE)
        node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append, STATE)
        self.commands = node.create_publisher(HandCommand, '/hand/command', COMMAND)
        self.stops = node.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.enable_client = node.create_client(SetBool, '/hand/enable')
        self.clear_client = node.create_client(Trigger, '/hand/clear_fault')

    def start(self, **parameters):
        """Start the driver in this process."""
        values = {**PARAMETERS, 'port': self.servos.path, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.driver = HandDriverNode(context=self.context, parameter_overrides=overrides)
        self.executor.add_node(self.driver)
        self.until(lambda: self.states)
        self.until(self.known)

    def known(self):
        """Whether commands and stops reach the driver."""
        topics = self.commands, self.stops
        return all(publisher.get_subscription_count() > 0 for publisher in topics)

    def start_process(self, code=DRIVER, **parameters):
        """Start the driver in a process of its own."""
        values = {**PARAMETERS, 'port': self.servos.path, **parameters}
        command = [sys.executable, '-c', code, '--ros-args']
        for name, value in values.items():
            command += ['-p', f'{name}:={value}']
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        self.processes.append(process)
        count = len(self.states)
        self.until(lambda: len(self.states) > count)
        self.until(self.known)
        return process

    def until(self, condition, timeout=90.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, self.last if self.states else 'no state'
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, client, request):
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def enable(self):
        result = self.call(self.enable_client, SetBool.Request(data=True))
        assert result.success, result.message
        self.until(lambda: self.last.state == HandState.ENABLED)

    def clear(self):
        return self.call(self.clear_client, Trigger.Request())

    def send(self, joints=CLOSED, duration=0.3, **changes):
        self.sequence += 1
        message = HandCommand(
            joint_names=list(HAND_JOINT_NAMES),
            joint_positions=list(joints),
            duration=duration,
            sequence=self.sequence,
        )
        for name, value in changes.items():
            setattr(message, name, value)
        self.commands.publish(message)
        return self.sequence

    @property
    def last(self):
        return self.states[-1]

    def hand_diagnostic(self):
        return self.diagnostics[-1].status[0]

    def value(self, key):
        return {v.key: v.value for v in self.hand_diagnostic().values}[key]

    def until_diagnostic(self, condition):
        self.until(lambda: self.diagnostics and condition(self.hand_diagnostic()))

    def open(self):
        """The servos are where the test before left them."""
        self.send([0.0] * 16, duration=0.1)
        self.until(lambda: abs(self.last.motor_positions[1]) < 0.01)

    def moving(self, duration=3.0):
        """Bring the hand into the middle of a motion."""
        self.open()
        self.send(duration=duration)
        self.until(lambda: self.last.motor_positions[1] > 0.03)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for node in (self.driver, self.node):
            if node is not None:
                self.executor.remove_node(node)
        if self.driver is not None:
            self.driver.close()
        self.executor.shutdown()
        for node in (self.driver, self.node):
            if node is not None:
                node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture(scope='module')
def servos(tmp_path_factory):
    servos = Servos(tmp_path_factory.mktemp('bus') / 'hand')
    yield servos
    servos.close()


@pytest.fixture
def graph(servos, monkeypatch):
    monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
    servos.do('port back')
    servos.do('clear all')
    graph = Graph(servos)
    yield graph
    graph.close()


@pytest.fixture
def enabled(graph):
    graph.start()
    graph.enable()
    return graph


def test_closes_the_hand_and_tells_everything(enabled):
    assert enabled.states[0].state == HandState.DISABLED
    sequence = enabled.send()
    enabled.until(lambda: enabled.last.settled and enabled.last.sequence == sequence)
    enabled.until(
        lambda: np.allclose(enabled.last.joint_positions, enabled.last.joint_targets, atol=0.15)
    )
    state = enabled.last
    np.testing.assert_allclose(state.joint_targets[1], 0.3, atol=1e-6)
    assert all(voltage == pytest.approx(11.1) for voltage in state.motor_voltages)
    assert all(20.0 <= degrees < 60.0 for degrees in state.motor_temperatures)
    assert any(abs(current) > 0.0 for current in state.motor_currents)
    assert list(state.motor_errors) == [0] * 12
    assert 0.0 < state.cycle_time < 2.0
    enabled.until_diagnostic(lambda status: status.message == 'enabled')
    names = [status.name for status in enabled.diagnostics[-1].status]
    assert names[0] == 'hand_driver: dash'
    assert 'hand_driver: motor index_curl' in names
    assert int(enabled.value('dropped packets')) == enabled.last.dropped_packets
    assert float(enabled.value('cycle time [ms]')) > 0.0
    assert enabled.call(enabled.enable_client, SetBool.Request(data=False)).success
    enabled.until(lambda: enabled.last.state == HandState.DISABLED)


def test_1_a_stream_of_commands_that_ends_is_a_stop(graph):
    graph.start(command_timeout=0.5)
    graph.enable()
    graph.moving()
    graph.until_diagnostic(lambda status: 'No command on /hand/command' in status.message)
    assert graph.hand_diagnostic().level == DiagnosticStatus.WARN
    graph.until(
        lambda: np.allclose(graph.last.motor_velocities, 0.0, atol=0.05) and not graph.last.settled
    )
    assert graph.last.state == HandState.ENABLED
    assert graph.last.motor_positions[1] < 0.3, 'it went on to the end'
    graph.commands.publish(
        HandCommand(
            joint_names=list(HAND_JOINT_NAMES), joint_positions=CLOSED, duration=0.3,
            sequence=graph.sequence,
        )
    )  # fmt: skip
    graph.until_diagnostic(lambda _: 'was broken off' in graph.value('last rejection'))
    sequence = graph.send(duration=0.1)
    graph.until(lambda: graph.last.sequence == sequence)


COMMANDER = """
import rclpy
from rclpy.node import Node
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.qos import LEASED_COMMAND
from deft_msgs.msg import HandCommand
rclpy.init()
node = Node('commander')
publisher = node.create_publisher(HandCommand, '/hand/command', LEASED_COMMAND)
while publisher.get_subscription_count() < 2:
    rclpy.spin_once(node, timeout_sec=0.05)
publisher.publish(HandCommand(joint_names=list(HAND_JOINT_NAMES), joint_positions=%r,
                              duration=8.0, sequence=99))
rclpy.spin(node)
"""


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP], ids=['kill', 'stop'])
def test_2_a_commander_that_dies_is_a_stop(enabled, number):
    enabled.open()
    commander = subprocess.Popen([sys.executable, '-c', COMMANDER % CLOSED], env=environment())
    enabled.processes.append(commander)
    enabled.until(lambda: enabled.last.sequence == 99)
    enabled.until(lambda: enabled.last.motor_positions[1] > 0.05)
    os.kill(commander.pid, number)
    enabled.until_diagnostic(
        lambda status: 'The sender of /hand/command is gone' in status.message
    )
    assert enabled.last.motor_positions[1] < 0.3, 'it went on to the end'
    assert enabled.value('senders of /hand/command with a lease') == '0'
    assert enabled.last.state == HandState.ENABLED
    assert not enabled.last.settled


WRONG_COMMANDS = [
    ({'joint_positions': [float('nan')] * 16}, 'finite'),
    ({'joint_positions': [float('inf')] + [0.0] * 15}, 'finite'),
    ({'joint_positions': CLOSED[:15]}, '15 values'),
    ({'joint_names': [*HAND_JOINT_NAMES[:15], 'pinky_dip']}, 'pinky_dip'),
    ({'duration': float('nan')}, 'duration'),
    ({'header': header(time.time() - 100.0, '')}, 's old'),
    ({'header': header(time.time() + 100.0, '')}, 's old'),
]


def test_3_wrong_commands_are_refused_and_counted(enabled):
    sequence = enabled.send()
    enabled.until(lambda: enabled.last.settled and enabled.last.sequence == sequence)
    enabled.until(lambda: enabled.diagnostics)
    before = enabled.last.joint_targets
    for count, (changes, reason) in enumerate(WRONG_COMMANDS, start=1):
        enabled.send([0.0] * 16, **changes)
        enabled.until_diagnostic(
            lambda _, count=count: enabled.value('commands rejected') == str(count)
        )
        assert reason in enabled.value('last rejection')
        np.testing.assert_array_equal(enabled.last.joint_targets, before)


def test_7_a_silent_motor_stops_the_hand(graph):
    graph.start(motor_state_timeout=0.5, reply_margin=0.02)
    graph.enable()
    graph.servos.do('fault 3 silence')
    graph.until(lambda: graph.last.state == HandState.FAULT)
    assert 'index_curl (id 3)' in graph.last.fault
    graph.until_diagnostic(lambda status: status.level == DiagnosticStatus.ERROR)
    refused = graph.call(graph.enable_client, SetBool.Request(data=True))
    assert not refused.success
    assert '/hand/clear_fault' in refused.message
    graph.servos.do('clear 3')
    assert graph.clear().success
    graph.enable()


def test_12_an_unplugged_adapter_is_a_fault_and_comes_back_off(enabled):
    enabled.servos.do('port gone')
    enabled.until(lambda: enabled.last.state == HandState.FAULT)
    assert 'plug the adapter in again' in enabled.last.fault
    assert not enabled.clear().success
    enabled.servos.do('port back')
    enabled.until(lambda: enabled.clear().success)
    enabled.until(lambda: enabled.last.state == HandState.DISABLED)
    enabled.enable()


FAILING_DRIVER = """
import sys
from deft_hand_driver.hand import Hand
from deft_hand_driver.nodes import hand_driver_node
def fail(*_):
    raise ZeroDivisionError('provoked')
command = Hand.command
def command_and_break(self, *arguments):
    Hand.%s = fail
    return command(self, *arguments)
Hand.command = command_and_break
sys.exit(hand_driver_node.main())
"""


@pytest.mark.parametrize('method', ['command', 'cycle'])
def test_13_an_exception_stops_the_hand_and_ends_with_1(graph, method):
    driver = graph.start_process(FAILING_DRIVER % method, bus_watchdog=0.5)
    graph.enable()
    while driver.poll() is None:
        graph.send(duration=5.0)
        graph.executor.spin_once(timeout_sec=0.1)
    assert driver.returncode == 1
    assert 'ZeroDivisionError: provoked' in driver.stderr.read()
    graph.until(lambda: graph.last.state == HandState.FAULT)
    assert 'The driver failed' in graph.last.fault
    assert any(array.status[0].level == DiagnosticStatus.ERROR for array in graph.diagnostics)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['INT', 'TERM'])
@pytest.mark.parametrize('end_state', ['hold', 'limp'])
def test_14_signals_bring_the_hand_to_rest_first(graph, number, end_state):
    driver = graph.start_process(end_state=end_state)
    graph.enable()
    graph.moving()
    driver.send_signal(number)
    assert driver.wait(60.0) == 0
    assert graph.servos.register('torque_enable') == (end_state == 'hold')
    assert graph.servos.register('bus_watchdog') == 0
    first = graph.servos.register('present_position', 2)
    if end_state == 'hold':
        assert abs(graph.servos.register('present_position', 2) - first) <= 2


def test_15_a_killed_driver_leaves_motors_that_stop_and_a_restart_is_off(graph):
    driver = graph.start_process(bus_watchdog=0.4)
    graph.enable()
    graph.moving(duration=5.0)
    driver.kill()
    driver.wait()
    # Watching it feeds its watchdog, as any instruction does: look seldom.
    looked = time.monotonic()

    def stopped():
        nonlocal looked
        if time.monotonic() - looked < 1.0:
            return False
        expired = graph.servos.register('bus_watchdog') == 255
        looked = time.monotonic()
        return expired

    graph.until(stopped)
    assert graph.servos.register('present_velocity', 2) == 0
    stopped = graph.servos.register('present_position', 2)
    assert stopped < 2048 + 0.3 * 4096 / (2 * np.pi), 'it went on to the end'
    graph.start_process()
    assert graph.last.state == HandState.DISABLED
    assert abs(graph.last.motor_positions[1] - (stopped - 2048) * 2 * np.pi / 4096) < 0.1
    graph.enable()
    sequence = graph.send()
    graph.until(lambda: graph.last.settled and graph.last.sequence == sequence)


def test_16_the_emergency_stop_holds_what_is_measured(enabled):
    enabled.moving()
    enabled.stops.publish(EmergencyStop(pressed=True, source='test', reason='drill'))
    enabled.until(lambda: enabled.last.state == HandState.FAULT)
    assert 'drill' in enabled.last.fault
    enabled.until(lambda: np.allclose(enabled.last.motor_velocities, 0.0, atol=0.05))
    held = enabled.last.motor_positions[1]
    assert held < 0.3, 'it went on to the end'
    count = len(enabled.states)
    enabled.until(lambda: len(enabled.states) > count + 10)
    assert enabled.last.motor_positions[1] == pytest.approx(held, abs=0.03)
    assert 'pressed' in enabled.clear().message
    enabled.stops.publish(EmergencyStop(pressed=False, source='test', reason='over'))
    enabled.until(lambda: enabled.clear().success)
    enabled.enable()


PANEL = """
import rclpy
from rclpy.node import Node
from deft_core.nodes.qos import LEASED_LATCHED
from deft_msgs.msg import EmergencyStop
rclpy.init()
node = Node('panel')
publisher = node.create_publisher(EmergencyStop, '/emergency_stop', LEASED_LATCHED)
publisher.publish(EmergencyStop(pressed=False, source='panel', reason='here'))
rclpy.spin(node)
"""


def start_panel(graph):
    panel = subprocess.Popen([sys.executable, '-c', PANEL], env=environment())
    graph.processes.append(panel)
    graph.until_diagnostic(lambda _: graph.value('emergency stop stations') == '1')
    return panel


def test_17_a_lost_stop_button_is_pressed_until_somebody_has_looked(graph):
    graph.start()
    panel = start_panel(graph)
    graph.enable()
    graph.moving()
    panel.kill()
    graph.until(lambda: graph.last.state == HandState.FAULT)
    assert 'counts as a press' in graph.last.fault
    assert graph.last.motor_positions[1] < 0.3, 'it went on to the end'
    assert graph.clear().success
    graph.enable()


def test_18_a_lost_stop_button_may_only_be_told(graph):
    graph.start(emergency_stop_lost='warn')
    panel = start_panel(graph)
    graph.enable()
    panel.kill()
    graph.until_diagnostic(lambda status: 'emergency stop station is gone' in status.message)
    assert graph.last.state == HandState.ENABLED
    sequence = graph.send()
    graph.until(lambda: graph.last.sequence == sequence)


def test_a_stop_button_that_is_not_there_any_more_prevents_enabling(graph):
    graph.start()
    start_panel(graph).kill()
    graph.until(lambda: graph.last.state == HandState.FAULT)
    refused = graph.call(graph.enable_client, SetBool.Request(data=True))
    assert not refused.success
    assert 'counts as a press' in refused.message


@pytest.mark.parametrize('profile', [COMMAND, STATE], ids=['volatile', 'best effort'])
def test_16_a_press_is_obeyed_with_any_quality_of_service(enabled, profile):
    other = enabled.node.create_publisher(EmergencyStop, '/emergency_stop', profile)
    enabled.until(lambda: other.get_subscription_count() > 0)
    other.publish(EmergencyStop(pressed=True, source='other', reason='drill'))
    enabled.until(lambda: enabled.last.state == HandState.FAULT)
    enabled.stops.publish(EmergencyStop(pressed=False, source='test', reason='not mine'))
    refused = enabled.clear()
    assert not refused.success, 'only who pressed releases'
    assert 'other (drill)' in refused.message


def test_the_driver_waits_for_a_port_that_comes_later(graph):
    graph.servos.do('port gone')
    overrides = {**PARAMETERS, 'port': graph.servos.path}
    graph.driver = HandDriverNode(
        context=graph.context,
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )
    graph.executor.add_node(graph.driver)
    graph.until_diagnostic(lambda status: 'There is no port' in status.message)
    refused = graph.call(graph.enable_client, SetBool.Request(data=True))
    assert 'There is no port' in refused.message
    graph.servos.do('port back')
    graph.until(lambda: graph.states)
    graph.enable()


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'port': ''}, 'need the parameter port'),
        ({'end_state': 'asleep'}, "'hold' or 'limp'"),
        ({'bus_watchdog': 3.0}, 'bus_watchdog must be 0.0 to 2.54 s'),
        ({'hand': 'lepa'}, 'Unknown hand'),
        ({'rte': 50.0}, "did you mean 'rate'"),
        ({'enable_on_start': 'always'}, 'simulation'),
    ],
)
def test_wrong_parameters_are_refused(graph, parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        graph.start(**parameters)


def test_reordered_names_reach_the_same_joints(enabled):
    sequence = enabled.send(list(reversed(CLOSED)), joint_names=list(reversed(HAND_JOINT_NAMES)))
    enabled.until(lambda: enabled.last.settled and enabled.last.sequence == sequence)
    np.testing.assert_allclose(enabled.last.joint_targets, CLOSED, atol=0.02)


def save_learned_map(path, zero=0.0):
    description = load_hand_description('dash', CONFIGURATION)
    motors = dict(description.motors)
    motors['index_curl'] = replace(motors['index_curl'], zero=zero)
    changed = replace(description, motors=motors)
    closed = closed_form_map(changed)
    model = AffineModel(
        tuple(closed.lower), tuple(closed.upper), (0.5, 0.7, 0.55, 0.5) * 4, (0.05,) * 16
    )
    save_map(
        MapRecord(
            '2026-11-21', 'test', 100, 0.01, 0.01, 0.03, {}, model, model,
            hand_identity(changed),
        ),
        path,
    )  # fmt: skip
    return load_map(path, changed)[0]


def test_a_learned_map_is_used_and_named(graph, tmp_path):
    learned = save_learned_map(tmp_path / 'map.json')
    graph.start(joint_map=str(tmp_path / 'map.json'))
    graph.enable()
    sequence = graph.send()
    graph.until(lambda: graph.last.settled and graph.last.sequence == sequence)
    goal = learned.motors_from_joints(CLOSED)
    graph.until(lambda: np.allclose(graph.last.motor_positions, goal, atol=0.02))
    np.testing.assert_allclose(
        graph.last.joint_positions, learned.joints_from_motors(graph.last.motor_positions)
    )
    graph.until_diagnostic(
        lambda _: graph.value('joint map') == 'learned, 0.0100 rad on held-out pairs, 2026-11-21'
    )


def test_a_map_of_a_changed_hand_ends_the_node_with_the_sentence(graph, tmp_path):
    save_learned_map(tmp_path / 'map.json', zero=0.3)
    with pytest.raises(
        ConfigurationError, match=r'index_curl.zero is 0.3 there and 0.0 here.*calibrate again'
    ):
        graph.start(joint_map=str(tmp_path / 'map.json'))


def test_leased_and_plain_commanders_are_both_heard(enabled):
    leased = enabled.node.create_publisher(HandCommand, '/hand/command', LEASED_COMMAND)
    enabled.until(lambda: leased.get_subscription_count() >= 2)
    leased.publish(
        HandCommand(
            joint_names=list(HAND_JOINT_NAMES), joint_positions=[0.0] * 16, duration=0.1,
            sequence=1234,
        )
    )  # fmt: skip
    enabled.until(lambda: enabled.last.sequence == 1234)
    sequence = enabled.send()
    enabled.until(lambda: enabled.last.sequence == sequence)
