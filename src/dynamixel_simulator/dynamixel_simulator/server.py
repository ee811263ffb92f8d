# SPDX-License-Identifier: Apache-2.0
"""Serves simulated servos on a pseudo-terminal: one thread, one loop."""

from __future__ import annotations

import os
import select
import termios
import threading
import time
import tty
from bisect import insort
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deft_core.errors import ConfigurationError, DeviceError
from dynamixel_simulator.bus import Answer, SimulatedBus
from dynamixel_simulator.motor_models import BAUD_RATES
from dynamixel_simulator.packet import PacketReader

TICK: Final = 0.004  # [s] between two steps of the servos in real time
_PATIENCE: Final = 0.05  # [s] of the loop until it looks whether it shall stop or plug the port
_LONGEST_STEP: Final = 0.1  # [s] that is made up for after the process was held up
_BITS_PER_BYTE: Final = 10  # with start and stop bit
_STOP_TIME: Final = 5.0  # [s]
_OUTPUT_SPEED: Final = 5  # place in what tcgetattr gives
_RATE_OF_CODE: Final = {
    code: rate for rate in BAUD_RATES if (code := getattr(termios, f'B{rate}', None)) is not None
}


class BusServer:
    """Lets clients talk to a bus through a pseudo-terminal, as a context while it runs."""

    def __init__(
        self,
        bus: SimulatedBus,
        link: Path | None = None,
        real_time: bool = True,
        paced: bool = False,
        any_baud_rate: bool = False,
    ) -> None:
        """Open the port; nobody answers before `start`.

        Args:
            bus: What is served.
            link: Symbolic link to the port; None for none.
            real_time: Let the servos live in real time; otherwise the caller has `bus.advance`.
            paced: Answers take the time that they take on a wire at the baud rate, and wait for
                the return delay of their servo; otherwise they come at once.
            any_baud_rate: Servos hear whatever rate the client sets, not only their own.

        Raises:
            ConfigurationError: The link cannot be made.
            DeviceError: No pseudo-terminal is left.
        """
        self.bus = bus
        self._link = link
        self._real_time = real_time
        self._paced = paced
        self._any_baud_rate = any_baud_rate
        self._terminal: PseudoTerminal | None = PseudoTerminal(link)
        self._path = self._terminal.path
        self._reader = PacketReader()
        self._queue: list[tuple[float, bytes]] = []  # monotonic time and answer, by rising time
        self._wire_free = 0.0
        self._plugged = True  # as it shall be; the loop opens and closes the terminal
        self._changed = threading.Condition()
        self._stopping = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name='simulated bus', daemon=True)

    @property
    def path(self) -> str:
        """What clients open."""
        return self._path

    @property
    def running(self) -> bool:
        """Whether somebody answers."""
        return self._thread.is_alive()

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and take the port away; may be called more than once.

        Raises:
            DeviceError: The loop had failed before.
        """
        self._stopping = True
        if self._thread.is_alive():
            self._thread.join(_STOP_TIME)
        self._close_terminal()
        if self._failed:
            self._failed = False
            raise DeviceError('The thread of the simulated bus had failed; its log says why.')

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def unplug_port(self) -> None:
        """As if the adapter was pulled out: link and device go, open clients get errors."""
        self._plug(False)

    def plug_port(self) -> None:
        """Put the adapter back: a new device, the same link."""
        self._plug(True)

    def _plug(self, plugged: bool) -> None:
        with self._changed:
            self._plugged = plugged
            self._changed.wait_for(
                lambda: (self._terminal is not None) == plugged or not self.running, _STOP_TIME
            )

    def _close_terminal(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    def _run(self) -> None:
        self._failed = True  # until the loop ended as it should
        last = time.monotonic()
        while not self._stopping:
            self._wait(last)
            self._open_or_close()
            self._serve()
            now = time.monotonic()
            self._send_due(now)
            if self._real_time and now - last >= TICK:
                self.bus.advance(min(now - last, _LONGEST_STEP))
                last = now
        self._failed = False

    def _wait(self, last: float) -> None:
        """Sleep until the client sends, an answer is due, or the servos want to move on."""
        now = time.monotonic()
        timeout = last + TICK - now if self._real_time else _PATIENCE
        if self._queue:
            timeout = min(timeout, self._queue[0][0] - now)
        watched = [] if self._terminal is None else [self._terminal]
        select.select(watched, (), (), max(0.0, timeout))

    def _open_or_close(self) -> None:
        if (self._terminal is not None) == self._plugged:
            return
        with self._changed:
            if self._plugged:
                self._terminal = PseudoTerminal(self._link)
                self._path = self._terminal.path
            else:
                self._close_terminal()
            self._reader.clear()
            self._queue.clear()
            self._changed.notify_all()

    def _serve(self) -> None:
        packets = self._reader.feed(self._terminal.read()) if self._terminal is not None else []
        if self._terminal is None or not packets:
            return
        baud_rate = self._terminal.baud_rate()
        if baud_rate is None and not self._any_baud_rate:
            return
        for packet in packets:
            answers = self.bus.handle(packet, None if self._any_baud_rate else baud_rate)
            self._enqueue(len(packet.raw), answers, baud_rate)

    def _enqueue(self, asked: int, answers: list[Answer], baud_rate: int | None) -> None:
        """Queue answers for the time at which they come; paced, when their last byte would."""
        due = time.monotonic()
        paced = self._paced and baud_rate is not None
        byte_time = _BITS_PER_BYTE / baud_rate if paced and baud_rate else 0.0
        if paced:
            due = max(due, self._wire_free) + asked * byte_time
        for answer in answers:
            due += answer.lateness
            if paced:
                due += answer.return_delay + len(answer.data) * byte_time
            insort(self._queue, (due, answer.data), key=itemgetter(0))
        if paced:
            self._wire_free = due

    def _send_due(self, now: float) -> None:
        due = b''
        while self._queue and self._queue[0][0] <= now:
            due += self._queue.pop(0)[1]
        if due and self._terminal is not None:
            self._terminal.write(due)


class PseudoTerminal:
    """Both ends of a pseudo-terminal in raw mode, and a link that clients can be given.

    Clients open `path`; nothing outside this machine can.
    """

    def __init__(self, link: Path | None = None) -> None:
        """Open it.

        Raises:
            ConfigurationError: Something that is no link stands there, or its folder is missing.
            DeviceError: The machine has no pseudo-terminals left.
        """
        self._link = link
        try:
            self._near, self._far = os.openpty()
        except OSError as error:
            raise DeviceError(f'No pseudo-terminal can be opened: {error}.') from error
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        self._device = os.ttyname(self._far)
        # what clients open: the link, or the device where there is none
        self.path = self._device if link is None else str(link)
        if link is not None:
            try:
                _replace_link(link, self._device)
            except ConfigurationError:
                self._close_ends()
                raise

    def fileno(self) -> int:
        """The end of the servos, for `select`."""
        return self._near

    def read(self) -> bytes:
        """What the client sent; empty when there is nothing."""
        try:
            return os.read(self._near, 4096)
        except BlockingIOError:
            return b''

    def write(self, data: bytes) -> None:
        """Send to the client; what it leaves unread for too long is lost, as on a real port."""
        try:
            os.write(self._near, data)
        except BlockingIOError:
            return

    def baud_rate(self) -> int | None:
        """What the client set the port to, None for a rate that no servo knows. [bit/s]."""
        return _RATE_OF_CODE.get(termios.tcgetattr(self._near)[_OUTPUT_SPEED])

    def close(self) -> None:
        """Take link and device away; a client that has it open gets errors. Once is enough."""
        if self._near < 0:
            return
        link = self._link
        if link is not None and link.is_symlink() and str(link.readlink()) == self._device:
            link.unlink()
        self._close_ends()

    def _close_ends(self) -> None:
        os.close(self._near)
        os.close(self._far)
        self._near = self._far = -1


def _replace_link(link: Path, device: str) -> None:
    if link.exists() and not link.is_symlink():
        raise ConfigurationError(
            f'The link to the simulated port must not replace {link}, which is no link; choose '
            'another path.'
        )
    temporary = link.with_name(f'.{link.name}.{os.getpid()}')
    try:
        temporary.symlink_to(device)
        temporary.replace(link)
    except OSError as error:
        raise ConfigurationError(
            f'The link {link} to the simulated port cannot be made ({error}); choose a path in a '
            'folder that exists and can be written.'
        ) from error
