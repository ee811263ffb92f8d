# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the driver and a motor."""

from __future__ import annotations

from deft_core.errors import DeviceError


class BusError(DeviceError):
    """Base of everything that the bus reports."""


class PortError(BusError):
    """The serial port cannot be opened, or has gone."""


class NoReplyError(BusError):
    """A motor did not answer, or not intelligibly."""


class RefusedError(BusError):
    """A motor answered that it does not do what it was asked.

    Attributes:
        error_number: A value of `protocol.packet.StatusError`.
    """

    def __init__(self, message: str, error_number: int) -> None:
        """Keep the number for callers that can react."""
        super().__init__(message)
        self.error_number = error_number
