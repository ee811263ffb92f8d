# SPDX-License-Identifier: Apache-2.0
"""`deft hand` at simulated servos."""

from __future__ import annotations

import argparse
import errno
import threading
from pathlib import Path

import pytest

from deft_core.errors import DeftError, InvalidInputError
from deft_hand_driver.commands import hand
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.dynamixel import bus as bus_module
from deft_hand_driver.dynamixel import discovery
from deft_hand_driver.dynamixel.bus import DynamixelBus
from deft_hand_driver.dynamixel.port import BusError, NoReplyError, PortError
from deft_hand_driver.simulated_hand import build_hand_bus
from dynamixel_simulator.bus import SimulatedBus
from dynamixel_simulator.faults import Fault
from dynamixel_simulator.motor_models import BAUD_RATES, XC330_T288, XM430_W350, HardwareError
from dynamixel_simulator.server import BusServer, PseudoTerminal
from dynamixel_simulator.servo import SimulatedServo

MARGIN = 0.25  # [s] for a busy machine
CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Simulated servos do not wait for their turn, and this machine is part of the repository."""
    monkeypatch.setenv('DEFT_CONFIG', str(CONFIGURATION))
    broadcast = DynamixelBus.broadcast_ping
    monkeypatch.setattr(DynamixelBus, 'broadcast_ping', lambda self: broadcast(self, 0.15))
    opened = DynamixelBus.open.__func__
    monkeypatch.setattr(
        DynamixelBus,
        'open',
        classmethod(
            lambda cls, path, rate, margin=0.05: opened(cls, path, rate, max(margin, MARGIN))
        ),
    )


@pytest.fixture
def serve():
    servers = []

    def start(bus):
        servers.append(BusServer(bus).start())
        return servers[-1].path

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def bus(description):
    return build_hand_bus(description)


@pytest.fixture
def device():
    """Something other than motors on the port: it talks every so often, or answers anything."""
    terminal, stopping, threads = PseudoTerminal(), threading.Event(), []

    def start(period, says, answers):
        def work():
            while not stopping.wait(period):
                if terminal.read() and answers:
                    terminal.write(answers)
                terminal.write(says)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return terminal.path

    yield start
    stopping.set()
    for thread in threads:
        thread.join()
    terminal.close()


def run(action, *words, port):
    parser = argparse.ArgumentParser()
    hand.add_arguments(parser)
    return hand.main(parser.parse_args([action, '--port', port, *words]))


def test_scan_lists_the_motors_of_the_hand(bus, serve, capsys):
    assert run('scan', port=serve(bus)) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if 'thumb_curl' in line)
    assert line.split() == ['12', 'thumb_curl', 'XC330-T288', '50', '-']
    assert 'All 12 motors of the hand are there.' in shown


def test_scan_tells_missing_unknown_wrong_and_broken_motors(bus, serve, capsys):
    bus.inject(Fault.UNPLUGGED, 3)
    bus.inject(Fault.OVERLOAD, 4)
    with bus.lock:
        bus.servo(5).memory['id'] = 99
        bus.servo(6).memory['model_number'] = XM430_W350.number
    assert run('scan', port=serve(bus)) == 1
    shown = capsys.readouterr().out
    assert '2 of 12 motors do not answer: index_curl (id 3), middle_forward (id 5).' in shown
    assert 'middle_side (id 4) has a hardware error' in shown
    assert 'Id 99 (XC330-T288) is not in the file of the hand.' in shown
    assert 'middle_curl (id 6) is a XM430-W350, the file of the hand says XC330-T288.' in shown


def test_scan_tells_shared_ids(bus, serve, capsys, monkeypatch):
    monkeypatch.setattr(discovery, '_ALL_IDS', range(20))
    with bus.lock:
        bus.servo(5).memory['id'] = 4
    assert run('scan', port=serve(bus)) == 1
    assert 'Id 4 gives garbled answers: motors share it.' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('period', 'says', 'answers', 'told'),
    [
        (0.001, b'x=1.25\r\n', b'', 'without being asked'),
        (0.0, 64 * b'$GPGGA\r\n', b'', "sends '$GPGGA"),
        (1.0, b'\x80\x00\x7f', b'', r'\x80'),
        (0.001, b'', b'?\r\n', 'answers to any id'),
    ],
    ids=['often', 'without pause', 'every second', 'when asked'],
)
def test_scan_tells_another_device(device, capsys, monkeypatch, period, says, answers, told):
    if says:  # it is heard, however busy the machine is
        monkeypatch.setattr(bus_module, '_LISTENING_TIME', 60.0)
    monkeypatch.setattr(discovery, '_ALL_IDS', ())
    assert run('scan', port=device(period, says, answers)) == 1
    shown = capsys.readouterr().out
    assert told in shown
    assert 'another device is there' in shown
    assert 'share' not in shown


def test_no_motor_is_looked_for_beside_another_device(device):
    with pytest.raises(BusError, match=r'without being asked'):
        run('set-id', '1', '2', port=device(0.001, b'x=1.25\r\n', b''))


def test_scan_finds_motors_at_another_baud_rate(serve, capsys):
    assert run('scan', port=serve(SimulatedBus([SimulatedServo(XC330_T288, 7)]))) == 1
    shown = capsys.readouterr().out
    assert 'At 57600 bit/s: ids 7. `deft hand set-id` brings a motor to 1000000 bit/s.' in shown


def test_scan_of_nothing(serve, capsys):
    assert run('scan', port=serve(SimulatedBus([]))) == 1
    assert 'No motor answers at any baud rate' in capsys.readouterr().out


def test_status_shows_measurements_and_touches_nothing(bus, serve, capsys):
    with bus.lock:
        bus.servo(2).motor.position = 0.5
        before = [bytes(servo.memory.content[:120]) for servo in bus.servos]
    assert run('status', port=serve(bus)) == 0
    shown = capsys.readouterr().out.splitlines()
    forward = next(line for line in shown if 'index_forward' in line).split()
    assert forward[:3] == ['2', 'index_forward', 'off']
    assert float(forward[4]) == pytest.approx(0.5, abs=0.001)
    assert '11.1' in forward
    assert before == [bytes(servo.memory.content[:120]) for servo in bus.servos]


def test_status_names_errors_and_silence(bus, serve, capsys):
    bus.inject(Fault.OVERLOAD, 3)
    bus.inject(Fault.UNPLUGGED, 4)
    assert run('status', port=serve(bus)) == 1
    shown = capsys.readouterr().out
    assert 'overload' in shown
    assert 'middle_side' in next(line for line in shown.splitlines() if 'no answer' in line)


def test_status_at_the_wrong_rate_points_to_scan(serve, capsys):
    assert run('status', port=serve(SimulatedBus([SimulatedServo(XC330_T288, 1)]))) == 1
    assert '`deft hand scan` looks at the other baud rates' in capsys.readouterr().out


def test_a_port_that_may_not_be_opened_is_told_by_every_command(bus, serve, monkeypatch):
    path = serve(bus)

    def refuse(*_, **__):
        raise OSError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr('deft_hand_driver.dynamixel.port.serial.Serial', refuse)
    for words in (['scan'], ['status'], ['reboot'], ['pose', 'open'], ['calibrate', 'tension']):
        with pytest.raises(BusError, match=r'Permission denied.*usermod -aG dialout'):
            run(*words, port=path)


def test_calibrate_names_motors_that_are_missing_or_share_an_id(bus, serve):
    path = serve(bus)
    with bus.lock:
        bus.servo(5).memory['id'] = 4
    with pytest.raises(BusError, match=r'middle_forward \(id 5\).*`deft hand scan`'):
        run('calibrate', 'tension', port=path)


@pytest.mark.parametrize('new', ['7', 'ring_side'])
def test_set_id_prepares_a_motor_from_the_box(serve, capsys, new):
    servo = SimulatedServo(XC330_T288, 1)
    assert run('set-id', '1', new, port=serve(SimulatedBus([servo]))) == 0
    assert servo.identifier == 7
    assert servo.memory['baud_rate'] == BAUD_RATES.index(1_000_000)
    assert servo.memory['return_delay_time'] == 0
    assert 'id 1 at 57600 bit/s has id 7 at 1000000 bit/s now' in capsys.readouterr().out


def test_set_id_refuses_an_id_that_is_taken(bus, serve):
    with pytest.raises(BusError, match='id 4 is on the bus already'):
        run('set-id', '3', '4', port=serve(bus))


def test_set_id_refuses_motors_that_share_an_id(serve):
    servos = [SimulatedServo(XC330_T288, 1), SimulatedServo(XC330_T288, 1)]
    with pytest.raises(BusError, match='Several motors answer to id 1'):
        run('set-id', '1', '2', port=serve(SimulatedBus(servos)))
    assert [servo.identifier for servo in servos] == [1, 1]


def test_set_id_refuses_the_wrong_model_and_a_motor_that_is_not_there(serve):
    path = serve(SimulatedBus([SimulatedServo(XM430_W350, 1)]))
    with pytest.raises(BusError, match='XM430-W350, but ring_side is to be a XC330-T288'):
        run('set-id', '1', 'ring_side', port=path)
    with pytest.raises(NoReplyError, match='id 9 at any baud rate'):
        run('set-id', '9', '2', port=path)


@pytest.mark.parametrize('new', ['253', 'pinky'])
def test_set_id_refuses_ids_that_cannot_be(serve, new):
    with pytest.raises(InvalidInputError, match='0 to 252'):
        run('set-id', '1', new, port='/dev/never-opened')


def test_reboot_clears_the_motors_with_errors(bus, serve, capsys):
    bus.inject(Fault.OVERLOAD, 3)
    bus.clear()
    assert run('reboot', port=serve(bus)) == 0
    assert 'Motor 3 (XC330-T288) is back without errors.' in capsys.readouterr().out
    assert bus.servo(3).hardware_errors is HardwareError(0)


def test_reboot_of_a_healthy_hand_needs_ids(bus, serve, capsys):
    path = serve(bus)
    assert run('reboot', port=path) == 0
    assert 'No motor has an error' in capsys.readouterr().out
    assert run('reboot', '2', port=path) == 0
    assert 'Motor 2' in capsys.readouterr().out


def test_pose_moves_holds_and_lets_go(bus, serve, capsys):
    arguments = ('half_closed', '--duration', '0.3', '--hold', '0.05')
    assert run('pose', *arguments, port=serve(bus)) == 0
    shown = capsys.readouterr().out
    assert 'Largest difference' in shown
    forward = next(line for line in shown.splitlines() if 'thumb_forward' in line).split()
    assert float(forward[2]) == pytest.approx(float(forward[1]), abs=0.1)
    assert float(forward[1]) > 1.0
    assert not any(servo.torque_enabled for servo in bus.servos)


def test_pose_stops_where_a_motor_fails(bus, serve):
    bus.inject(Fault.UNPLUGGED, 3)
    with pytest.raises(BusError, match='index_curl'):
        run('pose', 'open', port=serve(bus))
    with pytest.raises(InvalidInputError, match='half_closed'):
        run('pose', 'half_open', port='/dev/never-opened')


def test_a_port_is_chosen_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr(discovery, 'serial_ports', list)
    with pytest.raises(PortError, match='No serial adapter'):
        discovery.choose_port(None)
    monkeypatch.setattr(discovery, 'serial_ports', lambda: ['/dev/a', '/dev/b'])
    with pytest.raises(PortError, match='/dev/a, /dev/b'):
        discovery.choose_port(None)
    monkeypatch.setattr(discovery, 'serial_ports', lambda: ['/dev/a'])
    assert discovery.choose_port(None) == '/dev/a'
    assert discovery.choose_port('/dev/c') == '/dev/c'


def test_a_port_in_use_is_told_by_every_command(bus, serve):
    path = serve(bus)
    with DynamixelBus.open(path, 1_000_000):
        for words in (
            ['scan'],
            ['status'],
            ['set-id', '1', '2'],
            ['reboot', '1'],
            ['pose', 'open'],
            ['calibrate', 'tension'],
        ):
            with pytest.raises(DeftError, match='in use by another program'):
                run(*words, port=path)


def test_numbers_of_a_table_stand_to_the_right(capsys):
    print_rows(('name', 'n'), [('a', 1.5), ('long', -12)])
    assert capsys.readouterr().out == 'name  n\na     1.5\nlong  -12\n'
