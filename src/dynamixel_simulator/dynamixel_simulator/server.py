# SPDX-License-Identifier: Apache-2.0
"""Serves simulated servos on a pseudo-terminal: one thread, one loop."""

from __future__ import annotations

import heapq
import os
import select
import threading
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deft_core.errors import DeviceError
from dynamixel_simulator.bus import Answer, SimulatedBus
from dynamixel_simulator.packet import PacketReader
from dynamixel_simulator.terminal import PseudoTerminal

TICK: Final = 0.004  # [s] between two steps of the servos in real time
_LONGEST_STEP: Final = 0.1  # [s] that is made up for after the process was held up
_BITS_PER_BYTE: Final = 10  # with start and stop bit
_STOP_TIME: Final = 5.0  # [s]


class BusServer:
    """Lets clients talk to a bus through a pseudo-terminal.

    Example:
        >>> with BusServer(SimulatedBus([SimulatedServo(XC330_T288, 1)])) as server:
        ...     port = server.path  # doctest: +SKIP
    """

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
        self._queue: list[tuple[float, int, bytes]] = []
        self._order = count()
        self._wire_free = 0.0
        self._wake_read, self._wake_write = os.pipe()
        self._commands: list[bool] = []  # True: open the port, False: close it
        self._done = threading.Condition()
        self._stopping = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name='simulated bus', daemon=True)

    @property
    def path(self) -> str:
        """What clients open."""
        return self._path

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and take the port away; may be called more than once.

        Raises:
            DeviceError: The loop had failed before.
        """
        if self._thread.is_alive():
            self._stopping = True
            self._wake()
            self._thread.join(_STOP_TIME)
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None
        for end in (self._wake_read, self._wake_write):
            if end >= 0:
                os.close(end)
        self._wake_read = self._wake_write = -1
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

    @property
    def running(self) -> bool:
        """Whether somebody answers."""
        return self._thread.is_alive()

    def unplug_port(self) -> None:
        """As if the adapter was pulled out: link and device go, open clients get errors."""
        self._order_port(opened=False)

    def plug_port(self) -> None:
        """Put the adapter back: a new device, the same link."""
        self._order_port(opened=True)

    def _order_port(self, opened: bool) -> None:
        with self._done:
            self._commands.append(opened)
            self._wake()
            self._done.wait_for(
                lambda: not self._commands or not self._thread.is_alive(), _STOP_TIME
            )

    def _wake(self) -> None:
        os.write(self._wake_write, b'\0')

    def _run(self) -> None:
        self._failed = True  # until the loop ended as it should
        try:
            last = time.monotonic()
            while not self._stopping:
                self._wait(last)
                self._obey()
                self._serve()
                now = time.monotonic()
                self._send_due(now)
                if self._real_time and now - last >= TICK:
                    self.bus.advance(min(now - last, _LONGEST_STEP))
                    last = now
            self._failed = False
        finally:
            with self._done:
                self._done.notify_all()

    def _wait(self, last: float) -> None:
        """Sleep until the client sends, an answer is due, or the servos want to move on."""
        now = time.monotonic()
        until = [last + TICK - now] if self._real_time else []
        if self._queue:
            until.append(self._queue[0][0] - now)
        timeout = max(0.0, min(until)) if until else None
        watched: list[int] = [self._wake_read]
        if self._terminal is not None:
            watched.append(self._terminal.fileno())
        ready, _, _ = select.select(watched, (), (), timeout)
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)

    def _obey(self) -> None:
        if not self._commands:
            return
        with self._done:
            for opened in self._commands:
                if self._terminal is not None:
                    self._terminal.close()
                    self._terminal = None
                if opened:
                    self._terminal = PseudoTerminal(self._link)
                    self._path = self._terminal.path
                self._reader.clear()
                self._queue.clear()
            self._commands.clear()
            self._done.notify_all()

    def _serve(self) -> None:
        if self._terminal is None:
            return
        data = self._terminal.read()
        if not data:
            return
        packets = self._reader.feed(data)
        if not packets:
            return
        baud_rate = self._terminal.baud_rate()
        if baud_rate is None and not self._any_baud_rate:
            return
        for packet in packets:
            answers = self.bus.handle(packet, None if self._any_baud_rate else baud_rate)
            if self._paced and baud_rate is not None:
                self._pace(len(packet.raw), answers, _BITS_PER_BYTE / baud_rate)
            elif any(answer.lateness for answer in answers):
                due = time.monotonic()
                for answer in answers:
                    due += answer.lateness
                    heapq.heappush(self._queue, (due, next(self._order), answer.data))
            elif answers:
                self._terminal.write(b''.join([answer.data for answer in answers]))

    def _pace(self, asked: int, answers: list[Answer], byte_time: float) -> None:
        """Queue answers for the time at which their last byte would have come over a wire."""
        free = max(time.monotonic(), self._wire_free) + asked * byte_time
        for answer in answers:
            free += answer.return_delay + answer.lateness + len(answer.data) * byte_time
            heapq.heappush(self._queue, (free, next(self._order), answer.data))
        self._wire_free = free

    def _send_due(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            _, _, data = heapq.heappop(self._queue)
            if self._terminal is not None:
                self._terminal.write(data)
