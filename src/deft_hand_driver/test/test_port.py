# SPDX-License-Identifier: Apache-2.0
"""What is wrong in the SDK, and that the port puts it right; replies here are scripted."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
import serial
from dynamixel_sdk import COMM_SUCCESS
from dynamixel_sdk.protocol2_packet_handler import Protocol2PacketHandler

from deft_hand_driver.dynamixel.bus import DynamixelBus
from deft_hand_driver.dynamixel.port import (
    NoReplyError,
    PortError,
    RefusedError,
    SerialPort,
)
from dynamixel_simulator.motor_models import XC330_T288
from dynamixel_simulator.packet import Instruction, PacketReader, build_packet, build_status
from dynamixel_simulator.server import PseudoTerminal

TABLE = XC330_T288.control_table(50)
MARGIN = 0.3  # [s] enough for a busy machine; only tests of silence wait for it
NASTY = bytes((0xFF, 0xFF, 0xFD, 0x00))
SHORTENED = b'\xff\xff\xfd\xff\xfd\xfd'  # the SDK takes a byte too much out of it


class Line:
    """The far end of a port: keeps every request and answers it with the next scripted bytes."""

    def __init__(self):
        self.terminal = PseudoTerminal()
        self.path = self.terminal.path
        self.requests = []
        self.received = b''
        self._answers = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, *replies):
        self._answers += replies

    def _run(self):
        reader = PacketReader()
        while not self._stopping.is_set():
            data = self.terminal.read()
            if not data:
                self._stopping.wait(0.001)
                continue
            self.received += data
            for packet in reader.feed(data):
                self.requests.append(packet)
                if self._answers:
                    self.terminal.write(self._answers.pop(0))

    def close(self):
        self._stopping.set()
        self._thread.join()
        self.terminal.close()  # a second time does nothing


@pytest.fixture
def line():
    line = Line()
    yield line
    line.close()


@pytest.fixture
def bus(line):
    with DynamixelBus.open(line.path, 57600, MARGIN) as bus:
        yield bus


def until(condition):
    end = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_instructions_are_stuffed(line, bus):
    """Write 4 bytes FF FF FD 00 to address 116: the SDK alone sends them as they are."""
    line.answer(build_status(1))
    bus.write_bytes(1, 116, NASTY, 'a goal')
    until(lambda: line.requests)
    assert line.received == build_packet(1, Instruction.WRITE, b'\x74\x00' + NASTY)
    assert line.received[10:15] == b'\xff\xff\xfd\xfd\x00'


@pytest.mark.parametrize('data', [NASTY, b'\xff\xff\xfd\xfd', NASTY + NASTY, SHORTENED])
def test_replies_are_unstuffed(line, bus, data):
    line.answer(build_status(1, 0, data))
    assert bus.read_bytes(1, 126, len(data)) == data


def test_replies_that_came_before_the_request_are_forgotten(line, bus):
    line.terminal.write(build_status(1, 0, b'\x01'))
    line.answer(build_status(1, 0, b'\x02'))
    assert bus.read(1, TABLE, 'torque_enable') == 2


def test_a_late_reply_of_another_size_is_not_taken(line, bus):
    """The port cannot know what came late; a reply that does not fit counts as broken."""
    line.answer(build_status(1, 0, b'\x01\x02') + build_status(1, 0, b'\x07'))
    line.answer(build_status(1, 0, b'\x01\x02'))
    with pytest.raises(NoReplyError, match='broken reply'):
        bus.read(1, TABLE, 'torque_enable')


def test_a_reply_too_short_is_no_reply(line, bus):
    """The SDK takes the checksum for the data."""
    line.answer(build_status(1), build_status(1, 0, b'\x09'))
    assert bus.read(1, TABLE, 'torque_enable') == 9
    assert bus.statistics.retries == 1


@pytest.mark.parametrize(
    'garbled',
    [
        build_status(1, 0, b'\x05')[:-1] + b'\x00',  # wrong checksum
        build_status(1, 0, b'\x05')[:7],  # cut short
        build_status(2, 0, b'\x05'),  # another motor
        b'\xff\xff\xfd' * 5,
        b'',
    ],
    ids=['crc', 'half', 'id', 'noise', 'nothing'],
)
def test_a_garbled_reply_costs_one_retry(line, bus, garbled):
    line.answer(garbled, build_status(1, 0, b'\x06'))
    assert bus.read(1, TABLE, 'torque_enable') == 6
    assert bus.statistics.retries == 1
    assert bus.statistics.dropped == 1


def test_an_echo_is_skipped(line, bus):
    request = build_packet(1, Instruction.READ, b'\x40\x00\x01\x00')
    line.answer(request + build_status(1, 0, b'\x01'))
    assert bus.read(1, TABLE, 'torque_enable') == 1
    assert bus.statistics.retries == 0


def test_a_silent_motor_is_told_with_what_was_asked(line):
    bus = DynamixelBus.open(line.path, 57600, 0.01)
    with pytest.raises(NoReplyError, match='Motor 7, writing 1 to torque_enable: no reply'):
        bus.write(7, TABLE, 'torque_enable', 1)
    bus.close()
    assert bus.statistics.dropped == 2


def test_a_refusal_tells_why(line, bus):
    line.answer(build_status(1, 0x07))
    with pytest.raises(RefusedError, match='needs torque off') as caught:
        bus.write(1, TABLE, 'operating_mode', 5)
    assert caught.value.error_number == 7


def test_a_refusal_is_seen_beside_the_alert_bit(line, bus):
    """The SDK tells of the alert only."""
    line.answer(build_status(1, 0x84))
    with pytest.raises(RefusedError, match='out of range'):
        bus.write(1, TABLE, 'goal_position', 5)


def test_an_alert_alone_is_no_refusal(line, bus):
    line.answer(build_status(1, 0x80, b'\x03'))
    assert bus.read(1, TABLE, 'torque_enable') == 3


def test_time_outs_start_from_the_wire_and_not_from_34_ms(line):
    with DynamixelBus.open(line.path, 1_000_000, 0.004) as bus:
        assert bus.port.wire_time(14) == pytest.approx(140e-6)
        bus.port.send(build_packet(1, Instruction.PING))
        begin = time.monotonic()
        bus.port.expect(14)
        until(bus.port.isPacketTimeout)
        assert time.monotonic() - begin >= 0.004


def test_a_set_clock_does_not_disturb_time_outs(line, bus, monkeypatch):
    monkeypatch.setattr(time, 'time', lambda: 0.0)
    before = bus.port.getCurrentTime()
    assert bus.port.getCurrentTime() >= before > 0.0
    bus.port.setPacketTimeoutMillis(0.0)
    until(bus.port.isPacketTimeout)


def test_waiting_takes_no_processor_time(line, bus):
    """The SDK polls without a pause: as much processor time as it waits."""
    used = time.thread_time()
    assert bus.look_for(1) == ([], False)
    assert time.thread_time() - used < 0.2 * MARGIN


def test_the_classes_of_the_sdk_work_on_this_port(line, bus):
    line.answer(build_status(1, 0, b'\x2a\x01'))
    assert Protocol2PacketHandler().read2ByteTxRx(bus.port, 1, 0) == (0x012A, COMM_SUCCESS, 0)


def test_a_port_belongs_to_one_program(line, bus):
    with pytest.raises(PortError, match='in use by another program'):
        SerialPort(line.path, 57600, MARGIN)


def test_a_closed_port_can_be_opened_again(line):
    SerialPort(line.path, 57600, MARGIN).close()
    port = SerialPort(line.path, 1_000_000, MARGIN)
    port.close()
    port.close()
    with pytest.raises(PortError, match='closed'):
        port.send(b'x')


def test_a_missing_port_lists_what_is_there(tmp_path):
    with pytest.raises(PortError, match=r'There is no port .*Serial adapters'):
        SerialPort(str(tmp_path / 'ttyUSB9'), 57600, MARGIN)


def test_a_file_is_no_port(tmp_path):
    path = tmp_path / 'file'
    path.write_text('')
    with pytest.raises(PortError, match='no serial port'):
        SerialPort(str(path), 57600, MARGIN)


def test_permission_denied_tells_the_group(monkeypatch):
    def refuse(**_):
        raise serial.SerialException(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(serial, 'Serial', refuse)
    with pytest.raises(PortError, match=r'Permission denied.*usermod -aG dialout'):
        SerialPort('/dev/ttyUSB0', 57600, MARGIN)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may open everything')
def test_permission_denied_by_the_system(line):
    Path(line.path).chmod(0)
    with pytest.raises(PortError, match='Permission denied'):
        SerialPort(line.path, 57600, MARGIN)


def test_an_unknown_baud_rate_is_refused(line):
    with pytest.raises(PortError, match='4500000'):
        SerialPort(line.path, 4_500_000, MARGIN)


def test_a_port_that_goes_away_is_told(line, bus):
    line.close()
    with pytest.raises(PortError, match='plug the adapter in again'):
        bus.ping(1)
