# SPDX-License-Identifier: Apache-2.0
"""The hand against simulated servos; numbers in names are fault cases."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, InvalidInputError, SafetyError
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.dynamixel.port import BusError
from deft_hand_driver.hand import Hand, HandMode, HandSettings
from deft_hand_driver.joint_map import closed_form_map
from deft_hand_driver.simulated_hand import build_hand_bus
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import XM430_W350, HardwareError
from dynamixel_simulator.packet import Instruction
from dynamixel_simulator.server import BusServer

# A busy machine may hold the servos up; silence is waited for where it is the matter.
SETTINGS = {'reply_margin': 0.25, 'silence_limit': 8.0, 'watchdog': 2.0, 'rate': 20.0}
# Enabling refuses a motor whose answer comes later than the margin; where no motor is silent it
# may be as long as a machine can be busy.
PATIENT = {'reply_margin': 20.0, 'silence_limit': 60.0}
CURL = 2  # place of index_curl, id 3
HALF = 'half_closed'


class Rig:
    """A hand and the servos at the other end."""

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
        self.map = closed_form_map(description)
        self.hand = Hand(self.map, HandSettings(self.server.path, **{**SETTINGS, **settings}))
        self.sequence = 0

    def servo(self, place=CURL):
        return self.bus.servo(self.description.ordered_motors()[place].id)

    def register(self, name, place=CURL):
        with self.bus.lock:
            return self.servo(place).memory[name]

    def written(self, instruction, identifier):
        """Names of the registers that were written, in order."""
        table = self.servo().memory.table
        return [
            table.field_at(p.parameters[0] | p.parameters[1] << 8).name
            for p in self.packets
            if p.instruction == instruction and p.identifier == identifier
        ]

    def cycle(self, count=1):
        for _ in range(count):
            self.hand.cycle(time.monotonic())
        return self.hand

    def until(self, condition, timeout=60.0):
        end = time.monotonic() + timeout
        while not condition(self.cycle()):
            assert time.monotonic() < end, (self.hand.mode, self.hand.fault, self.hand.problem)
        return self.hand

    def connect(self):
        self.until(lambda hand: hand.sample is not None)

    def enable(self):
        self.connect()
        self.hand.enable()
        assert self.hand.mode is HandMode.ENABLED

    def go(self, pose=HALF, duration=0.0):
        self.sequence += 1
        joints = self.description.pose(pose) if isinstance(pose, str) else pose
        self.hand.command(joints, duration, self.sequence, time.monotonic())

    def arrive(self, pose=HALF):
        self.go(pose)
        goal = self.map.motors_from_joints(self.description.pose(pose))
        self.until(lambda hand: np.allclose(hand.sample.positions, goal, atol=0.03))
        return goal

    def close(self):
        self.hand.finish()
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
    goal = rig.arrive()
    np.testing.assert_array_equal(rig.hand.sent, goal)
    assert rig.hand.settled
    assert rig.hand.sequence == 1
    assert np.all(rig.hand.sample.voltages > 4.0)
    assert np.all(rig.hand.sample.temperatures >= 20.0)
    used = {packet.instruction for packet in rig.packets}
    assert (Instruction.FAST_SYNC_READ in used) == fast
    assert (Instruction.SYNC_READ in used) != fast


def test_signs_gears_and_zeros_are_those_of_the_file(make_rig, description):
    motors = dict(description.motors)
    motors['index_curl'] = dataclasses.replace(motors['index_curl'], sign=-1, gear=2.0, zero=0.3)
    rig = make_rig(dataclasses.replace(description, motors=motors))
    rig.enable()
    goal = rig.arrive()
    with rig.bus.lock:
        # The gear doubles what `arrive` tolerates.
        assert rig.servo().motor.position == pytest.approx(0.3 - 2.0 * goal[CURL], abs=0.08)


def test_motors_are_set_up_in_the_order_that_keeps_what_was_written(rig, description):
    written = rig.written(Instruction.WRITE, 3)
    order = ['torque_enable', 'operating_mode', 'position_p_gain', 'goal_current']
    assert [written.index(name) for name in order] == sorted(written.index(n) for n in order)
    assert rig.written(Instruction.SYNC_WRITE, 254) == [
        'goal_current', 'bus_watchdog', 'bus_watchdog', 'goal_position', 'torque_enable',
    ]  # fmt: skip
    assert rig.register('operating_mode') == 5
    assert rig.register('return_delay_time') == 0
    assert rig.register('goal_current') == 210
    assert rig.register('position_p_gain') == description.bus.position_p
    assert rig.register('bus_watchdog') == 100


def test_eeprom_is_not_written_again(rig):
    rig.hand.fail('drill')
    rig.packets.clear()
    rig.hand.clear_fault()
    table = rig.servo().memory.table
    assert not any(
        table[name].eeprom for i in range(1, 13) for name in rig.written(Instruction.WRITE, i)
    )


def test_enabling_does_not_move_a_hand_with_an_old_goal(make_rig):
    rig = make_rig(**PATIENT)
    rig.connect()
    with rig.bus.lock:
        rig.servo().motor.position = 0.8
        rig.servo().write(116, (2048).to_bytes(4, 'little'))
    rig.until(lambda hand: hand.sample.positions[CURL] > 0.7)
    rig.enable()
    rig.cycle(5)
    with rig.bus.lock:
        assert rig.servo().motor.position == pytest.approx(0.8, abs=0.02)
    assert rig.hand.sent[CURL] == pytest.approx(0.8, abs=0.01)
    assert not rig.hand.settled


def test_a_motor_a_turn_off_is_not_enabled(make_rig):
    rig = make_rig(**PATIENT)
    rig.connect()
    with rig.bus.lock:
        rig.servo().motor.position = 2.0 * np.pi
    rig.until(lambda hand: hand.sample.positions[CURL] > 6.0)
    with pytest.raises(SafetyError, match=r'index_curl at 6\.28 rad'):
        rig.hand.enable()
    assert rig.hand.mode is HandMode.DISABLED


def test_a_hand_that_is_off_takes_no_commands(make_rig):
    rig = make_rig()
    with pytest.raises(BusError, match='not connected yet'):
        rig.hand.enable()
    rig.connect()
    with pytest.raises(SafetyError, match='/hand/enable'):
        rig.go()
    assert rig.hand.sent is None


@pytest.mark.parametrize(
    ('joints', 'duration'),
    [
        (np.full(16, np.nan), 1.0),
        (np.zeros(15), 1.0),
        (np.zeros(16), -1.0),
        (np.zeros(16), np.nan),
        (np.zeros(16), 1e9),
    ],
)
def test_3_a_refused_command_leaves_the_running_one(rig, joints, duration):
    rig.go()
    with pytest.raises(InvalidInputError):
        rig.go(joints, duration)
    assert rig.hand.sequence == 1
    rig.until(lambda hand: hand.settled)


def test_5_targets_beyond_the_travel_are_cut_and_counted(rig):
    rig.go(np.full(16, 100.0))
    rig.until(lambda hand: hand.settled)
    _, upper = rig.description.motor_limits()
    assert np.all(rig.hand.sent <= upper)
    np.testing.assert_allclose(rig.hand.sent, np.minimum(rig.map.upper, upper))
    rig.go()
    assert rig.hand.clipped == 1


def test_1_only_a_new_command_ends_an_interruption(rig):
    rig.go(duration=5.0)
    rig.until(lambda hand: hand.sample.positions[CURL] > 0.05)
    rig.hand.interrupt('silence')
    assert rig.hand.interruption == 'silence'
    rig.cycle(20)
    assert rig.hand.mode is HandMode.ENABLED
    assert not rig.hand.settled
    rig.sequence -= 1
    with pytest.raises(SafetyError, match='1 was broken off'):
        rig.go()
    rig.arrive('open')
    assert rig.hand.interruption == ''


@pytest.mark.parametrize(
    'fault', [Fault.SILENCE, Fault.WRONG_CRC, Fault.HALF_PACKET, Fault.WRONG_ID]
)
@pytest.mark.parametrize('firmware', [45, 50], ids=['plain', 'fast'])
def test_6_and_8_one_bad_answer_is_asked_for_again(make_rig, fault, firmware):
    rig = make_rig(firmware=firmware, rate=2.0)  # time to ask for all that a fast reply lost
    rig.enable()
    rig.bus.inject(fault, 3, answers=1)
    rig.cycle()
    assert rig.hand.sample.fresh.all()
    dropped = rig.hand.statistics.dropped
    assert dropped >= 1
    assert rig.hand.statistics.retries >= 1
    rig.cycle(5)
    assert rig.hand.statistics.dropped == dropped
    assert rig.hand.mode is HandMode.ENABLED


def test_6_a_motor_that_stays_silent_keeps_its_last_value_and_costs_only_itself(rig):
    goal = rig.arrive()
    rig.bus.inject(Fault.SILENCE, 3)
    rig.until(lambda hand: hand.sample.fresh.sum() == 11)
    assert not rig.hand.sample.fresh[CURL]
    assert rig.hand.sample.positions[CURL] == pytest.approx(goal[CURL], abs=0.03)
    assert 'index_curl (id 3)' in rig.hand.warnings[0]
    rig.bus.clear(3)
    rig.until(lambda hand: hand.sample.fresh.all())
    assert rig.hand.mode is HandMode.ENABLED


def test_7_a_motor_silent_for_too_long_stops_the_hand(make_rig):
    rig = make_rig(silence_limit=2.0)
    rig.enable()
    rig.go(duration=10.0)
    rig.bus.inject(Fault.SILENCE, 3)
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'index_curl (id 3) silent for more than 2.0 s' in rig.hand.fault
    before = rig.hand.sent
    with pytest.raises(SafetyError, match='/hand/clear_fault'):
        rig.go()
    np.testing.assert_array_equal(rig.cycle(3).sent, before)


def test_7_a_silent_bus_stops_the_hand(make_rig):
    rig = make_rig(silence_limit=1.0, reply_margin=0.02)
    rig.enable()
    for servo in rig.bus.servos:
        rig.bus.inject(Fault.SILENCE, servo.identifier)
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'index_side (id 1), index_forward (id 2)' in rig.hand.fault


def test_8_an_echo_changes_nothing(rig):
    rig.bus.inject(Fault.ECHO)
    rig.cycle(10)
    assert rig.hand.sample.fresh.all()
    assert rig.hand.statistics.dropped == 0
    assert rig.hand.mode is HandMode.ENABLED


def test_8_late_answers_do_not_desynchronise(make_rig):
    rig = make_rig(reply_margin=0.02, silence_limit=20.0)
    rig.enable()
    rig.bus.inject(Fault.DELAY, 3, answers=3, lateness=0.03)
    rig.cycle(5)
    rig.bus.clear()
    rig.until(lambda hand: hand.sample.fresh.all())
    np.testing.assert_allclose(rig.hand.sample.positions, 0.0, atol=0.02)


@pytest.mark.parametrize('with_error', [True, False], ids=['voltage error', 'restart alone'])
def test_9_a_motor_that_restarted_stops_the_hand_and_stays_off(rig, with_error):
    rig.arrive()
    if with_error:
        rig.bus.inject(Fault.BROWN_OUT, 3)
    else:
        with rig.bus.lock:
            rig.servo().reboot()
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'index_curl (id 3)' in rig.hand.fault
    assert 'restarted, as after a dip of the supply' in rig.hand.fault
    rig.bus.clear()
    rig.cycle(10)
    assert rig.register('torque_enable') == 0
    assert rig.register('torque_enable', 0) == 1
    with pytest.raises(SafetyError, match='/hand/clear_fault'):
        rig.hand.enable()
    rig.hand.clear_fault()
    rig.enable()
    assert rig.register('torque_enable') == 1
    assert rig.cycle(3).mode is HandMode.ENABLED


def test_9_a_motor_that_restarted_while_off_is_noticed(make_rig):
    rig = make_rig()
    rig.connect()
    with rig.bus.lock:
        rig.servo().reboot()
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'restarted' in rig.hand.fault
    assert rig.hand.sample.positions[CURL] == 0.0


@pytest.mark.parametrize(
    ('fault', 'text'), [(Fault.OVERLOAD, 'overload'), (Fault.OVER_TEMPERATURE, 'overheating')]
)
def test_10_hardware_errors_stop_the_hand_until_cleared_by_reboot(rig, fault, text):
    rig.bus.inject(fault, 3)
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert f'index_curl (id 3): {text}' in rig.hand.fault
    assert rig.hand.sample.errors[CURL] != 0
    assert rig.register('torque_enable') == 0
    rig.bus.clear()
    rig.packets.clear()
    rig.hand.clear_fault()
    reboots = [p.identifier for p in rig.packets if p.instruction == Instruction.REBOOT]
    assert reboots == [3]
    with rig.bus.lock:
        assert rig.servo().hardware_errors is HardwareError(0)
    rig.cycle(2)
    assert (rig.hand.mode, rig.hand.fault) == (HandMode.DISABLED, '')


def test_11_a_warm_motor_gets_less_current_and_a_hot_one_stops_the_hand(rig):
    with rig.bus.lock:
        rig.servo().motor.temperature = 60.5
    rig.until(lambda hand: any('above 55 degC' in w for w in hand.warnings))
    assert rig.hand.mode is HandMode.ENABLED
    rig.until(lambda _: rig.register('goal_current') < 200)
    assert rig.register('goal_current', 0) == 210
    with rig.bus.lock:
        rig.servo().motor.temperature = 66.0
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'index_curl (id 3) reached 66 degC' in rig.hand.fault


def test_11_a_weak_supply_stops_the_hand(rig):
    with rig.bus.lock:
        rig.servo().motor.voltage = 8.0
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'index_curl (id 3) fell to 8.0 V, at least 9' in rig.hand.fault


def test_12_a_port_that_goes_away_is_opened_again_but_stays_off(rig):
    goal = rig.arrive()
    rig.server.unplug_port()
    rig.until(lambda hand: not hand.connected)
    assert rig.hand.mode is HandMode.FAULT
    assert 'plug the adapter in again' in rig.hand.fault
    with pytest.raises(BusError):
        rig.hand.clear_fault()
    rig.until(lambda hand: 'There is no port' in hand.problem)
    rig.server.plug_port()
    rig.until(lambda hand: hand.connected)
    rig.cycle(3)
    assert rig.hand.mode is HandMode.FAULT
    assert 'plug the adapter in again' in rig.hand.fault
    rig.hand.clear_fault()
    rig.enable()
    np.testing.assert_allclose(rig.cycle().sent, goal, atol=0.05)


def test_12_the_port_is_tried_ever_less_often(make_rig, monkeypatch):
    rig = make_rig()
    rig.server.unplug_port()
    clock = time.monotonic
    moments, skipped = [], 0.0

    def refuse(*_, **__):
        moments.append(time.monotonic())
        raise BusError('There is no port.')

    monkeypatch.setattr('deft_hand_driver.hand.DynamixelBus.open', refuse)
    monkeypatch.setattr(time, 'monotonic', lambda: clock() + skipped)
    while len(moments) < 7:
        rig.cycle()
        skipped += 0.05
    assert np.diff(moments) == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 4.0], abs=0.2)


def test_15_motors_stop_by_themselves_when_nobody_talks(make_rig):
    rig = make_rig(watchdog=0.2)
    rig.enable()
    rig.go(duration=5.0)
    rig.cycle(3)
    end = time.monotonic() + 30.0
    while rig.register('bus_watchdog') != 255:
        assert time.monotonic() < end
    goal = rig.register('goal_position')
    rig.until(lambda hand: hand.mode is HandMode.FAULT)
    assert 'bus watchdog of index_side (id 1)' in rig.hand.fault
    assert rig.register('goal_position') == goal
    rig.hand.clear_fault()
    assert rig.register('bus_watchdog') == 0
    rig.enable()


@pytest.mark.parametrize('safe_state', ['hold', 'limp'])
def test_16_a_stop_holds_what_is_measured_at_once(make_rig, safe_state):
    rig = make_rig(hold_time=0.1, safe_state=safe_state)
    rig.enable()
    rig.go(duration=5.0)
    rig.until(lambda hand: hand.sample.positions[CURL] > 0.05)
    rig.hand.fail('drill')
    assert (rig.hand.mode, rig.hand.fault) == (HandMode.FAULT, 'drill')
    held = rig.hand.sent
    np.testing.assert_array_equal(held, rig.hand.sample.positions)
    assert held[CURL] < 1.0, 'it went on to the end'
    rig.hand.fail('another')
    assert rig.hand.fault == 'drill'
    if safe_state == 'hold':
        rig.until(lambda _: rig.register('goal_current') == 150)
        assert rig.register('torque_enable') == 1
    else:
        rig.until(lambda _: rig.register('torque_enable') == 0)
    np.testing.assert_array_equal(rig.cycle(3).sent, held)


def test_disabling_lets_go_and_a_fault_stays(rig):
    rig.hand.disable()
    assert rig.register('torque_enable') == 0
    assert rig.cycle(3).mode is HandMode.DISABLED
    rig.hand.fail('drill')
    rig.hand.disable()
    assert rig.cycle(3).mode is HandMode.FAULT


@pytest.mark.parametrize('end_state', ['hold', 'limp'])
def test_14_the_end_brings_the_hand_to_rest_and_leaves_it_as_configured(make_rig, end_state):
    rig = make_rig(end_state=end_state)
    rig.enable()
    rig.go(duration=5.0)
    rig.until(lambda hand: hand.sample.positions[CURL] > 0.05)
    rig.hand.finish()
    assert rig.register('torque_enable') == (end_state == 'hold')
    assert rig.register('bus_watchdog') == 0
    if end_state == 'hold':
        assert rig.register('goal_current') == 150
    assert rig.hand.mode is HandMode.FAULT
    with pytest.raises(ConfigurationError, match='end_state'):
        HandSettings('x', end_state='asleep')


def test_missing_motors_are_named_and_the_rest_is_not_touched(make_rig):
    rig = make_rig()
    rig.bus.inject(Fault.UNPLUGGED, 3)
    rig.bus.inject(Fault.UNPLUGGED, 12)
    rig.until(lambda hand: hand.problem)
    assert '2 of 12 motors do not answer at 1000000 bit/s' in rig.hand.problem
    assert 'index_curl (id 3), thumb_curl (id 12)' in rig.hand.problem
    assert rig.hand.mode is HandMode.DISABLED
    assert not any(packet.instruction == Instruction.WRITE for packet in rig.packets)
    rig.bus.clear()
    rig.until(lambda hand: hand.connected)


def test_motors_that_share_an_id_or_are_of_another_model_are_told(make_rig):
    rig = make_rig()
    with rig.bus.lock:
        rig.servo(CURL + 1).memory['id'] = 3
        rig.servo(0).memory['model_number'] = XM430_W350.number
    problem = rig.until(lambda hand: hand.problem).problem
    assert 'the answer of id 3 is garbled: motors may share it' in problem
    assert '1 of 12 motors do not answer at 1000000 bit/s: middle_side (id 4)' in problem
    assert 'index_side (id 1) is a XM430-W350, not a XC330-T288' in problem
