# SPDX-License-Identifier: Apache-2.0
"""Recording of pairs: at rest or not at all, nothing lost, and every silence told."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('deft_msgs')
from diagnostic_msgs.msg import (  # noqa: E402
    DiagnosticArray,
    DiagnosticStatus,
    KeyValue,
)
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import SetBool  # noqa: E402

from deft_core.errors import (  # noqa: E402
    ConfigurationError,
    DeviceError,
    SafetyError,
    StaleDataError,
)
from deft_core.grasp import HAND_JOINT_NAMES  # noqa: E402
from deft_core.nodes.qos import COMMAND, STATE_PUBLISHER  # noqa: E402
from deft_core.nodes.runner import NodeFinished  # noqa: E402
from deft_hand_driver.calibration import recording as recording_module  # noqa: E402
from deft_hand_driver.calibration.learned_map import load_map  # noqa: E402
from deft_hand_driver.calibration.pairs import PairsFile, load_pairs  # noqa: E402
from deft_hand_driver.calibration.poses import calibration_poses  # noqa: E402
from deft_hand_driver.calibration.recording import HandSnapshot, PairsRecording  # noqa: E402
from deft_hand_driver.commands import calibrate_map, hand  # noqa: E402
from deft_hand_driver.description import MOTOR_NAMES  # noqa: E402
from deft_hand_driver.joint_map import closed_form_map  # noqa: E402
from deft_hand_driver.nodes import map_calibration_node  # noqa: E402
from deft_hand_driver.nodes.hand_driver_node import HandDriverNode  # noqa: E402
from deft_hand_driver.nodes.map_calibration_node import MapCalibrationNode  # noqa: E402
from deft_hand_driver.simulated_hand import build_hand_bus, motor_position  # noqa: E402
from deft_msgs.msg import HandCommand, HandState  # noqa: E402
from dynamixel_simulator.server import BusServer  # noqa: E402

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
SHIFT = 0.1  # [rad] by which the observed joints differ from what the closed form says


class Hand:
    """A driver and an observer as the recording sees them; its clock is that of the test."""

    def __init__(self, description, path, poses=3):
        self.closed = closed_form_map(description)
        self.poses = calibration_poses(description, np.random.default_rng(0), 2, 0)[:poses]
        self.file = PairsFile(path, description, 'test')
        self.recording = PairsRecording(description, self.poses, self.file, 7, 0.0)
        self.now = 0.0
        self.sequence = 6
        self.target = np.zeros(16)
        self.say()

    def say(self, **changes):
        values = {
            'stamp': self.now,
            'enabled': True,
            'fault': '',
            'sequence': self.sequence,
            'settled': True,
            'joint_targets': self.closed.joints_from_commands(
                self.closed.motors_from_joints(self.target)
            ),
            'motors': self.closed.motors_from_joints(self.target),
            **changes,
        }
        self.recording.on_state(HandSnapshot(**values), self.now)

    def tick(self, **changes):
        """A tenth of a second in which driver and observer speak."""
        self.now += 0.1
        wanted = self.recording.step(self.now)
        if wanted is not None:
            self.sequence, self.target = wanted.sequence, wanted.joints
        self.say(**changes)
        self.recording.on_observed(self.target + SHIFT, self.now)
        return wanted


@pytest.fixture
def free(description, tmp_path):
    return Hand(description, tmp_path / 'pairs.json')


def test_every_posture_gives_a_pair(free, description):
    wanted = []
    while not free.recording.done:
        wanted.append(free.tick())
        assert free.now < 60.0
    assert [w.sequence for w in wanted if w is not None] == [7, 8, 9]
    pairs = load_pairs(free.file.path, description)
    np.testing.assert_allclose(pairs.joints, [pose.joints + SHIFT for pose in free.poses])
    commands = [free.closed.motors_from_joints(pose.joints) for pose in free.poses]
    np.testing.assert_allclose(pairs.commands, commands, atol=1e-9)
    np.testing.assert_allclose(pairs.motors, commands, atol=1e-9)
    assert free.recording.step(free.now) is None


def test_nobody_looks_at_a_hand_that_moves(free):
    rng = np.random.default_rng(0)
    for _ in range(30):
        free.tick(motors=rng.uniform(0.0, 1.0, 12))
    assert free.recording.recorded == 0
    for _ in range(30):
        free.tick(settled=False)
    assert free.recording.recorded == 0
    for _ in range(30):
        free.tick(sequence=99)
    assert free.recording.recorded == 0


def wait_in_vain(hand):
    while True:
        hand.tick(settled=False)


def test_a_posture_without_rest_is_skipped_and_many_end_it(description, tmp_path):
    hand = Hand(description, tmp_path / 'pairs.json', poses=8)
    with pytest.raises(DeviceError, match='in none of 5 postures'):
        wait_in_vain(hand)
    assert hand.recording.skipped == 5


def test_faults_and_silence_end_it_with_their_reason(free):
    free.tick()
    with pytest.raises(SafetyError, match='stuck tendon'):
        free.say(fault='stuck tendon')
    with pytest.raises(SafetyError, match='/hand/enable'):
        free.say(enabled=False)
    free.now += 6.0
    free.recording.on_observed(np.zeros(16), free.now)
    with pytest.raises(StaleDataError, match='No /hand/state'):
        free.recording.step(free.now)
    free.say()
    free.now += 3.0
    free.say()
    free.now += 3.0
    free.say()
    with pytest.raises(StaleDataError, match='--observed'):
        free.recording.step(free.now)


class Cell(Node):
    """An observer of the joints that hang on simulated servos."""

    def __init__(self, context, description, bus):
        super().__init__('cell', context=context)
        self.closed = closed_form_map(description)
        self.description, self.bus = description, bus
        self.seen = self.create_publisher(JointState, '/tracker', STATE_PUBLISHER)
        self.enable = self.create_client(SetBool, '/hand/enable')
        self.create_timer(0.01, self.publish)

    def publish(self):
        motors = self.description.ordered_motors()
        with self.bus.lock:
            positions = [
                motor_position(motor, servo.motor.position)
                for motor, servo in zip(motors, self.bus.servos, strict=True)
            ]
        joints = self.closed.joints_from_commands(positions) + SHIFT
        names = list(reversed(HAND_JOINT_NAMES))
        self.seen.publish(JointState(name=names, position=joints[::-1].tolist()))


class Graph:
    """Nodes on an executor of their own."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def calibration(self, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        return self.add(MapCalibrationNode(context=self.context, parameter_overrides=overrides))

    def enabled(self, cell):
        future = cell.enable.call_async(SetBool.Request(data=True))
        self.until(future.done)
        return future.result().success

    def until(self, condition, timeout=60.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'the condition was not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        for node in self.nodes:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(monkeypatch):
    monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
    for name, value in (('QUIET_TIME', 0.05), ('_SPEED', 10.0), ('_SHORTEST', 0.05)):
        monkeypatch.setattr(recording_module, name, value)
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture
def servos(description):
    with BusServer(build_hand_bus(description)) as server:
        yield server


def test_the_node_sweeps_through_the_driver_and_records(
    graph, servos, description, tmp_path, capsys
):
    cell = graph.add(Cell(graph.context, description, servos.bus))
    # On a busy machine even the sender of this process may be taken for gone.
    values = {'port': servos.path, 'commander_grace': 50.0, 'reply_margin': 0.5,
              'motor_state_timeout': 20.0, 'bus_watchdog': 2.5}  # fmt: skip
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    graph.add(HandDriverNode(context=graph.context, parameter_overrides=overrides))
    graph.until(cell.enable.service_is_ready)
    graph.until(lambda: graph.enabled(cell))
    path = tmp_path / 'run' / 'pairs.json'
    node = graph.calibration(pairs=str(path), observed='/tracker', levels=2, postures=3, seed=1)
    with pytest.raises(NodeFinished) as finished:
        graph.until(lambda: False)
    assert finished.value.exit_code == 0
    node.close()
    pairs = load_pairs(path, description)
    poses = calibration_poses(description, np.random.default_rng(1), 2, 3)
    assert len(pairs) == len(poses)
    assert pairs.source == '/tracker'
    seen = np.array([cell.closed.joints_from_commands(row) for row in pairs.commands]) + SHIFT
    np.testing.assert_allclose(pairs.joints, seen, atol=0.05)
    assert f'{len(poses)} pairs are in' in capsys.readouterr().out


def test_without_a_driver_the_node_says_how_to_start_one(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(map_calibration_node, '_DISCOVERY', 0.1)
    graph.calibration(pairs=str(tmp_path / 'pairs.json'))
    with pytest.raises(StaleDataError, match='There is no hand driver'):
        graph.until(lambda: False)
    assert not (tmp_path / 'pairs.json').exists()


class OtherDriver(Node):
    """A driver that calibration must not use."""

    def __init__(self, context, hand, joint_map):
        super().__init__('hand_driver', context=context)
        values = [KeyValue(key='joint map', value=joint_map)]
        status = DiagnosticStatus(name='hand_driver: hand', hardware_id=hand, values=values)
        state = HandState(
            state=HandState.ENABLED, motor_names=list(MOTOR_NAMES), motor_positions=[0.0] * 12
        )
        said = self.create_publisher(DiagnosticArray, '/diagnostics', STATE_PUBLISHER)
        states = self.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self.commands = []
        self.create_subscription(HandCommand, '/hand/command', self.commands.append, COMMAND)
        self.create_timer(0.01, lambda: said.publish(DiagnosticArray(status=[status])))
        self.create_timer(0.01, lambda: states.publish(state))


@pytest.mark.parametrize(
    ('hand_name', 'joint_map', 'message'),
    [('dash', 'learned', 'hand_map empty'), ('leap', 'closed form', "moves hand 'leap'")],
)
def test_a_driver_of_another_hand_or_with_a_map_is_refused(
    graph, tmp_path, hand_name, joint_map, message
):
    driver = graph.add(OtherDriver(graph.context, hand_name, joint_map))
    graph.calibration(pairs=str(tmp_path / 'pairs.json'))
    with pytest.raises(ConfigurationError, match=message):
        graph.until(lambda: False)
    assert not driver.commands
    assert not (tmp_path / 'pairs.json').exists()


def run(*words):
    parser = argparse.ArgumentParser()
    hand.add_arguments(parser)
    return hand.main(parser.parse_args(['calibrate', 'map', *words]))


def write_pairs(path, description, count=60):
    """Pairs of a hand whose joints are not quite where its file says."""
    closed = closed_form_map(description)
    poses = calibration_poses(description, np.random.default_rng(0), 3, count)
    lower, upper = description.joint_limits()
    file = PairsFile(path, description, '/tracker')
    for pose in poses:
        commands = closed.motors_from_joints(pose.joints)
        joints = np.clip(0.9 * closed.joints_from_commands(commands) + 0.05, lower, upper)
        file.append(pose.sweep, commands, commands, joints)


def test_the_command_fits_pairs_again_and_writes_the_map(
    description, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
    write_pairs(tmp_path / 'pairs.json', description)
    assert run('--pairs', str(tmp_path / 'pairs.json')) == 0
    shown = capsys.readouterr().out
    assert 'observed by /tracker' in shown
    assert 'closed form' in shown
    assert 'hand_map:=' in shown
    _, record = load_map(tmp_path / 'map.json', description)
    assert record.source == '/tracker'
    assert record.joint_rmse < 0.5 * record.closed_form_joint_rmse


def test_a_recording_that_fails_is_told(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
    monkeypatch.setattr(calibrate_map, '_NODE', 'deft_hand_driver.nodes.nothing')
    with pytest.raises(DeviceError, match='The recording failed'):
        run('--run', str(tmp_path / 'run'))
    assert 'No module named' in capfd.readouterr().err


WAITING_NODE = """
import signal, sys
path = sys.argv[sys.argv.index('-p') + 1].partition(':=')[2]
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
open(path, 'w').write('pairs')
print('recording', flush=True)
signal.sigwait({signal.SIGINT})
print('closed', flush=True)
"""
# A shell that starts the tests in the background ignores Ctrl-C, and they would inherit that.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from deft_bringup.command_line import main
from deft_hand_driver.commands import calibrate_map
calibrate_map._NODE = 'waiting_node'
sys.exit(main(['hand', 'calibrate', 'map', '--run', sys.argv[1]]))
"""


def test_control_c_lets_the_recorder_close_its_file(tmp_path):
    (tmp_path / 'waiting_node.py').write_text(WAITING_NODE)
    paths = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    (tmp_path / 'run').mkdir()
    with subprocess.Popen(
        [sys.executable, '-c', PROGRAM, str(tmp_path / 'run')], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, 'PYTHONPATH': paths, 'DEFT_CONFIG': str(CONFIGURATION)},
    ) as command:  # fmt: skip
        line = ''
        while 'recording' not in line:
            line = command.stdout.readline()
            assert line, command.stderr.read()
        os.killpg(command.pid, signal.SIGINT)
        output, errors = command.communicate(timeout=60.0)
    assert command.returncode == 130
    assert 'closed' in output
    assert '--pairs' in output
    assert 'Ctrl-C' in errors
