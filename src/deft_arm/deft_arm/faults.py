# SPDX-License-Identifier: Apache-2.0
"""What went wrong with the arm, kept until a person has looked at it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Why nothing moves.

    Attributes:
        name: Error constant of the actions, such as COLLISION or CONTROLLER_ERROR.
        message: What happened and what to do.
        code: Error code of the controller, 0 where it has none.
    """

    name: str
    message: str
    code: int = 0


class FaultLatch:
    """Holds the first fault until it is cleared; later ones follow from it."""

    def __init__(self) -> None:
        """Start without a fault."""
        self._fault: Fault | None = None

    @property
    def fault(self) -> Fault | None:
        """The fault that is not cleared, if any."""
        return self._fault

    def set(self, fault: Fault) -> None:
        """Keep a fault; one that explains an unexplained one takes its place."""
        if self._fault is None or (fault.code and not self._fault.code):
            self._fault = fault

    def clear(self) -> None:
        """A person has looked."""
        self._fault = None
