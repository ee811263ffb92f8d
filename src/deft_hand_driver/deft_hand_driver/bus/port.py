# SPDX-License-Identifier: Apache-2.0
"""Serial port and packet handler of `dynamixel_sdk`, with what is wrong in them put right.

The only file that imports the SDK. Kept from it: baud rates, the layout of every instruction, the
order of sending and waiting. Replaced, each with a test in test_port.py:

- opening is exclusive: two programs on one port read each other's replies;
- time-outs count on the monotonic clock, and start from what the adapter needs instead of 34 ms;
- waiting sleeps in the kernel; the SDK polls without pause;
- instructions are stuffed and replies are unstuffed as the protocol says (SDK 4.1.0 sends
  FF FF FD as it is, and shortens FF FF FD FD twice);
- a reply of another size than what was asked for, an echo and garbage count as no reply (the SDK
  cuts a longer one and fills a shorter one up with its checksum).
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import termios
import time
from pathlib import Path
from typing import Any, Final

import serial
from dynamixel_sdk import COMM_RX_CORRUPT, COMM_RX_TIMEOUT, COMM_SUCCESS, COMM_TX_FAIL
from dynamixel_sdk.port_handler import PortHandler
from dynamixel_sdk.protocol2_packet_handler import Protocol2PacketHandler

from deft_hand_driver.bus.errors import PortError
from dynamixel_simulator.packet import (
    ALERT_BIT,
    CRC_SIZE,
    HEADER,
    PREFIX_SIZE,
    Instruction,
    Packet,
    PacketReader,
    build_packet,
)

PATIENT_MARGIN: Final = 0.05  # [s]
SUCCESS: Final = int(COMM_SUCCESS)
BITS_PER_BYTE: Final = 10  # 8N1
_BY_ID: Final = Path('/dev/serial/by-id')
_READ_SIZE: Final = 4096


class SerialPort(PortHandler):  # type: ignore[misc] # the SDK has no types
    """One open serial port.

    Attributes:
        reader: Collects replies; counts wrong checksums and skipped bytes.
        reply_margin: Time that a reply may take beyond that on the wire: adapter, servo and
            scheduling. [s].
    """

    def __init__(self, path: str, baud_rate: int, reply_margin: float) -> None:
        """Open the port.

        Args:
            path: Of the device, best one of /dev/serial/by-id.
            baud_rate: [bit/s].
            reply_margin: See the attribute. [s].

        Raises:
            PortError: It does not exist, is in use, is no serial port or must not be opened, or
                it does not know the baud rate.
        """
        super().__init__(path)
        self.reader = PacketReader()
        self.reply_margin = reply_margin
        self._deadline = 0.0
        self._sent_by = 0.0
        self._descriptor = -1
        self._poll = select.poll()
        self._waiting: list[Packet] = []
        if not self.setBaudRate(baud_rate):
            raise PortError(f'Serial ports do not know the baud rate {baud_rate}.')

    def setupPort(self, cflag_baud: int) -> bool:  # noqa: N802 (name of the SDK)
        """Open, for this program alone; see `PortHandler.setupPort`."""
        try:
            self.ser = serial.Serial(
                port=self.port_name, baudrate=cflag_baud, timeout=0, exclusive=True
            )
        except (OSError, termios.error, ValueError) as error:
            raise PortError(_why_not_open(self.port_name, error)) from error
        # A pseudo-terminal has no latency, and some adapters cannot be told; docs/hand.md tells
        # how to set it for those.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            self.ser.set_low_latency_mode(True)
        self.is_open = True
        self.tx_time_per_byte = 1000.0 * BITS_PER_BYTE / cflag_baud
        self._descriptor = self.ser.fileno()
        self._poll.register(self._descriptor, select.POLLIN)
        self.clearPort()
        return True

    def close(self) -> None:
        """Close the port; a second call does nothing."""
        if self.is_open:
            self._poll.unregister(self._descriptor)
            self.ser.close()
            self.is_open = False
            self._descriptor = -1

    def clearPort(self) -> None:  # noqa: N802 (name of the SDK)
        """Forget what has come in: replies to earlier instructions."""
        self._waiting.clear()
        self.reader.clear()
        try:
            termios.tcflush(self._require_open(), termios.TCIFLUSH)
        except termios.error as error:
            raise self._gone(error) from error

    def getCurrentTime(self) -> float:  # noqa: N802 (name of the SDK)
        """Milliseconds of a clock that nobody sets."""
        return time.monotonic() * 1000.0

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802 (name of the SDK)
        """Allow for a reply of so many bytes.

        Only the SDK asks, for single motors outside of the cycle: there patience costs nothing
        unless a motor is missing, and a reply that is late for one instruction harms the next.
        """
        self.expect(packet_length, margin=max(self.reply_margin, PATIENT_MARGIN))

    def setPacketTimeoutMillis(self, msec: float) -> None:  # noqa: N802 (name of the SDK)
        """Allow so much time. [ms]."""
        self._deadline = time.monotonic() + 1e-3 * msec

    def isPacketTimeout(self) -> bool:  # noqa: N802 (name of the SDK)
        """Whether the time allowed is over."""
        return time.monotonic() > self._deadline

    def wire_time(self, size: int) -> float:
        """Time that bytes need on the wire. [s]."""
        return size * 1e-3 * float(self.tx_time_per_byte)

    def expect(self, size: int, longest: float = math.inf, margin: float | None = None) -> None:
        """Start the time-out of a reply.

        The write only fills a buffer: the reply cannot come before the request is on the wire.

        Args:
            size: Bytes of the reply.
            longest: Time-out at most. [s].
            margin: In place of `reply_margin`. [s].
        """
        now = time.monotonic()
        allowed = self.wire_time(size) + (self.reply_margin if margin is None else margin)
        end = max(now, self._sent_by) + allowed
        self._deadline = min(end, now + longest)

    def send(self, packet: bytes) -> None:
        """Send a packet; whatever came in before it is forgotten.

        Raises:
            PortError: The port has gone.
        """
        self.clearPort()
        view = memoryview(packet)
        while view:
            try:
                view = view[os.write(self._require_open(), view) :]
            except BlockingIOError:
                self._wait_until_writable()
            except OSError as error:
                raise self._gone(error) from error
        self._sent_by = time.monotonic() + self.wire_time(len(packet))
        self.expect(0)

    def receive(self) -> bytes:
        """Wait for bytes until the time-out; empty when it is over.

        Raises:
            PortError: The port has gone.
        """
        descriptor = self._require_open()
        # A process that was held up beyond the time-out still takes what has come by then.
        remaining = max(0.0, self._deadline - time.monotonic())
        if not self._poll.poll(remaining * 1000.0):
            return b''
        try:
            data = os.read(descriptor, _READ_SIZE)
        except BlockingIOError:
            return b''
        except OSError as error:
            raise self._gone(error) from error
        if not data:
            raise self._gone(None)
        return data

    def receive_packet(self) -> Packet | None:
        """Wait for the next good packet, None when none comes in time.

        Raises:
            PortError: The port has gone.
        """
        while not self._waiting:
            data = self.receive()
            if not data:
                return None
            self._waiting += self.reader.feed(data)
        return self._waiting.pop(0)

    def _require_open(self) -> int:
        if not self.is_open:
            raise PortError(f'{self.port_name} is closed.')
        return self._descriptor

    def _wait_until_writable(self) -> None:
        """Let a full output buffer drain; one that does not is a port without a device."""
        writable = select.poll()
        writable.register(self._require_open(), select.POLLOUT)
        if not writable.poll(1000.0 * max(self.reply_margin, 0.1)):
            raise PortError(f'{self.port_name} takes no more bytes; is the adapter still there?')

    def _gone(self, error: Exception | None) -> PortError:
        reason = f' ({error})' if error else ''
        return PortError(f'The port {self.port_name} has gone{reason}; plug the adapter in again.')


class PacketHandler(Protocol2PacketHandler):  # type: ignore[misc] # the SDK has no types
    """Instructions of the SDK over packets that are stuffed and checked by this package."""

    def txPacket(self, port: SerialPort, txpacket: list[int]) -> int:  # noqa: N802
        """Send an instruction; see `Protocol2PacketHandler.txPacket`."""
        parameters = bytes(txpacket[PREFIX_SIZE + 1 : -CRC_SIZE])
        port.send(build_packet(txpacket[4], txpacket[PREFIX_SIZE], parameters))
        return SUCCESS

    def rxPacket(self, port: SerialPort, fast_option: bool) -> tuple[list[int], int]:  # noqa: N802
        """Wait for a status packet; see `Protocol2PacketHandler.rxPacket`.

        Returns:
            The packet without stuffing, in the layout of the SDK, and its result.
        """
        del fast_option  # group.py takes the common reply apart
        wrong = port.reader.wrong_checksums
        while True:
            packet = port.receive_packet()
            if packet is None:
                corrupt = port.reader.wrong_checksums > wrong or port.reader.pending
                return [], int(COMM_RX_CORRUPT if corrupt else COMM_RX_TIMEOUT)
            if packet.instruction == Instruction.STATUS and packet.parameters:
                return _plain_layout(packet), SUCCESS

    def read(
        self, port: SerialPort, identifier: int, address: int, size: int
    ) -> tuple[bytes, int, int]:
        """Read registers.

        Returns:
            Data, result and error byte; a reply of another size is corrupt, unless it is an error.
        """
        result = self.readTx(port, identifier, address, size)
        while result == SUCCESS:
            packet, result = self.rxPacket(port, False)
            if result != SUCCESS or packet[4] != identifier:
                continue
            # The SDK cuts a longer reply and fills a shorter one up with its checksum.
            error, data = packet[PREFIX_SIZE + 1], bytes(packet[PREFIX_SIZE + 2 : -CRC_SIZE])
            if len(data) == size or error & ~ALERT_BIT:
                return data, SUCCESS, error
            result = COMM_RX_CORRUPT
        return b'', int(result), 0

    def write(
        self, port: SerialPort, identifier: int, address: int, data: bytes
    ) -> tuple[int, int]:
        """Write registers; result and error byte."""
        result, error = self.writeTxRx(port, identifier, address, len(data), list(data))
        return int(result), int(error)

    def describe(self, result: int) -> str:
        """What a result means."""
        texts: dict[int, str] = {
            int(COMM_TX_FAIL): 'the instruction could not be sent',
            int(COMM_RX_TIMEOUT): 'no reply',
            int(COMM_RX_CORRUPT): 'a broken reply',
        }
        return texts.get(result) or str(self.getTxRxResult(result))


def _plain_layout(packet: Packet) -> list[int]:
    """A status packet as the SDK wants it: without stuffing, length to match."""
    length = 1 + len(packet.parameters) + CRC_SIZE
    prefix = HEADER + bytes((packet.identifier,)) + length.to_bytes(2, 'little')
    body = bytes((packet.instruction,)) + packet.parameters + packet.raw[-CRC_SIZE:]
    return list(prefix + body)


def serial_ports() -> list[str]:
    """Serial adapters that are plugged in, by their lasting names."""
    return sorted(str(path) for path in _BY_ID.glob('*')) if _BY_ID.is_dir() else []


def _why_not_open(path: str, error: Any) -> str:
    """One sentence with the remedy."""
    code = getattr(error, 'errno', None)
    text = str(error)
    if code == errno.EACCES or 'Permission' in text:
        return (
            f'Permission denied on {path}; add yourself to its group (on Debian and Ubuntu: '
            'sudo usermod -aG dialout $USER) and log in again.'
        )
    if code == errno.ENOENT:
        found = ', '.join(serial_ports()) or 'none'
        return (
            f'There is no port {path}; is the adapter plugged in? Serial adapters here: {found}.'
        )
    if 'exclusively lock' in text or code in (errno.EBUSY, errno.EAGAIN):
        return (
            f'{path} is in use by another program; stop the hand driver, Dynamixel Wizard or '
            'whatever holds it.'
        )
    if code == errno.ENOTTY or isinstance(error, termios.error) or 'configure port' in text:
        return f'{path} is no serial port.'
    return f'{path} cannot be opened: {text}.'
