# SPDX-License-Identifier: Apache-2.0
"""Who holds the stop pressed, faults that stay, and the station that presses it."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_arm.emergency_stop import EmergencyStopLatch
from deft_arm.faults import Fault, FaultLatch


@pytest.fixture
def latch():
    return EmergencyStopLatch(require_station=False)


def test_nothing_is_pressed_at_the_start(latch):
    assert latch.problem() == ''
    required = EmergencyStopLatch(require_station=True)
    assert not required.problem()  # nothing to clear: it has not come yet
    assert 'No emergency stop station' in required.missing()
    required.stations(1)
    assert required.problem() == ''


EVENTS = st.lists(st.tuples(st.sampled_from(['a', 'b', 'c']), st.booleans()), max_size=20)


@given(EVENTS)
def test_it_is_released_when_everyone_who_pressed_has_released(events):
    latch = EmergencyStopLatch(require_station=False)
    last = {}
    for source, pressed in events:
        latch.set(source, pressed, 'why')
        last[source] = pressed
    assert bool(latch.problem()) == any(last.values())
    for source, pressed in last.items():
        assert (f'{source} (why)' in latch.problem()) == pressed


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_fewer_stations_than_there_were_are_a_press(counts):
    latch = EmergencyStopLatch(require_station=False)
    most = 0
    for alive in counts:
        latch.stations(alive)
        most = max(most, alive)
        assert latch.lost == most - alive
        assert bool(latch.problem()) == (alive < most)


def test_a_person_may_give_up_a_lost_station(latch):
    latch.stations(2)
    latch.stations(1)
    assert '1 of 2' in latch.problem()
    latch.accept_loss()
    assert latch.problem() == ''
    latch.stations(0)
    assert '1 of 1' in latch.problem()


def test_the_first_fault_stays_until_it_is_cleared():
    latch = FaultLatch()
    first, second = Fault('STALE_STATE', 'one'), Fault('COLLISION', 'two')
    latch.set(first)
    latch.set(second)
    assert latch.fault is first
    latch.clear()
    assert latch.fault is None


def test_a_fault_with_a_code_explains_one_without():
    latch = FaultLatch()
    latch.set(Fault('CONTROLLER_ERROR', 'it stopped'))
    explained = Fault('COLLISION', 'C31', 31)
    latch.set(explained)
    latch.set(Fault('CONTROLLER_ERROR', 'C1', 1))
    assert latch.fault is explained


def test_the_station_presses_and_releases():
    rclpy = pytest.importorskip('rclpy')
    pytest.importorskip('deft_msgs')
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from std_srvs.srv import Trigger

    from deft_arm.nodes.emergency_stop_station import EmergencyStopStation
    from deft_core.nodes.qos import LEASED_LATCHED
    from deft_msgs.msg import EmergencyStop

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    executor = SingleThreadedExecutor(context=context)
    station, listener = EmergencyStopStation(context=context), Node('listener', context=context)
    stops = []
    listener.create_subscription(EmergencyStop, '/emergency_stop', stops.append, LEASED_LATCHED)
    clients = [
        listener.create_client(Trigger, f'/emergency_stop_station/{name}')
        for name in ('press', 'release')
    ]
    for node in (station, listener):
        executor.add_node(node)

    def until(condition):
        end = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.05)

    try:
        for count, (client, pressed) in enumerate(zip(clients, (True, False), strict=True), 1):
            until(client.service_is_ready)
            future = client.call_async(Trigger.Request())
            until(future.done)
            assert future.result().success
            until(lambda count=count: len(stops) == count)
            assert stops[-1].pressed == pressed
            assert stops[-1].source == 'operator station'
    finally:
        for node in (station, listener):
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown(context=context)
