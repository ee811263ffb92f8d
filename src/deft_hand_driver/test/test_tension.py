# SPDX-License-Identifier: Apache-2.0
"""Slack, stops and limits found by current, at simulated servos with tendons."""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, DeviceError, InvalidInputError, SafetyError
from deft_hand_driver.calibration import tension_routine
from deft_hand_driver.calibration.tension import measured_motor
from deft_hand_driver.calibration.tension_routine import TensionRoutine, TensionSettings
from deft_hand_driver.commands import calibrate_tension, hand
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.dynamixel.bus import DynamixelBus
from deft_hand_driver.dynamixel.hand_motors import HandMotors
from deft_hand_driver.dynamixel.port import BusError
from deft_hand_driver.simulated_hand import (
    HandMounting,
    MountingErrors,
    attach_tendons,
    build_hand_bus,
)
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import XC330_T288
from dynamixel_simulator.server import BusServer

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'
CURL, FORWARD, SIDE = 'index_curl', 'index_forward', 'index_side'


class Bench:
    """A hand with tendons on a bus whose time passes while the routine sleeps."""

    def __init__(self, description, seed=5):
        self.description = description
        self.bus = build_hand_bus(description)
        self.mounting = HandMounting.draw(
            description, MountingErrors(zero=0.2), np.random.default_rng(seed)
        )
        attach_tendons(self.bus, description, self.mounting)
        self.server = BusServer(self.bus, real_time=False).start()
        self.now = 0.0
        self.events = {}
        self.client = None

    def sleep(self, duration):
        with self.bus.lock:
            self.bus.advance(duration)
        self.now += duration
        for at in sorted(self.events):
            if self.now >= at:
                self.events.pop(at)()

    def routine(self, description=None, **changes):
        description = description or self.description
        self.client = DynamixelBus.open(self.server.path, description.bus.baud_rate, 0.25)
        motors = HandMotors(self.client, description)
        motors.identify()
        motors.configure()
        return TensionRoutine(
            motors, description, TensionSettings(speed=0.6, **changes),
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip

    @property
    def torque(self):
        return [servo.torque_enabled for servo in self.bus.servos]

    def close(self):
        if self.client is not None:
            self.client.close()
        self.server.stop()


@pytest.fixture
def bench(description):
    bench = Bench(description)
    yield bench
    bench.close()


@pytest.mark.parametrize('name', [SIDE, FORWARD, CURL])
def test_the_routine_finds_what_the_hand_drew(bench, description, name):
    routine = bench.routine()
    place = description.motor_names.index(name)
    with routine.running():
        found = routine.measure(name)
        assert bench.torque == [False] * 12
    assert found.taut == pytest.approx(bench.mounting.zeros[place], abs=0.05)
    limits = measured_motor(description.motors[name], found)
    assert limits.zero == pytest.approx(found.taut, abs=1e-3)
    # The finger was bent to its stop, whatever its moment arms are.
    arms = description.moment_arms() * bench.mounting.arm_factors
    upper = description.joint_limits()[1]
    joints = {SIDE: [0], FORWARD: [1], CURL: [2, 3]}[name]
    end = float(arms[joints] @ upper[joints]) / description.tendons.spool_radius
    assert limits.upper == pytest.approx(end + 0.1, abs=0.1)


def test_signs_and_gears_are_respected(description):
    motors = {**description.motors, CURL: replace(description.motors[CURL], sign=-1, zero=0.3)}
    bench = Bench(replace(description, motors=motors))
    try:
        routine = bench.routine()
        with routine.running():
            measured = measured_motor(motors[CURL], routine.measure(CURL))
        assert measured.zero == pytest.approx(0.3 - bench.mounting.zeros[2], abs=0.05)
    finally:
        bench.close()


def test_a_wrong_sign_is_told(bench, description):
    motors = {**description.motors, CURL: replace(description.motors[CURL], sign=-1)}
    routine = bench.routine(replace(description, motors=motors))
    with (
        pytest.raises(DeviceError, match=r'sign of the motor right|was not slack'),
        routine.running(),
    ):
        routine.measure(CURL)
    assert bench.torque == [False] * 12


def test_a_blocked_motor_is_told(bench):
    bench.bus.inject(Fault.STUCK, 3)
    routine = bench.routine()
    with pytest.raises(DeviceError, match='blocks it'), routine.running():
        routine.measure(CURL)
    assert bench.torque == [False] * 12


FAULTS = {
    'overload': (lambda b: b.bus.inject(Fault.OVERLOAD, 3), SafetyError, 'overload'),
    'another motor overheats': (
        lambda b: b.bus.inject(Fault.OVER_TEMPERATURE, 5), SafetyError, 'middle_forward.*overheat'
    ),
    'silence': (lambda b: b.bus.inject(Fault.UNPLUGGED, 3), DeviceError, 'index_curl'),
    'brown-out': (lambda b: b.bus.inject(Fault.BROWN_OUT, None), DeviceError, None),
    'held up': (lambda b: b.bus.advance(3.0), SafetyError, 'held up for 2.5 s'),
    'torque lost': (
        lambda b: b.bus.servo(3).write_field('torque_enable', 0), SafetyError, 'lost torque'
    ),
}  # fmt: skip


@pytest.mark.parametrize(('fault', 'error', 'message'), FAULTS.values(), ids=FAULTS)
def test_a_fault_on_the_way_ends_with_torque_off(bench, fault, error, message):
    routine = bench.routine()
    bench.events[1.0] = lambda: fault(bench)
    if error is DeviceError:
        error = (SafetyError, DeviceError)
    with pytest.raises(error, match=message), routine.running():
        routine.measure(CURL)
    assert bench.now >= 1.0
    assert bench.torque == [False] * 12


def test_control_c_ends_with_torque_off_and_a_second_one_waits_for_it(bench, monkeypatch):
    routine = bench.routine()
    switch_off = HandMotors.set_torque

    def impatient(self, *, on):
        os.kill(os.getpid(), signal.SIGINT)
        switch_off(self, on=on)

    def interrupt():
        assert any(bench.torque)
        raise KeyboardInterrupt

    bench.events[1.0] = lambda: monkeypatch.setattr(HandMotors, 'set_torque', impatient)
    bench.events[1.1] = interrupt
    with pytest.raises(KeyboardInterrupt), routine.running():
        routine.measure(CURL)
    assert bench.torque == [False] * 12
    assert bench.bus.servo(3).read_field('bus_watchdog') == 0


def test_a_lost_port_says_what_is_left_to_do(bench):
    routine = bench.routine()
    bench.events[1.0] = bench.server.unplug_port
    with pytest.raises(BusError, match='Switch the motor supply off'), routine.running():
        routine.measure(CURL)


def test_silent_motors_are_not_taken_for_switched_off(bench, monkeypatch):
    monkeypatch.setattr(tension_routine, '_SILENCE_LIMIT', 0.02)
    routine = bench.routine()
    bench.events[1.0] = lambda: bench.bus.inject(Fault.SILENCE, None)
    with pytest.raises(BusError, match='Torque could not be seen to be off'), routine.running():
        routine.measure(CURL)
    assert bench.torque == [False] * 12  # they obeyed; only their answers were lost


def test_the_motors_stop_by_themselves_where_nobody_feeds_the_watchdog(bench):
    routine = bench.routine()
    with routine.running():
        assert bench.client.read(3, XC330_T288.control_table(50), 'bus_watchdog') == 125
        with bench.bus.lock:
            bench.bus.servo(3).write_field('torque_enable', 1)
            bench.bus.advance(3.0)
        assert bench.bus.servo(3).read_field('bus_watchdog') == 255


def test_what_is_not_gentle_or_has_no_tendons_is_refused(bench):
    for changes, message in (
        ({'speed': 5.0}, 'speed'), ({'speed': float('nan')}, 'speed'), ({'loosen': 20.0}, 'loosen')
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=message):
            TensionSettings(**changes)
    with pytest.raises(InvalidInputError, match=r'at most 0\.21 A'):
        bench.routine(current=0.5)
    leap = load_hand_description('leap', CONFIGURATION)
    with pytest.raises(ConfigurationError, match='no tendons'):
        TensionRoutine(None, leap, TensionSettings())
    with pytest.raises(ConfigurationError, match='no tendons'):
        attach_tendons(build_hand_bus(leap), leap, HandMounting.nominal(leap))


def run(*words, port):
    parser = argparse.ArgumentParser()
    hand.add_arguments(parser)
    return hand.main(parser.parse_args(['calibrate', 'tension', '--port', port, *words]))


def test_the_command_shows_and_writes(bench, hand_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DEFT_CONFIG', str(tmp_path))
    monkeypatch.setattr(
        calibrate_tension,
        'TensionRoutine',
        partial(TensionRoutine, clock=lambda: bench.now, sleep=bench.sleep),
    )
    words = ['--motors', CURL, '--speed', '0.6']
    before = hand_file.read_text()
    assert run(*words, port=bench.server.path) == 0
    shown = capsys.readouterr().out
    assert '1 of 1: index_curl' in shown
    assert '--write puts these in' in shown
    assert hand_file.read_text() == before
    assert run(*words, '--write', port=bench.server.path) == 0
    shown = capsys.readouterr().out
    assert 'dash.measured.json' in shown
    assert hand_file.read_text() == before
    motor = load_hand_description('dash', tmp_path).motors[CURL]
    assert motor.zero == pytest.approx(bench.mounting.zeros[2], abs=0.05)
    with pytest.raises(InvalidInputError, match="did you mean 'index_curl'"):
        run('--motors', 'index_curls', port=bench.server.path)


@pytest.fixture
def servos(tmp_path):
    """Servos with tendons in a process of their own."""
    link = tmp_path / 'hand'
    process = subprocess.Popen(
        [
            sys.executable, '-m', 'deft_hand_driver.simulated_hand', '--hand', 'dash', '--link',
            str(link), '--tendons', '3',
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout.readline().startswith('port')
    yield str(link)
    process.kill()
    process.communicate()


def environment():
    paths = [path for path in sys.path if path] + [os.environ.get('PYTHONPATH', '')]
    return {
        **os.environ,
        'DEFT_CONFIG': str(CONFIGURATION),
        'PYTHONPATH': os.pathsep.join(paths),
        'PYTHONUNBUFFERED': '1',
    }


# A shell that starts the tests in the background ignores Ctrl-C, and they would inherit that.
COMMAND = (
    'import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); '
    'from deft_bringup.command_line import main; '
    "sys.exit(main(['hand', 'calibrate', 'tension', '--port', sys.argv[1]]))"
)


def test_control_c_at_the_terminal_leaves_no_motor_pulling(servos):
    command = subprocess.Popen(
        [sys.executable, '-c', COMMAND, servos], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = ''
        while '1 of 12' not in line:
            ready, _, _ = select.select([command.stdout], [], [], 60.0)
            assert ready
            line = command.stdout.readline()
            assert line, command.stderr.read()
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60.0)
    finally:
        if command.poll() is None:
            command.kill()
            command.communicate()
    assert command.returncode == 130
    assert 'Ctrl-C' in errors
    table = XC330_T288.control_table(50)
    with DynamixelBus.open(servos, 1_000_000, 0.5) as client:
        for motor in range(1, 13):
            assert client.read(motor, table, 'torque_enable') == 0
            assert client.read(motor, table, 'bus_watchdog') == 0
