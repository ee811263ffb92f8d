# SPDX-License-Identifier: Apache-2.0
"""A pseudo-terminal that takes the place of a USB adapter."""

from __future__ import annotations

import os
import termios
import tty
from pathlib import Path
from typing import Final

from deft_core.errors import ConfigurationError, DeviceError
from dynamixel_simulator.motor_models import BAUD_RATES

_OUTPUT_SPEED: Final = 5  # place in what tcgetattr gives
_RATE_OF_CODE: Final = {
    code: rate for rate in BAUD_RATES if (code := getattr(termios, f'B{rate}', None)) is not None
}


class PseudoTerminal:
    """Both ends of a pseudo-terminal in raw mode, and a link that clients can be given.

    Clients open `path`; nothing outside this machine can.
    """

    def __init__(self, link: Path | None = None) -> None:
        """Open it.

        Args:
            link: Symbolic link to make, replacing an older link; None for none.

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
