# SPDX-License-Identifier: Apache-2.0
"""Serial port of `dynamixel_sdk`, with what is wrong in it put right; the errors of a bus.

The only file that imports the SDK, whose packet and group classes work on this port too. Replaced,
each with a test in test_port.py:

- opening is exclusive: two programs on one port read each other's replies;
- time-outs count on the monotonic clock, and start from what the adapter needs instead of 34 ms;
- waiting sleeps in the kernel; the SDK polls without pause.

Its packet handlers are not used: SDK 4.1.0 sends FF FF FD as it is, shortens FF FF FD FD twice,
cuts a reply that is too long and fills one that is too short up with its checksum.
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
from dynamixel_sdk.port_handler import PortHandler

from deft_core.errors import DeviceError
from dynamixel_simulator.packet import Packet, PacketReader

BITS_PER_BYTE: Final = 10  # 8N1
_BY_ID: Final = Path('/dev/serial/by-id')
_READ_SIZE: Final = 4096


class BusError(DeviceError):
    """Base of everything that the bus reports."""


class PortError(BusError):
    """The serial port cannot be opened, or has gone."""


class NoReplyError(BusError):
    """A motor did not answer, or not intelligibly."""


class RefusedError(BusError):
    """A motor answered that it does not do what it was asked.

    Attributes:
        error_number: A value of `packet.StatusError`.
    """

    def __init__(self, message: str, error_number: int) -> None:
        """Keep the number for callers that can react."""
        super().__init__(message)
        self.error_number = error_number


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
        """
        super().__init__(path)
        self.reader = PacketReader()
        self.reply_margin = reply_margin
        self._deadline = 0.0
        self._overtime = False  # whether something was taken after the time-out
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
        """Allow for a reply of so many bytes."""
        self.expect(packet_length)

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
        self._overtime = False
        self._deadline = min(end, now + longest)

    def send(self, packet: bytes) -> None:
        """Send a packet; whatever came in before it is forgotten."""
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
        """Wait for bytes until the time-out; empty when it is over."""
        descriptor = self._require_open()
        remaining = self._deadline - time.monotonic()
        if remaining <= 0.0:
            # A process that was held up beyond the time-out still takes what has come by then,
            # but once: a device that never stops talking would hold it for ever.
            if self._overtime:
                return b''
            self._overtime = True
        if not self._poll.poll(max(0.0, remaining) * 1000.0):
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
        """Wait for the next good packet, None when none comes in time."""
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
