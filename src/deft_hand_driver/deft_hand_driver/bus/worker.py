# SPDX-License-Identifier: Apache-2.0
"""The thread that owns the bus: cycles at a fixed rate, whatever the rest of the process does."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from deft_core.errors import DeftError
from deft_core.validation import FloatArray
from deft_hand_driver.bus.errors import BusError
from deft_hand_driver.bus.session import BusSession
from deft_hand_driver.bus.state import BusReport, BusSettings
from deft_hand_driver.description import HandDescription

_JOIN_TIME: Final = 1.0  # [s]


class BusWorker:
    """Runs a `BusSession` in a thread of its own.

    Setpoints go in and reports come out through mailboxes of one place; the newest counts.
    Requests are carried out between two cycles, in order.
    """

    def __init__(self, description: HandDescription, settings: BusSettings) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            description: The hand.
            settings: Port and limits.
        """
        self._session = BusSession(description, settings)
        self._period = 1.0 / settings.rate
        self._requests: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = (
            queue.SimpleQueue()
        )
        self._setpoint: tuple[FloatArray | None, float] = (None, 0.0)
        self._report = self._session.report()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='hand_bus', daemon=True)

    @property
    def report(self) -> BusReport:
        """What is known since the last cycle."""
        return self._report

    def check(self) -> None:
        """Raise what ended the thread, as it was raised there, if something did."""
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def send(self, positions: FloatArray) -> None:
        """Give the newest setpoint. Shape (n,). [rad]."""
        self._setpoint = (positions, time.monotonic())

    def enable(self) -> Future[None]:
        """Ask for `BusSession.enable`."""

        def enable() -> None:
            # A setpoint of an earlier life must not move the hand.
            self._setpoint = (None, 0.0)
            self._session.enable()

        return self._ask(enable)

    def disable(self) -> Future[None]:
        """Ask for `BusSession.disable`."""
        return self._ask(self._session.disable)

    def stop_motion(self, reason: str) -> Future[None]:
        """Ask for `BusSession.stop`."""
        return self._ask(lambda: self._session.stop(reason))

    def clear(self) -> Future[None]:
        """Ask for `BusSession.clear`."""
        return self._ask(self._session.clear)

    def finish(self) -> None:
        """End the thread and leave the motors in the end state; the last call."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_TIME)
        if not self._thread.is_alive():
            self._session.finish()

    def _ask(self, action: Callable[[], None]) -> Future[None]:
        future: Future[None] = Future()
        self._requests.put((action, future))
        return future

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stopping.is_set():
                self._serve_requests()
                self._session.step(*self._setpoint)
                self._report = self._session.report()
                # A late cycle is not caught up: that would be a burst.
                due = max(due + self._period, time.monotonic())
                self._stopping.wait(due - time.monotonic())
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._refuse_requests()

    def _serve_requests(self) -> None:
        while True:
            try:
                action, future = self._requests.get_nowait()
            except queue.Empty:
                return
            try:
                action()
            except DeftError as error:
                self._report = self._session.report()
                future.set_exception(error)
            else:
                self._report = self._session.report()
                future.set_result(None)

    def _refuse_requests(self) -> None:
        while True:
            try:
                _, future = self._requests.get_nowait()
            except queue.Empty:
                return
            future.set_exception(BusError('The hand driver is ending.'))
