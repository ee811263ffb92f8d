# SPDX-License-Identifier: Apache-2.0
"""Process groups and orphans, as Linux has them."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from deft_core.errors import DeviceError

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; 0 only asks whether it exists.

    Returns:
        Whether the group exists.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # A group that we started and that changed its user is not ours to stop.
        return True
    return True


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that they can be waited for.

    Raises:
        DeviceError: The kernel refuses; only Linux can do this.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DeviceError(f'Cannot adopt orphaned processes: {reason}; a Linux kernel is needed.')


def reap_orphans(group: int) -> None:
    """Wait for the ended members of a group whose leader is gone."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
