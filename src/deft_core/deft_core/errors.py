# SPDX-License-Identifier: Apache-2.0
"""Everything that a user or an operator can be told, as exceptions.

A message names the value, what was expected and the remedy, in one sentence.
"""

from __future__ import annotations


class DeftError(Exception):
    """Base of every error that DEFT raises on purpose."""


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
