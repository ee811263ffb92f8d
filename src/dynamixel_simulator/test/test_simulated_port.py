# SPDX-License-Identifier: Apache-2.0
"""A client that knows nothing of this project talks to the simulated servos: dynamixel_sdk.

Left out are the client's own faults in versions 3.8.4 to 4.1.0: it sends parameters that hold
FF FF FD without stuffing, shortens FF FD FD behind a pattern that it has unstuffed, and drops the
error bytes of group reads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dynamixel_sdk as sdk
import pytest
import serial

from deft_core.errors import ConfigurationError
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.console import obey
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import XC330_T288
from dynamixel_simulator.server import BusServer
from dynamixel_simulator.servo import SimulatedServo

IDS = (1, 2, 5)
BAUD_RATE = 1_000_000


class Client:
    """The SDK's handlers of one port, patient with a busy machine."""

    def __init__(self, path, baud_rate=BAUD_RATE):
        self.port = sdk.PortHandler(str(path))
        assert self.port.openPort()
        assert self.port.setBaudRate(baud_rate)
        self.handler = sdk.PacketHandler(2.0)
        # The SDK's own time-outs are 34 ms; a test must not fail for a busy machine.
        self.patience = 1000.0
        original = self.port.setPacketTimeout
        self.port.setPacketTimeout = lambda count: self.port.setPacketTimeoutMillis(self.patience)
        self.original_timeout = original

    def __getattr__(self, name):
        return lambda *arguments: getattr(self.handler, name)(self.port, *arguments)

    def group(self, kind, *place):
        return kind(self.port, self.handler, *place)


@pytest.fixture
def server():
    servos = [SimulatedServo(XC330_T288, identifier) for identifier in IDS]
    for servo in servos:
        servo.memory['baud_rate'] = 3
    with BusServer(SimulatedBus(servos), real_time=False) as server:
        yield server


@pytest.fixture
def client(server):
    client = Client(server.path)
    yield client
    client.port.closePort()


def test_ping_and_broadcast_ping(client):
    assert client.ping(2) == (1220, sdk.COMM_SUCCESS, 0)
    client.port.setPacketTimeout = client.original_timeout  # it waits the whole window
    found, result = client.broadcastPing()
    assert result == sdk.COMM_SUCCESS
    assert found == {identifier: [1220, 50] for identifier in IDS}


def test_reads_and_writes_of_every_size(client):
    assert client.write1ByteTxRx(1, 65, 1) == (sdk.COMM_SUCCESS, 0)
    assert client.read1ByteTxRx(1, 65) == (1, sdk.COMM_SUCCESS, 0)
    assert client.write2ByteTxRx(1, 84, 1234) == (sdk.COMM_SUCCESS, 0)
    assert client.read2ByteTxRx(1, 84) == (1234, sdk.COMM_SUCCESS, 0)
    assert client.write4ByteTxRx(1, 116, 3000) == (sdk.COMM_SUCCESS, 0)
    assert client.read4ByteTxRx(1, 116) == (3000, sdk.COMM_SUCCESS, 0)
    assert client.write4ByteTxRx(1, 116, 5000) == (sdk.COMM_SUCCESS, 6)
    assert client.write1ByteTxRx(1, 132, 0) == (sdk.COMM_SUCCESS, 7)


def test_registered_writes_reboot_clear_and_factory_reset(client, server):
    data = list((2200).to_bytes(4, 'little'))
    assert client.regWriteTxRx(1, 116, 4, data) == (sdk.COMM_SUCCESS, 0)
    assert server.bus.servo(1).read_field('goal_position') == 2048
    assert client.action(1) == sdk.COMM_SUCCESS
    deadline = time.monotonic() + 5.0
    while server.bus.servo(1).read_field('goal_position') != 2200:
        assert time.monotonic() < deadline
    assert client.clearMultiTurn(1) == (sdk.COMM_SUCCESS, 0)
    assert client.reboot(1) == (sdk.COMM_SUCCESS, 0)
    server.bus.advance(0.2)
    assert client.factoryReset(1, 2) == (sdk.COMM_SUCCESS, 0)
    server.bus.advance(0.2)
    assert client.ping(1)[1] == sdk.COMM_SUCCESS


@pytest.mark.parametrize('method', ['txRxPacket', 'fastSyncRead'])
def test_sync_read_and_sync_write(client, server, method):
    writer = client.group(sdk.GroupSyncWrite, 116, 4)
    for identifier in IDS:
        assert writer.addParam(identifier, (2000 + identifier).to_bytes(4, 'little'))
    assert writer.txPacket() == sdk.COMM_SUCCESS
    reader = client.group(sdk.GroupSyncRead, 116, 4)
    for identifier in IDS:
        assert reader.addParam(identifier)
    assert getattr(reader, method)() == sdk.COMM_SUCCESS
    values = {identifier: reader.getData(identifier, 116, 4) for identifier in IDS}
    assert values == {identifier: 2000 + identifier for identifier in IDS}


@pytest.mark.parametrize('method', ['txRxPacket', 'fastBulkRead'])
def test_bulk_read_and_bulk_write(client, method):
    writer = client.group(sdk.GroupBulkWrite)
    assert writer.addParam(1, 116, 4, (2100).to_bytes(4, 'little'))
    assert writer.addParam(5, 65, 1, b'\x01')
    assert writer.txPacket() == sdk.COMM_SUCCESS
    reader = client.group(sdk.GroupBulkRead)
    assert reader.addParam(1, 116, 4)
    assert reader.addParam(5, 65, 1)
    assert getattr(reader, method)() == sdk.COMM_SUCCESS
    assert reader.getData(1, 116, 4) == 2100
    assert reader.getData(5, 65, 1) == 1


@pytest.mark.parametrize('method', ['txRxPacket', 'fastSyncRead'])
def test_a_header_inside_the_data_arrives(client, server, method):
    # Current -1 is FF FF; a velocity that begins with FD makes a header of it.
    server.bus.servo(1).memory['goal_current'] = -1
    server.bus.servo(1).memory['goal_velocity'] = 0xFD
    reader = client.group(sdk.GroupSyncRead, 102, 6)
    assert reader.addParam(1)
    assert getattr(reader, method)() == sdk.COMM_SUCCESS
    assert reader.getData(1, 102, 2) == 0xFFFF
    assert reader.getData(1, 104, 4) == 0xFD


def test_a_servo_at_another_rate_does_not_hear(client, server):
    client.patience = 20.0
    assert client.port.setBaudRate(57600)
    assert client.ping(1)[1] == sdk.COMM_RX_TIMEOUT
    with server.bus.lock:
        server.bus.servo(1).memory['baud_rate'] = 1
    client.patience = 1000.0
    assert client.ping(1)[1] == sdk.COMM_SUCCESS


@pytest.mark.parametrize(
    ('fault', 'result'),
    [
        (Fault.SILENCE, sdk.COMM_RX_TIMEOUT),
        (Fault.WRONG_CRC, sdk.COMM_RX_CORRUPT),
        (Fault.HALF_PACKET, sdk.COMM_RX_CORRUPT),
        (Fault.UNPLUGGED, sdk.COMM_RX_TIMEOUT),
    ],
)
def test_faults_reach_the_client(client, server, fault, result):
    client.patience = 50.0
    server.bus.inject(fault, 1)
    assert client.read4ByteTxRx(1, 132)[1] == result
    assert client.read4ByteTxRx(2, 132)[1] == sdk.COMM_SUCCESS


def test_a_late_answer_comes_late(client, server):
    server.bus.inject(Fault.DELAY, 1, lateness=0.1)
    begin = time.monotonic()
    assert client.ping(1)[1] == sdk.COMM_SUCCESS
    assert time.monotonic() - begin >= 0.1


def test_the_alert_bit_is_seen(client, server):
    server.bus.inject(Fault.OVERLOAD, 1)
    assert client.read1ByteTxRx(1, 70) == (0x20, sdk.COMM_SUCCESS, 0x80)


def test_answers_can_take_their_time_on_the_wire():
    servos = [SimulatedServo(XC330_T288, identifier) for identifier in IDS]
    with BusServer(SimulatedBus(servos), real_time=False, paced=True) as server:
        client = Client(server.path, 57600)
        begin = time.monotonic()
        assert client.ping(1)[1] == sdk.COMM_SUCCESS
        # 10 bytes there and 14 back at 10 bits each, and half a millisecond of return delay.
        assert time.monotonic() - begin >= 240 / 57600 + 500e-6
        reader = client.group(sdk.GroupSyncRead, 132, 4)
        for identifier in IDS:
            reader.addParam(identifier)
        begin = time.monotonic()
        assert reader.txRxPacket() == sdk.COMM_SUCCESS
        assert time.monotonic() - begin >= (17 + 3 * 15) * 10 / 57600 + 3 * 500e-6
        client.port.closePort()


def test_servos_live_in_real_time_unless_told_otherwise(tmp_path):
    servo = SimulatedServo(XC330_T288, 1)
    with BusServer(SimulatedBus([servo]), tmp_path / 'port'):
        deadline = time.monotonic() + 10.0
        while servo.read_field('realtime_tick') < 20:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_the_adapter_can_be_pulled_out_and_put_back(tmp_path):
    servo = SimulatedServo(XC330_T288, 1)
    link = tmp_path / 'port'
    with BusServer(SimulatedBus([servo]), link, real_time=False) as server:
        client = Client(link, 57600)
        assert client.ping(1)[1] == sdk.COMM_SUCCESS
        server.unplug_port()
        assert not link.exists()
        with pytest.raises((serial.SerialException, OSError)):
            client.port.ser.write(b'\x00')
        client.port.closePort()
        server.plug_port()
        again = Client(link, 57600)
        assert again.ping(1)[1] == sdk.COMM_SUCCESS
        again.port.closePort()
    assert not link.is_symlink()


def test_links_replace_old_links_and_nothing_else(tmp_path):
    link = tmp_path / 'port'
    link.symlink_to('/nowhere')
    bus = SimulatedBus([])
    BusServer(bus, link).stop()
    assert not link.is_symlink()
    link.write_text('precious')
    with pytest.raises(ConfigurationError, match='another path'):
        BusServer(bus, link)
    assert link.read_text() == 'precious'
    with pytest.raises(ConfigurationError, match='folder'):
        BusServer(bus, tmp_path / 'missing' / 'port')


def test_the_console_switches_faults(server):
    bus = server.bus
    assert obey(server, 'fault 2 silence 1') == 'ok'
    assert obey(server, 'load 1 -0.05') == 'ok'
    assert bus.servo(1).motor.load_torque == -0.05
    assert obey(server, 'fault 5 stuck') == 'ok'
    assert bus.servo(5).motor.stuck
    assert obey(server, 'clear all') == 'ok'
    assert not bus.servo(5).motor.stuck
    assert obey(server, 'fault bus echo') == obey(server, 'fault 1 delay 0.02') == 'ok'
    assert obey(server, '') == 'ok'
    assert 'brown_out' in obey(server, 'help')
    for wrong in ('fault 2 sulking', 'fault 99 silence', 'fault x stuck', 'explode', 'load 1 big'):
        assert obey(server, wrong).startswith('error: ')
    assert obey(server, 'port gone') == 'ok'
    assert obey(server, 'port back') == 'ok'


@pytest.fixture
def process(tmp_path):
    command = [sys.executable, '-m', 'dynamixel_simulator', '--model', 'XC330-M288']
    command += ['--ids', '3-4,9', '--baud-rate', '1000000', '--link', str(tmp_path / 'port')]
    paths = [path for path in sys.path if Path(path, 'deft_core').is_dir()]
    paths += [path for path in sys.path if Path(path, 'dynamixel_simulator').is_dir()]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {'PYTHONPATH': os.pathsep.join([*paths, os.environ.get('PYTHONPATH', '')])},
    )
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        stream.close()


def test_a_process_of_its_own_obeys_its_standard_input(process, tmp_path):
    assert process.stdout.readline() == f'port {tmp_path / "port"}\n'
    client = Client(tmp_path / 'port')
    assert client.ping(9) == (1240, sdk.COMM_SUCCESS, 0)
    client.patience = 50.0
    process.stdin.write('fault 9 silence\n')
    process.stdin.flush()
    assert process.stdout.readline() == 'ok\n'
    assert client.ping(9)[1] == sdk.COMM_RX_TIMEOUT
    client.port.closePort()
    process.stdin.close()  # the end of the input is not the end of the servos
    process.send_signal(signal.SIGTERM)
    assert process.wait(20.0) == 0
    assert not (tmp_path / 'port').is_symlink()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--model', 'XC330'], 'XC330-T288'),
        (['--model', 'XC330-T288', '--baud-rate', '4500000'], '4000000'),
    ],
)
def test_wrong_arguments_are_told(arguments, message, capsys):
    from dynamixel_simulator.__main__ import main

    assert main(arguments) == 2
    assert message in capsys.readouterr().err
