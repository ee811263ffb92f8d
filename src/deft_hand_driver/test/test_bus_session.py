# SPDX-License-Identifier: Apache-2.0
"""The bus side of the driver against simulated servos; numbers in names are fault cases."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, SafetyError
from deft_hand_driver.bus.errors import BusError, NoReplyError, RefusedError
from deft_hand_driver.bus.hand_motors import HandMotors
from deft_hand_driver.bus.session import BusSession
from deft_hand_driver.bus.state import BusSettings, BusState
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.simulated_hand import build_hand_bus
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import XM430_W350, HardwareError
from dynamixel_simulator.packet import Instruction
from dynamixel_simulator.server import BusServer

# A busy machine may hold the servos up; silence is waited for where it is the matter.
SETTINGS = {'reply_margin': 0.25, 'silence_limit': 8.0, 'watchdog': 2.0, 'rate': 20.0}
CURL = 2  # place of index_curl, id 3


class Rig:
    """A session and the servos at the other end."""

    def __init__(self, description, tmp_path, firmware=50, **settings):
        self.description = description
        self.bus = build_hand_bus(description, firmware)
        self.server = BusServer(self.bus, link=tmp_path / 'hand')
        self.packets = []
        handle = self.bus.handle

        def record(packet, baud_rate=None):
            self.packets.append(packet)
            return handle(packet, baud_rate)

        self.bus.handle = record
        self.server.start()
        self.settings = BusSettings(self.server.path, **{**SETTINGS, **settings})
        self.session = BusSession(description, self.settings)
        self.goal = None

    def servo(self, place=CURL):
        return self.bus.servo(self.description.ordered_motors()[place].id)

    def register(self, name, place=CURL):
        with self.bus.lock:
            return self.servo(place).memory[name]

    def step(self, count=1):
        for _ in range(count):
            self.session.step(self.goal, time.monotonic())
        return self.session.report()

    def until(self, condition, timeout=20.0):
        end = time.monotonic() + timeout
        while not condition(report := self.step()):
            assert time.monotonic() < end, report
            time.sleep(0.002)
        return report

    def enable(self):
        self.until(lambda report: report.sample is not None)
        self.session.enable()
        assert self.session.state is BusState.ACTIVE

    def close(self):
        self.session.finish()
        self.server.stop()


@pytest.fixture
def make_rig(description, tmp_path):
    rigs = []

    def make(described=description, **settings):
        rigs.append(Rig(described, tmp_path, **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig):
    rig = make_rig()
    rig.enable()
    return rig


@pytest.mark.parametrize('hand', ['dash', 'leap'])
@pytest.mark.parametrize(
    ('firmware', 'fast'), [(45, False), (50, True), (53, True)], ids=['old', 'fast', 'new block']
)
def test_moves_and_reports_either_hand(make_rig, hand, firmware, fast):
    rig = make_rig(load_hand_description(hand), firmware=firmware)
    rig.enable()
    lower, upper = rig.description.motor_limits()
    rig.goal = np.clip(np.linspace(0.05, 0.2, len(lower)), lower, upper)
    report = rig.until(lambda r: np.allclose(r.sample.positions, rig.goal, atol=0.02))
    np.testing.assert_array_equal(report.sent, rig.goal)
    assert np.all(report.sample.voltages > 4.0)
    assert np.all(report.sample.temperatures >= 20.0)
    assert report.statistics.dropped == 0
    used = {packet.instruction for packet in rig.packets}
    assert (Instruction.FAST_SYNC_READ in used) == fast
    assert (Instruction.SYNC_READ in used) != fast


def test_signs_gears_and_zeros_are_those_of_the_file(make_rig, description):
    motors = dict(description.motors)
    motors['index_curl'] = dataclasses.replace(motors['index_curl'], sign=-1, gear=2.0, zero=0.3)
    rig = make_rig(dataclasses.replace(description, motors=motors))
    rig.enable()
    rig.goal = np.zeros(12)
    rig.goal[CURL] = 0.25
    servo = rig.servo()
    rig.until(
        lambda r: (
            abs(r.sample.positions[CURL] - 0.25) < 0.02
            and abs(servo.motor.position - (0.3 - 2.0 * 0.25)) < 0.03
        )
    )


def test_a_motor_that_restarted_while_off_is_noticed(make_rig):
    rig = make_rig()
    rig.until(lambda report: report.sample is not None)
    with rig.bus.lock:
        rig.servo().reboot()
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'restarted' in report.fault
    assert report.sample.positions[CURL] == 0.0


def test_motors_are_set_up_in_the_order_that_keeps_what_was_written(make_rig, description):
    rig = make_rig()
    rig.enable()
    table = rig.servo().memory.table
    written = [
        table.field_at(p.parameters[0] | p.parameters[1] << 8).name
        for p in rig.packets
        if p.instruction == Instruction.WRITE and p.identifier == 3
    ]
    order = ['torque_enable', 'operating_mode', 'position_p_gain', 'goal_current']
    assert [written.index(name) for name in order] == sorted(written.index(n) for n in order)
    together = [
        table.field_at(p.parameters[0] | p.parameters[1] << 8).name
        for p in rig.packets
        if p.instruction == Instruction.SYNC_WRITE
    ]
    assert together == [
        'goal_current', 'bus_watchdog', 'bus_watchdog', 'goal_position', 'torque_enable',
    ]  # fmt: skip
    assert rig.register('operating_mode') == 5
    assert rig.register('return_delay_time') == 0
    assert rig.register('goal_current') == 280
    assert rig.register('position_p_gain') == description.bus.position_p
    assert rig.register('bus_watchdog') == 100


def test_eeprom_is_not_written_again(make_rig):
    rig = make_rig()
    rig.until(lambda report: report.state is BusState.IDLE)
    rig.packets.clear()
    rig.session._motors.configure()
    addresses = {
        p.parameters[0] | p.parameters[1] << 8
        for p in rig.packets
        if p.instruction == Instruction.WRITE
    }
    assert min(addresses) >= 64


def test_enabling_does_not_move_a_hand_with_an_old_goal(make_rig):
    rig = make_rig()
    rig.until(lambda report: report.state is BusState.IDLE)
    with rig.bus.lock:
        rig.servo().motor.position = 0.8
        rig.servo().write(116, (2048).to_bytes(4, 'little'))
    rig.enable()
    rig.step(5)
    with rig.bus.lock:
        assert rig.servo().motor.position == pytest.approx(0.8, abs=0.02)
    assert rig.session.report().sent[CURL] == pytest.approx(0.8, abs=0.01)


def test_a_motor_a_turn_off_is_not_enabled(make_rig):
    rig = make_rig()
    rig.until(lambda report: report.state is BusState.IDLE)
    with rig.bus.lock:
        rig.servo().motor.position = 2.0 * np.pi
    rig.step(2)
    with pytest.raises(SafetyError, match=r'index_curl at 6\.28 rad'):
        rig.session.enable()
    assert rig.session.state is BusState.IDLE


def test_goals_beyond_the_hard_limits_are_cut(rig):
    rig.goal = np.full(12, 50.0)
    report = rig.step(2)
    _, upper = rig.description.motor_limits()
    np.testing.assert_array_equal(report.sent, upper)


@pytest.mark.parametrize(
    'fault', [Fault.SILENCE, Fault.WRONG_CRC, Fault.HALF_PACKET, Fault.WRONG_ID]
)
@pytest.mark.parametrize('firmware', [45, 50], ids=['plain', 'fast'])
def test_6_and_8_one_bad_answer_is_asked_for_again(make_rig, fault, firmware):
    rig = make_rig(firmware=firmware, rate=2.0)  # time to ask for all that a fast reply lost
    rig.enable()
    rig.bus.inject(fault, 3, answers=1)
    report = rig.step()
    assert report.sample.fresh.all()
    assert report.statistics.dropped >= 1
    assert report.statistics.retries >= 1
    dropped = report.statistics.dropped
    report = rig.step(5)
    assert report.statistics.dropped == dropped
    assert report.state is BusState.ACTIVE


def test_6_a_motor_that_stays_silent_keeps_its_last_value_and_costs_only_itself(rig):
    rig.goal = np.full(12, 0.05)
    rig.until(lambda r: np.allclose(r.sample.positions, 0.05, atol=0.02))
    rig.bus.inject(Fault.SILENCE, 3)
    report = rig.until(lambda r: r.sample.fresh.sum() == 11)
    assert not report.sample.fresh[CURL]
    assert report.sample.positions[CURL] == pytest.approx(0.05, abs=0.02)
    assert 'index_curl (id 3)' in report.warnings[0]
    rig.bus.clear(3)
    report = rig.until(lambda r: r.sample.fresh.all())
    assert report.state is BusState.ACTIVE


def test_7_a_motor_silent_for_too_long_stops_the_hand(make_rig):
    rig = make_rig(silence_limit=2.0)
    rig.enable()
    rig.goal = np.full(12, 0.05)
    rig.step(3)
    rig.bus.inject(Fault.SILENCE, 3)
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'index_curl (id 3) silent for more than 2.0 s' in report.fault
    before = report.sent
    rig.goal = np.full(12, 0.4)
    np.testing.assert_array_equal(rig.step(3).sent, before)


def test_8_an_echo_changes_nothing(rig):
    rig.bus.inject(Fault.ECHO)
    report = rig.step(10)
    assert report.sample.fresh.all()
    assert report.statistics.dropped == 0
    assert report.state is BusState.ACTIVE


def test_8_late_answers_do_not_desynchronise(make_rig):
    rig = make_rig(reply_margin=0.02, silence_limit=5.0)
    rig.enable()
    rig.bus.inject(Fault.DELAY, 3, answers=3, lateness=0.03)
    rig.step(5)
    rig.bus.clear()
    report = rig.until(lambda r: r.sample.fresh.all())
    np.testing.assert_allclose(report.sample.positions, 0.0, atol=0.02)
    assert rig.step(3).sample.fresh.all()


@pytest.mark.parametrize('with_error', [True, False], ids=['voltage error', 'restart alone'])
def test_9_a_motor_that_restarted_stops_the_hand_and_stays_off(rig, with_error):
    rig.goal = np.full(12, 0.3)
    rig.until(lambda r: np.allclose(r.sample.positions, 0.3, atol=0.02))
    if with_error:
        rig.bus.inject(Fault.BROWN_OUT, 3)
    else:
        with rig.bus.lock:
            rig.servo().reboot()
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'index_curl (id 3)' in report.fault
    assert 'restarted, as after a dip of the supply' in report.fault
    rig.bus.clear()
    rig.step(10)
    with rig.bus.lock:
        assert not rig.servo().torque_enabled
        assert rig.servo(0).torque_enabled
    with pytest.raises(SafetyError, match='clear it first'):
        rig.session.enable()
    rig.session.clear()
    rig.goal = None
    rig.enable()
    with rig.bus.lock:
        assert rig.servo().torque_enabled
    assert rig.step(3).state is BusState.ACTIVE


@pytest.mark.parametrize(
    ('fault', 'text'), [(Fault.OVERLOAD, 'overload'), (Fault.OVER_TEMPERATURE, 'overheating')]
)
def test_10_hardware_errors_stop_the_hand_until_cleared_by_reboot(rig, fault, text):
    rig.bus.inject(fault, 3)
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert f'index_curl (id 3): {text}' in report.fault
    assert report.sample.errors[CURL] != 0
    with rig.bus.lock:
        assert not rig.servo().torque_enabled
    rig.bus.clear()
    rig.packets.clear()
    rig.session.clear()
    reboots = [p.identifier for p in rig.packets if p.instruction == Instruction.REBOOT]
    assert reboots == [3]
    with rig.bus.lock:
        assert rig.servo().hardware_errors is HardwareError(0)
    report = rig.step(2)
    assert (report.state, report.fault) == (BusState.IDLE, '')


def test_11_a_warm_motor_gets_less_current_and_a_hot_one_stops_the_hand(rig):
    with rig.bus.lock:
        rig.servo().motor.temperature = 60.5
    report = rig.until(lambda r: any('above 55 degC' in w for w in r.warnings))
    assert report.state is BusState.ACTIVE
    rig.until(lambda _: rig.register('goal_current') < 200)
    assert rig.register('goal_current', 0) == 280
    with rig.bus.lock:
        rig.servo().motor.temperature = 66.0
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'index_curl (id 3) reached 66 degC' in report.fault


def test_11_a_weak_supply_stops_the_hand(rig):
    with rig.bus.lock:
        rig.servo().motor.voltage = 8.0
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'index_curl (id 3) fell to 8.0 V, at least 9' in report.fault


def test_12_a_port_that_goes_away_is_opened_again_but_stays_off(rig):
    rig.goal = np.full(12, 0.3)
    rig.until(lambda r: np.allclose(r.sample.positions, 0.3, atol=0.02))
    rig.server.unplug_port()
    report = rig.until(lambda r: r.state is BusState.OFFLINE)
    assert 'plug the adapter in again' in report.fault
    with pytest.raises(BusError):
        rig.session.enable()
    begin, count = time.monotonic(), 0
    while time.monotonic() - begin < 0.2:
        rig.step()
        count += 1
        time.sleep(0.01)
    assert rig.session.state is BusState.OFFLINE
    rig.server.plug_port()
    report = rig.until(lambda r: r.state is BusState.SAFE)
    rig.step(3)
    assert 'plug the adapter in again' in report.fault
    assert rig.session.state is BusState.SAFE
    rig.session.clear()
    rig.goal = None
    rig.enable()
    np.testing.assert_allclose(rig.step().sent, 0.3, atol=0.05)


def test_12_the_port_is_tried_ever_less_often(make_rig, tmp_path):
    rig = make_rig()
    rig.server.unplug_port()
    delays = []
    for _ in range(7):
        rig.session._retry_at = 0.0
        rig.step()
        delays.append(rig.session._retry_at - time.monotonic())
    assert delays == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0], abs=0.1)
    assert 'There is no port' in rig.session.report().fault


def test_15_motors_stop_by_themselves_when_nobody_talks(make_rig):
    rig = make_rig(watchdog=0.2)
    rig.enable()
    rig.goal = np.full(12, 0.05)
    rig.step()
    end = time.monotonic() + 10.0
    while rig.register('bus_watchdog') != 255:
        assert time.monotonic() < end
        time.sleep(0.01)
    goal = rig.register('goal_position')
    rig.goal = np.full(12, 0.4)
    report = rig.until(lambda r: r.state is BusState.SAFE)
    assert 'bus watchdog of index_side (id 1)' in report.fault
    assert rig.register('goal_position') == goal
    rig.session.clear()
    assert rig.register('bus_watchdog') == 0
    rig.goal = None
    rig.enable()
    assert rig.register('bus_watchdog') == 10


def test_a_held_up_process_stops_the_hand(make_rig):
    rig = make_rig(silence_limit=0.3)
    rig.enable()
    stamp = time.monotonic()
    rig.session.step(np.zeros(12), stamp)
    assert rig.session.state is BusState.ACTIVE
    while rig.session.state is BusState.ACTIVE:
        assert time.monotonic() - stamp < 10.0
        rig.session.step(np.full(12, 0.1), stamp)
    assert 'No setpoint' in rig.session.report().fault


@pytest.mark.parametrize('safe_state', ['hold', 'limp'])
def test_16_a_stop_holds_what_is_measured_at_once(make_rig, safe_state):
    rig = make_rig(hold_time=0.1, safe_state=safe_state)
    rig.enable()
    rig.goal = np.full(12, 0.4)
    rig.until(lambda r: 0.05 < r.sample.positions[CURL] < 0.35)
    rig.session.stop('drill')
    report = rig.session.report()
    assert (report.state, report.fault) == (BusState.SAFE, 'drill')
    np.testing.assert_array_equal(report.sent, report.sample.positions)
    rig.session.stop('another')
    assert rig.session.report().fault == 'drill'
    if safe_state == 'hold':
        rig.until(lambda _: rig.register('goal_current') == 150)
        assert rig.register('torque_enable') == 1
    else:
        rig.until(lambda _: rig.register('torque_enable') == 0)
    np.testing.assert_array_equal(rig.step(3).sent, report.sent)


def test_disabling_lets_go_and_a_fault_stays(rig):
    rig.session.disable()
    assert rig.register('torque_enable') == 0
    assert rig.step(3).state is BusState.IDLE
    rig.session.stop('drill')
    rig.session.disable()
    assert rig.step(3).state is BusState.SAFE


@pytest.mark.parametrize('end_state', ['hold', 'limp'])
def test_14_the_end_leaves_the_motors_as_configured(make_rig, end_state):
    rig = make_rig(end_state=end_state)
    rig.enable()
    rig.step(3)
    rig.session.finish()
    assert rig.register('torque_enable') == (end_state == 'hold')
    assert rig.register('bus_watchdog') == 0
    if end_state == 'hold':
        assert rig.register('goal_current') == 150
    with pytest.raises(ConfigurationError, match='end_state'):
        BusSettings('x', end_state='asleep')


def test_missing_motors_are_named_and_the_rest_is_not_touched(make_rig):
    rig = make_rig()
    rig.bus.inject(Fault.UNPLUGGED, 3)
    rig.bus.inject(Fault.UNPLUGGED, 12)
    report = rig.until(lambda r: r.fault != '')
    assert '2 of 12 motors do not answer at 1000000 bit/s' in report.fault
    assert 'index_curl (id 3), thumb_curl (id 12)' in report.fault
    assert report.state is BusState.OFFLINE
    rig.bus.clear()
    rig.until(lambda r: r.state is BusState.IDLE)


def test_motors_that_share_an_id_are_told(make_rig):
    rig = make_rig()
    with rig.bus.lock:
        rig.servo(CURL + 1).memory['id'] = 3
    report = rig.until(lambda r: r.fault != '')
    assert 'the answer of id 3 is garbled: motors may share it' in report.fault
    assert '1 of 12 motors do not answer at 1000000 bit/s: middle_side (id 4)' in report.fault


def test_a_motor_of_another_model_is_refused(make_rig):
    rig = make_rig()
    with rig.bus.lock:
        rig.servo().memory['model_number'] = XM430_W350.number
    report = rig.until(lambda r: r.fault != '')
    assert 'index_curl (id 3) is a XM430-W350, not a XC330-T288' in report.fault


def test_a_refused_register_is_told(make_rig):
    rig = make_rig()
    rig.until(lambda report: report.state is BusState.IDLE)
    motors = rig.session._motors
    assert isinstance(motors, HandMotors)
    with pytest.raises(RefusedError, match='Motor 3 refused writing 127 to torque_enable'):
        motors.client.write(3, rig.servo().memory.table, 'torque_enable', 127)
    rig.bus.inject(Fault.SILENCE, 3)
    with pytest.raises(NoReplyError):
        motors.client.read(3, rig.servo().memory.table, 'torque_enable')
