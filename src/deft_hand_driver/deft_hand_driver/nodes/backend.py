# SPDX-License-Identifier: Apache-2.0
"""What the node needs of whatever drives the motors."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future
from typing import Final, Protocol

from deft_core.validation import FloatArray
from deft_hand_driver.motor_reading import BackendStatus, MotorReading

_POLL: Final = 0.002  # [s]


class MotorBackend(Protocol):
    """Drives the motors of one hand; every call returns at once."""

    def check(self) -> None:
        """Raise what ended the back end, if something did."""

    def reading(self) -> MotorReading | None:
        """Newest measurement, None before the first."""

    def silence(self) -> float:
        """Real time since a whole measurement came. [s]."""

    def status(self) -> BackendStatus:
        """What the back end tells about itself."""

    def send(self, positions: FloatArray) -> None:
        """Command motor positions. Shape (n,). [rad]."""

    def enable(self) -> Future[None]:
        """Let the motors hold what is measured; the future may hold a DeftError."""

    def disable(self) -> Future[None]:
        """Let go of the motors."""

    def stop(self, reason: str, held: FloatArray | None) -> None:
        """Stop for a fault.

        Args:
            reason: What happened.
            held: Motor positions to hold, None where nothing was measured. Shape (n,). [rad].
        """

    def clear(self) -> Future[None]:
        """Make ready to be enabled after a fault; the future may hold a DeftError."""

    def finish(self) -> None:
        """Leave the motors in the end state; the last call."""


def done(error: BaseException | None = None) -> Future[None]:
    """A future that is finished."""
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


class Finished:
    """Awaits a future of another thread, so that stops and states pass in the meantime."""

    def __init__(self, future: Future[None]) -> None:
        """Take the future."""
        self._future = future

    def __await__(self) -> Generator[None, None, None]:
        """Wait; raises what the future holds."""
        while not self._future.done():
            # The executor looks at a waiting task without pause.
            time.sleep(_POLL)
            yield
        self._future.result()
