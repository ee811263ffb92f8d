# SPDX-License-Identifier: Apache-2.0
"""Everything that a user or an operator can be told, as exceptions.

A message names the value, what was expected and the remedy, in one sentence.
"""

from __future__ import annotations

import reprlib
from typing import Any, Final

_LONGEST_MESSAGE: Final = 2000  # characters; a stranger's file chooses some of them
_LONGEST_VALUE: Final = 80  # characters


class _Shortened(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Also of one so long that Python refuses to write it out."""
        return super().repr_int(x, level) if x.bit_length() < 1000 else 'a huge number'


_SHORTENED: Final = _Shortened()
_SHORTENED.maxstring = _SHORTENED.maxlong = _SHORTENED.maxother = _LONGEST_VALUE


def shown(value: Any) -> str:
    """A value as a message names it: short, whatever it is."""
    return _SHORTENED.repr(value)


class DeftError(Exception):
    """Base of every error that DEFT raises on purpose."""

    def __str__(self) -> str:
        """The message, shortened where a file made it endless."""
        text = super().__str__()
        return text if len(text) <= _LONGEST_MESSAGE else f'{text[:_LONGEST_MESSAGE]} ...'


class ConfigurationError(DeftError):
    """A configuration file, launch argument or parameter is wrong."""


class InvalidInputError(DeftError):
    """A value passed in has the wrong shape, range, unit or is not finite."""


class FrameError(DeftError):
    """A coordinate frame is unknown or not connected."""


class StaleDataError(DeftError):
    """A stream stopped, froze or is older than allowed."""


class NoObjectError(DeftError):
    """The image holds no object that can be grasped."""


class UnreachableError(DeftError):
    """A pose lies outside what the arm can reach within its limits."""


class SafetyError(DeftError):
    """A motion was refused or stopped for safety."""


class RecordingError(DeftError):
    """A bag or a session store cannot be written or read."""


class TrainingError(DeftError):
    """A policy cannot be trained or loaded."""


class DeviceError(DeftError):
    """A device, or what stands in for it, is missing or failed."""
