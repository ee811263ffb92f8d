# SPDX-License-Identifier: Apache-2.0
"""Everybody may press; only who has pressed releases; a station that is lost has pressed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('deft_msgs')
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, qos_profile_sensor_data  # noqa: E402

from deft_core.nodes.emergency_stop import TOPIC, EmergencyStopMonitor  # noqa: E402
from deft_core.nodes.qos import LATCHED, LEASED_LATCHED  # noqa: E402
from deft_msgs.msg import EmergencyStop  # noqa: E402

STATION = """
import rclpy
from deft_core.nodes.emergency_stop import TOPIC
from deft_core.nodes.qos import LEASED_LATCHED
from deft_msgs.msg import EmergencyStop
rclpy.init()
node = rclpy.create_node('station')
publisher = node.create_publisher(EmergencyStop, TOPIC, LEASED_LATCHED)
rclpy.spin(node)
"""


class Graph:
    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = Node('listener', context=self.context)
        self.executor.add_node(self.node)
        self.changes = 0

    def monitor(self, **options):
        return EmergencyStopMonitor(self.node, self.changed, **options)

    def changed(self):
        self.changes += 1

    def sender(self, profile=LATCHED):
        made = self.node.create_publisher(EmergencyStop, TOPIC, profile)
        self.until(lambda: made.get_subscription_count() > 0)
        return made

    def until(self, condition):
        end = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < end, 'the condition was not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph():
    opened = Graph()
    yield opened
    opened.close()


@pytest.fixture
def open_station():
    """Stations in processes of their own: a lease tells nothing inside of one process."""
    stations = []

    def start():
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(sys.path),
        }
        stations.append(subprocess.Popen([sys.executable, '-c', STATION], env=environment))
        return stations[-1]

    yield start
    for station in stations:
        station.kill()
        station.wait()


def say(sender, pressed, source):
    sender.publish(EmergencyStop(pressed=pressed, source=source, reason='drill'))


def test_only_who_has_pressed_releases(graph):
    monitor = graph.monitor()
    assert monitor.problem() == ''
    sender = graph.sender()
    for source in ('operator', 'panel'):
        say(sender, True, source)
    graph.until(lambda: monitor.problem() == 'Emergency stop by operator (drill), panel (drill).')
    assert graph.changes
    say(sender, False, 'somebody else')
    say(sender, False, 'panel')
    graph.until(lambda: 'panel' not in monitor.problem())
    assert monitor.problem() == 'Emergency stop by operator (drill).'
    say(sender, False, 'operator')
    graph.until(lambda: monitor.problem() == '')


@pytest.mark.parametrize(
    'profile', [QoSProfile(depth=10), qos_profile_sensor_data, LATCHED, LEASED_LATCHED]
)
def test_a_press_is_obeyed_however_it_is_sent(graph, profile):
    monitor = graph.monitor()
    sender = graph.sender(profile)
    say(sender, True, 'panel')
    graph.until(monitor.problem)
    say(sender, False, 'panel')
    graph.until(lambda: not monitor.problem())


def test_who_comes_late_hears_of_every_press(graph):
    senders = [graph.node.create_publisher(EmergencyStop, TOPIC, LATCHED) for _ in range(3)]
    for sender, (source, pressed) in zip(
        senders, (('operator', True), ('panel', True), ('other', False)), strict=True
    ):
        say(sender, pressed, source)
    monitor = graph.monitor()
    graph.until(lambda: monitor.problem() == 'Emergency stop by operator (drill), panel (drill).')


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGSTOP])
def test_a_station_that_dies_or_freezes_has_pressed(graph, open_station, how):
    monitor = graph.monitor(require_station=True)
    assert not monitor.problem()  # nothing to clear: it has not come yet
    assert 'No emergency stop station' in monitor.missing()
    station = open_station()
    graph.until(lambda: monitor.stations == 1)
    assert not monitor.missing()
    station.send_signal(how)
    graph.until(lambda: '1 of 1 emergency stop stations are gone' in monitor.problem())
    open_station()
    graph.until(lambda: monitor.stations == 1)
    assert not monitor.problem()


def test_a_person_may_give_up_a_lost_station(graph, open_station):
    monitor = graph.monitor()
    first, _ = open_station(), open_station()
    graph.until(lambda: monitor.stations == 2)
    first.kill()
    graph.until(lambda: '1 of 2' in monitor.problem())
    monitor.accept_loss()
    assert monitor.problem() == ''
